"""Ways to fool a classifier.

An attack on given images is a function

    attack(classifier, images, labels, *, targets=None, ...settings) -> AttackResult

To add one: write it in its own file here, name it in `ATTACKS`, add an equation test, an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope._registry import Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.attacks._adversarial_patch import AdversarialPatch, adversarial_patch
    from convscope.attacks._apgd import apgd, apgd_targeted
    from convscope.attacks._auto_attack import auto_attack
    from convscope.attacks._carlini_wagner import carlini_wagner
    from convscope.attacks._criteria import Goal
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
    from convscope.attacks._pgd import fgsm, mi_fgsm, pgd
    from convscope.attacks._result import AttackResult
    from convscope.attacks._square import square
    from convscope.attacks._transforms import (
        VIEWS,
        chain,
        crops,
        either,
        mirrors,
        noises,
        rotations,
    )
    from convscope.attacks._uap import NoiseTransfer, UniversalPerturbation, apply_noise, uap

__all__ = [
    "ATTACKS",
    "SHARED",
    "VIEWS",
    "AdversarialPatch",
    "AttackResult",
    "AttackSpec",
    "Goal",
    "NoiseTransfer",
    "UniversalPerturbation",
    "added_noise",
    "adversarial_patch",
    "apgd",
    "apgd_targeted",
    "apply_noise",
    "auto_attack",
    "carlini_wagner",
    "chain",
    "crops",
    "ddn",
    "deepfool",
    "either",
    "fab",
    "fgsm",
    "from_noise",
    "l2_gradient_ascent",
    "linf_gradient_ascent",
    "mi_fgsm",
    "mirrors",
    "noises",
    "pgd",
    "rotations",
    "square",
    "toward_image",
    "uap",
]


@dataclass(frozen=True)
class AttackSpec(Spec):
    """What `ATTACKS` knows of an attack."""


SHARED: Registry[Callable[..., Any], AttackSpec] = Registry(
    "convscope.attacks",
    AttackSpec,
    {
        "uap": AttackSpec(
            "_uap:uap",
            "Find, for each class, one noise that makes any image be read as that class.",
            aliases=("universal-noise", "universal", "universal-perturbation"),
        ),
        "adversarial-patch": AttackSpec(
            "_adversarial_patch:adversarial_patch",
            "Learn square patches that win wherever they are pasted.",
            aliases=("patch",),
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
            "One pgd step as long as the radius, from the image itself.",
            aliases=("fast-gradient", "fgm", "fast-gradient-sign", "fast-gradient-method"),
        ),
        "pgd": AttackSpec(
            "_pgd:pgd",
            "Search the epsilon-ball around each image for one that is classified wrongly.",
            aliases=(
                "projected-gradient",
                "bim",
                "ifgsm",
                "eot",
                "eot-pgd",
                "eotpgd",
                "basic-iterative",
                "madry",
                "linf-pgd",
                "linfpgd",
            ),
        ),
        "mi-fgsm": AttackSpec(
            "_pgd:mi_fgsm",
            "Iterated fast gradient with accumulated gradients: made for transfer "
            "to other networks.",
            aliases=("mifgsm", "mim", "momentum"),
        ),
        "apgd": AttackSpec(
            "_apgd:apgd",
            "Projected gradient without a step size to choose: the judge among the attacks.",
            aliases=("auto-pgd", "autopgd", "apgd-ce", "apgdce", "apgd-dlr"),
        ),
        "apgd-targeted": AttackSpec(
            "_apgd:apgd_targeted",
            "APGD towards each of the likeliest wrong classes in turn; any wrong class counts.",
            aliases=("apgdt",),
        ),
        "fab": AttackSpec(
            "_fab:fab",
            "Find near adversarial images by projections onto linearized "
            "boundaries, class by class.",
            aliases=("fab-attack",),
        ),
        "square": AttackSpec(
            "_square:square",
            "Fool without gradients: a check on defenses that only hide theirs.",
            aliases=("square-attack",),
        ),
        "auto-attack": AttackSpec(
            "_auto_attack:auto_attack",
            "APGD-CE, targeted APGD-DLR, Square and targeted FAB, in this order, "
            "on rows that stand.",
            aliases=("autoattack", "aa"),
        ),
        "ddn": AttackSpec(
            "_ddn:ddn",
            "Find a near adversarial image in L2: the default where no epsilon is given.",
        ),
        "deepfool": AttackSpec(
            "_deepfool:deepfool",
            "Find a near adversarial image by linearizing all class boundaries, again and again.",
            aliases=("deep-fool",),
        ),
        "carlini-wagner": AttackSpec(
            "_carlini_wagner:carlini_wagner",
            "Minimize squared distance plus c times the missing margin, over x = "
            "(tanh(w) + 1) / 2.",
            aliases=("cw", "c&w", "cw-l2", "cwl2", "carlini", "carliniwagner"),
        ),
        "l2-gradient-ascent": AttackSpec(
            "_gradient_ascent:l2_gradient_ascent",
            "Ascend the target's logit with L2-normalized gradients; each image "
            "stops when it fools.",
            aliases=("until-fooled",),
        ),
        "linf-gradient-ascent": AttackSpec(
            "_gradient_ascent:linf_gradient_ascent",
            "Repeat x <- clip(x + lambda * gradient) to image +- epsilon, intersected with [0, 1].",
            aliases=("linf-iterative",),
        ),
        "added-noise": AttackSpec(
            "_gradient_ascent:added_noise",
            "Ascend log p(target | image + noise) in the noise, which starts at zero.",
        ),
        "from-noise": AttackSpec(
            "_gradient_ascent:from_noise",
            "From Gaussian noise to an image that is read as the target, and means nothing to us.",
        ),
        "toward-image": AttackSpec(
            "_gradient_ascent:toward_image",
            "Ascend log p(target | x) - pull * mse(x, image) from Gaussian noise.",
        ),
    },
    beside=SHARED,
)


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_adversarial_patch": "adversarial_patch AdversarialPatch",
            "_apgd": "apgd apgd_targeted",
            "_auto_attack": "auto_attack",
            "_carlini_wagner": "carlini_wagner",
            "_criteria": "Goal",
            "_ddn": "ddn",
            "_deepfool": "deepfool",
            "_fab": "fab",
            "_gradient_ascent": (
                "added_noise from_noise linf_gradient_ascent toward_image l2_gradient_ascent"
            ),
            "_pgd": "fgsm mi_fgsm pgd",
            "_result": "AttackResult",
            "_square": "square",
            "_transforms": "chain crops either mirrors noises rotations VIEWS",
            "_uap": "apply_noise NoiseTransfer uap UniversalPerturbation",
        },
    )
