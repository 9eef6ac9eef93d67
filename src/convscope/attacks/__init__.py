"""Adversarial attacks, and the registry of them.

An attack on given images is a function

    attack(classifier, images, labels, *, targets=None, ...settings) -> AttackResult

To add one: write it in its own file here, add its record to `ATTACKS` and its name to the imports
and `__all__` below, and add an equation test. Command line, audits, the suite of
`convscope.robustness.evaluate` and the contract tests read the record.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from convscope._registry import EFFORTS, Effort, Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.attacks._adversarial_patch import AdversarialPatch, adversarial_patch
    from convscope.attacks._apgd import apgd, apgd_targeted
    from convscope.attacks._auto_attack import auto_attack
    from convscope.attacks._base import random_start
    from convscope.attacks._blocks import block_rows, in_blocks
    from convscope.attacks._carlini_wagner import carlini_wagner
    from convscope.attacks._criteria import Criterion, is_correct, is_finite, success_criterion
    from convscope.attacks._ddn import ddn
    from convscope.attacks._deepfool import deepfool
    from convscope.attacks._fab import fab
    from convscope.attacks._gradient_ascent import (
        added_noise,
        from_noise,
        l2_gradient_ascent,
        linf_gradient_ascent,
        toward_image,
    )
    from convscope.attacks._judging import (
        AttackJudging,
        attack_of,
        judged_rows,
        shared_result_of,
    )
    from convscope.attacks._pgd import bim, fgsm, mi_fgsm, pgd
    from convscope.attacks._result import AttackResult
    from convscope.attacks._square import square
    from convscope.attacks._transforms import (
        TRANSFORMS,
        RandomTransform,
        Transform,
        compose,
        cropped,
        flipped,
        grayscale,
        random_choice,
        random_crops,
        random_flips,
        random_noise,
        random_rotations,
        rotated,
    )
    from convscope.attacks._uap import NoiseTransfer, UniversalPerturbation, apply_noise, uap
    from convscope.types import Norm

__all__ = [
    "ATTACKS",
    "SHARED",
    "TRANSFORMS",
    "AdversarialPatch",
    "AttackJudging",
    "AttackResult",
    "AttackSpec",
    "Criterion",
    "NoiseTransfer",
    "RandomTransform",
    "Transform",
    "UniversalPerturbation",
    "added_noise",
    "adversarial_patch",
    "apgd",
    "apgd_targeted",
    "apply_noise",
    "at_effort",
    "attack_of",
    "auto_attack",
    "bim",
    "block_rows",
    "carlini_wagner",
    "compose",
    "cropped",
    "ddn",
    "deepfool",
    "fab",
    "fgsm",
    "flipped",
    "from_noise",
    "grayscale",
    "in_blocks",
    "is_correct",
    "is_finite",
    "judged_rows",
    "l2_gradient_ascent",
    "linf_gradient_ascent",
    "mi_fgsm",
    "pgd",
    "random_choice",
    "random_crops",
    "random_flips",
    "random_noise",
    "random_rotations",
    "random_start",
    "rotated",
    "shared_result_of",
    "square",
    "success_criterion",
    "toward_image",
    "uap",
]

Kind = Literal["bounded", "minimal", "gradient-ascent", "shared"]
"""Families of attacks: within a given radius; as near as possible; plain gradient ascent on a
class, as courses teach it; one perturbation for many images."""

Settings = Mapping[str, Any]
"""Keyword arguments of an attack."""


@dataclass(frozen=True)
class AttackSpec(Spec):
    """What `ATTACKS` knows of an attack.

    Attributes:
        kind: Its family.
        needs_target: Whether `targets` has to be given.
        black_box: It needs answers only, no gradients and no layers.
        norms: The norms that it can bound or minimize; empty where it measures none.
        passes: Forward passes per image with default settings if no image stops early, all checks
            included; 0 where nobody has counted.
        suite: From which effort on it is part of `convscope.robustness.evaluate`, and with which
            settings; an effort without an entry has those of the one below. Such an attack takes
            `epsilon` and `norm`.
        stage: Its name in the suite, with settings in braces: ``"apgd-ce-{steps}"``.
        on_all: In the suite it runs on all images that are classified correctly, not only on
            those that withstood the stages before: so that stages can be compared.
        audit: From which effort on it is in an audit's table of attacks, and with which settings.
        no_audit: Why it is in no audit; one sentence.
    """

    kind: Kind = field(default="bounded", kw_only=True)
    needs_target: bool = field(default=False, kw_only=True)
    black_box: bool = field(default=False, kw_only=True)
    norms: tuple[Norm, ...] = field(default=(), kw_only=True)
    passes: int = field(default=0, kw_only=True)
    suite: Mapping[Effort, Settings] = field(default_factory=dict, kw_only=True)
    stage: str = field(default="", kw_only=True)
    on_all: bool = field(default=False, kw_only=True)
    audit: Mapping[Effort, Settings] = field(default_factory=dict, kw_only=True)
    no_audit: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, entry: Any) -> AttackSpec:
        """The record of a plain function: in every audit, with its default settings."""
        spec = Spec.of(entry)
        parameters = inspect.signature(entry).parameters
        targets = parameters.get("targets")
        needs = targets is not None and targets.default is inspect.Parameter.empty
        return AttackSpec(
            entry,
            spec.about,
            kind="bounded" if "epsilon" in parameters else "minimal",
            needs_target=needs,
            audit={} if needs else {"quick": {}},
            no_audit="It needs a target, and audits name none." if needs else "",
        )


def at_effort(plan: Mapping[Effort, Settings], effort: Effort) -> Settings | None:
    """The settings of the highest effort up to `effort`; ``None``: it takes no part in that.

    Example:
        >>> plan = {"quick": {"steps": 30}, "full": {"steps": 100}}
        >>> at_effort(plan, "standard"), at_effort({"full": {}}, "quick")
        ({'steps': 30}, None)
    """
    for known in reversed(EFFORTS[: EFFORTS.index(effort) + 1]):
        if known in plan:
            return plan[known]
    return None


BOTH: tuple[Norm, ...] = ("linf", "l2")

SHARED: Registry[Callable[..., Any], AttackSpec] = Registry(
    "convscope.attacks",
    AttackSpec,
    {
        "uap": AttackSpec(
            "_uap:uap",
            "Find, for each class, one perturbation that makes any image be predicted as it.",
            aliases=("universal-noise", "universal", "universal-perturbation"),
            kind="shared",
            norms=("linf",),
            no_audit="Perturbations of many images have their own section.",
        ),
        "adversarial-patch": AttackSpec(
            "_adversarial_patch:adversarial_patch",
            "Learn square patches that cause their class wherever they are pasted.",
            aliases=("patch",),
            kind="shared",
            no_audit="A patch is bounded by its area and has no place in a table of distances.",
        ),
    },
)
"""Methods whose one perturbation serves many images; same call, results of their own kind."""


ATTACKS: Registry[Callable[..., AttackResult], AttackSpec] = Registry(
    "convscope.attacks",
    AttackSpec,
    {
        "fgsm": AttackSpec(
            "_pgd:fgsm",
            "One gradient-sign step as long as the radius, from the image itself.",
            aliases=("fast-gradient", "fgm", "fast-gradient-sign", "fast-gradient-method"),
            norms=BOTH,
            passes=3,
            suite={"quick": {}},
            stage="fgsm",
            on_all=True,
            audit={"quick": {}},
        ),
        "bim": AttackSpec(
            "_pgd:bim",
            "Iterated gradient-sign steps from the image itself, without a random start.",
            aliases=("ifgsm", "i-fgsm", "basic-iterative", "basic-iterative-method"),
            norms=BOTH,
            passes=12,
            no_audit="It is pgd with fewer and shorter steps.",
        ),
        "pgd": AttackSpec(
            "_pgd:pgd",
            "Projected gradient ascent on the loss within the epsilon-ball around each image.",
            aliases=(
                "projected-gradient",
                "eot",
                "eot-pgd",
                "eotpgd",
                "madry",
                "linf-pgd",
                "linfpgd",
            ),
            norms=BOTH,
            passes=42,
            suite={"quick": {"steps": 40}},
            stage="pgd-{steps}",
            on_all=True,
            audit={"quick": {"steps": 40}},
        ),
        "mi-fgsm": AttackSpec(
            "_pgd:mi_fgsm",
            "Iterated FGSM with momentum: made for transfer to other networks.",
            aliases=("mifgsm", "mim", "momentum"),
            norms=BOTH,
            passes=12,
            audit={"standard": {"steps": 20}},
        ),
        "apgd": AttackSpec(
            "_apgd:apgd",
            "PGD with an adaptive step size: the reference attack for evaluation.",
            aliases=("auto-pgd", "autopgd", "apgd-ce", "apgdce", "apgd-dlr"),
            norms=BOTH,
            passes=102,
            suite={"quick": {"steps": 30}, "standard": {"steps": 100}},
            stage="apgd-ce-{steps}",
            on_all=True,
            audit={"quick": {"steps": 30}, "standard": {"steps": 100}},
        ),
        "apgd-targeted": AttackSpec(
            "_apgd:apgd_targeted",
            "APGD toward each of the likeliest wrong classes in turn; any wrong class counts.",
            aliases=("apgdt",),
            norms=BOTH,
            passes=919,
            suite={
                "standard": {"steps": 100, "classes": 3},
                "full": {"steps": 100, "classes": 9},
            },
            stage="apgd-targeted-{classes}x{steps}",
            no_audit="It is part of the robustness suite, which shows what it adds to apgd.",
        ),
        "fab": AttackSpec(
            "_fab:fab",
            "Find minimal-norm adversarial examples by projecting onto linearized boundaries.",
            aliases=("fab-attack",),
            kind="minimal",
            norms=BOTH,
            passes=928,
            suite={"full": {"steps": 50, "classes": 9}},
            stage="fab-{classes}x{steps}",
            audit={"standard": {}},
        ),
        "square": AttackSpec(
            "_square:square",
            "Score-based black-box attack by random search; detects gradient masking.",
            aliases=("square-attack",),
            black_box=True,
            norms=BOTH,
            passes=1002,
            suite={"standard": {"queries": 1000}, "full": {"queries": 5000}},
            stage="square-{queries}",
            audit={"standard": {"queries": 1000}},
        ),
        "auto-attack": AttackSpec(
            "_auto_attack:auto_attack",
            "APGD-CE, targeted APGD-DLR, Square and targeted FAB, each on images not yet broken.",
            aliases=("autoattack", "aa"),
            norms=BOTH,
            passes=6951,
            no_audit="Its members are in the robustness suite, one by one.",
        ),
        "l2-gradient-ascent": AttackSpec(
            "_gradient_ascent:l2_gradient_ascent",
            "Ascend the target's logit by L2-normalized gradients until the image is adversarial.",
            aliases=("until-fooled",),
            kind="gradient-ascent",
            norms=("l2",),
            passes=102,
            audit={"quick": {}},
        ),
        "deepfool": AttackSpec(
            "_deepfool:deepfool",
            "Find a minimal-norm adversarial example by iteratively linearizing the boundaries.",
            aliases=("deep-fool",),
            kind="minimal",
            norms=("l2", "linf"),
            passes=102,
            audit={"quick": {}},
        ),
        "ddn": AttackSpec(
            "_ddn:ddn",
            "Find a minimal-norm (L2) adversarial example: the default where no epsilon is given.",
            kind="minimal",
            norms=("l2",),
            passes=103,
            audit={"quick": {"steps": 100}},
        ),
        "carlini-wagner": AttackSpec(
            "_carlini_wagner:carlini_wagner",
            "Minimize squared distance plus c times the missing margin, over x = "
            "(tanh(w) + 1) / 2.",
            aliases=("cw", "c&w", "cw-l2", "cwl2", "carlini", "carliniwagner"),
            kind="minimal",
            norms=("l2",),
            passes=912,
            audit={"standard": {"search_steps": 4}},
        ),
        "linf-gradient-ascent": AttackSpec(
            "_gradient_ascent:linf_gradient_ascent",
            "Repeat x <- clip(x + lambda * gradient) to image +- epsilon, intersected with [0, 1].",
            aliases=("linf-iterative",),
            kind="gradient-ascent",
            norms=("linf",),
            passes=102,
            audit={"standard": {}},
        ),
        "added-noise": AttackSpec(
            "_gradient_ascent:added_noise",
            "Ascend log p(target | image + noise) in the noise, which starts at zero.",
            kind="gradient-ascent",
            needs_target=True,
            passes=502,
            no_audit="It needs a target; the section on noises shows it on other images.",
        ),
        "from-noise": AttackSpec(
            "_gradient_ascent:from_noise",
            "Turn Gaussian noise into an image that is predicted as the target.",
            kind="gradient-ascent",
            needs_target=True,
            passes=503,
            no_audit="It starts from noise, not from images; the section on noises shows it.",
        ),
        "toward-image": AttackSpec(
            "_gradient_ascent:toward_image",
            "Ascend log p(target | x) - pull * mse(x, image) from Gaussian noise.",
            kind="gradient-ascent",
            needs_target=True,
            passes=303,
            no_audit="It needs a target; the section on noises shows it.",
        ),
    },
    beside=SHARED,
)


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_adversarial_patch": "AdversarialPatch",
            "_base": "random_start",
            "_blocks": "block_rows in_blocks",
            "_criteria": "Criterion is_correct is_finite success_criterion",
            "_judging": "AttackJudging attack_of judged_rows shared_result_of",
            "_result": "AttackResult",
            "_transforms": "TRANSFORMS RandomTransform Transform compose cropped flipped grayscale "
            "random_choice random_crops random_flips random_noise random_rotations rotated",
            "_uap": "NoiseTransfer UniversalPerturbation apply_noise",
        },
        ATTACKS,
        SHARED,
    )
