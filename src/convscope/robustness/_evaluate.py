"""Worst-case robust accuracy over an attack suite, with sanity checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_norm, check_radius
from convscope._random import source
from convscope._registry import Effort
from convscope.attacks import (
    ATTACKS,
    AttackResult,
    apgd,
    at_effort,
    block_rows,
    in_blocks,
    is_finite,
    success_criterion,
)
from convscope.classifier import Classifier
from convscope.flags import count_of
from convscope.probe import Cost
from convscope.progress import stage
from convscope.robustness import _checks
from convscope.robustness._checks import Setting
from convscope.robustness._results import Check, RobustnessEvaluation, Stage
from convscope.stats import wilson
from convscope.types import Images, Labels, Norm


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A stage of the suite before it is run.

    Attributes:
        name: Shown in the table.
        attack: What is run.
        settings: Its settings.
        on_all: Run on all images that are classified correctly; else only on those that withstood
            the stages before.
        black_box: It uses no gradients.
    """

    name: str
    attack: Callable[..., AttackResult]
    settings: dict[str, Any]
    on_all: bool = False
    black_box: bool = False

    @property
    def work(self) -> float:
        """About how many passes per image it needs, for progress displays."""
        steps = self.settings.get("steps", self.settings.get("queries", 2) / 2)
        classes = self.settings.get("classes", 1)
        return float(steps * classes * (1 if self.on_all else 0.5))


def plan(effort: Effort, generator: Generator) -> list[Planned]:
    """The attacks of an effort, from weak to strong: what their records in `ATTACKS` say."""
    suite = []
    for name, spec in ATTACKS.specs().items():
        settings = at_effort(spec.suite, effort)
        if settings is not None:
            suite.append(_planned(name, settings, generator))
    # Attacks without gradients come last: they only have to find what gradients missed.
    return sorted(suite, key=lambda planned: planned.black_box)


def _planned(name: str, settings: Any, generator: Generator) -> Planned:
    spec, attack = ATTACKS.spec(name), ATTACKS[name]
    drawing = "generator" in inspect.signature(attack).parameters
    return Planned(
        name=(spec.stage or name).format(**settings),
        attack=attack,
        settings=dict(settings) | ({"generator": generator} if drawing else {}),
        on_all=spec.on_all,
        black_box=spec.black_box,
    )


def _without_gradients(generator: Generator) -> list[Planned]:
    """For networks that have none: the black-box attacks of the standard suite."""
    return [planned for planned in plan("standard", generator) if planned.black_box]


@checked
def evaluate(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    epsilon: float,
    norm: Norm = "linf",
    effort: Effort = "standard",
    generator: Generator | None = None,
) -> RobustnessEvaluation:
    """Share of images that withstand everything that is tried within epsilon.

    Each image counts as robust only if no attack broke it. The first three attacks run on all
    images that are classified correctly, so that they can be compared; later ones on images not
    yet broken. The stages are announced to `convscope.progress.watch`.

    Args:
        classifier: The network. A defense in front of it is attacked with it.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` or ``"l2"``.
        effort: ``"quick"`` (up to APGD-CE with 30 steps), ``"standard"`` (100 steps, targeted,
            Square) or ``"full"`` (all wrong classes, FAB, 5,000 queries).
        generator: Source of randomness; by default one with seed 0.

    Returns:
        Accuracies, the suite, and checks; `flags` are those that warn.

    Raises:
        UsageError: U03 for an impossible epsilon, U01 for an unknown effort.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = classifier.predict(images, top=1).labels[:, 0]
        >>> result = evaluate(classifier, images, labels, epsilon=0.0, effort="quick")
        >>> result.robust_accuracy == result.clean_accuracy == 1.0
        True

    Source:
        Carlini et al., "On Evaluating Adversarial Robustness", 2019; Croce and Hein, ICML 2020
        (worst case per image); Pintor et al., "Indicators of Attack Failure", NeurIPS 2022.
    """
    generator = source(generator)
    criterion = success_criterion(classifier, images, labels, None)
    radii = check_radius(float(epsilon), check_norm(norm), images).to(images.device)
    setting = Setting(classifier, images, criterion, radii, norm, generator)
    with classifier.probe() as probe:
        logits = probe.logits(images)
    everyone = torch.arange(len(images), device=images.device)
    right = ~criterion.is_adversarial(logits, everyone) & is_finite(logits)
    seen = _checks.gradient_diagnostics(classifier, images, criterion, right)
    tally = _Tally(images, right, ~is_finite(logits))
    tally.cost += probe.cost() + Cost(forwards=seen.forwards, backwards=seen.backwards, seconds=0.0)
    suite = plan(effort, generator)
    if not seen.differentiable:
        suite = _without_gradients(generator)
    elif not seen.deterministic:
        averaged = {"steps": 30, "transforms": lambda g: lambda x: x, "generator": generator}
        suite.append(Planned(name="apgd-averaged-8", attack=apgd, settings=averaged))
    # The checks come last and are short.
    whole, done = 1.1 * sum(planned.work for planned in suite), 0.0
    for planned in suite:
        rows = torch.nonzero(right if planned.on_all else tally.robust)[:, 0]

        def run(part: Tensor, planned: Planned = planned) -> AttackResult:
            return planned.attack(
                classifier,
                images[part],
                criterion.labels[part],
                epsilon=float(epsilon),
                norm=norm,
                **planned.settings,
            )

        size = block_rows(images.shape[1:])
        with stage(done / whole, (done + planned.work) / whole, planned.name):
            tally.note(planned, in_blocks(rows, run, size=size, generator=generator))
        done += planned.work
    with stage(done / whole, 1.0, "checks"):
        checks = [*seen.checks, *_comparisons(setting, seen, tally, effort)]
    checks += [tally.within_budget(), tally.all_finite()]
    robust = int(tally.robust.sum())
    low, high = wilson(robust, len(images))
    return RobustnessEvaluation(
        norm=norm,
        epsilon=float(epsilon),
        effort=effort,
        clean_accuracy=float(right.double().mean()) if len(images) else float("nan"),
        robust_accuracy=robust / len(images) if len(images) else float("nan"),
        low=low,
        high=high,
        suite=tuple(tally.stages),
        checks=tuple(checks),
        labels=criterion.labels,
        broken_by=tally.broken_by,
        originals=images,
        adversarials=tally.adversarials,
        cost=tally.cost,
        class_names=classifier.class_names,
        nonfinite=int(tally.nonfinite.sum()),
    )


COMPARED = ("weaker-wins", "not-converged", "noise-beats-gradients", "black-box-stronger",
            "unbounded-attack-fails", "catastrophic-overfitting")  # fmt: skip
"""Checks that compare attacks; they say nothing where gradients are hidden."""


def _comparisons(
    setting: Setting, seen: _checks.Diagnostics, tally: _Tally, effort: Effort
) -> list[Check]:
    """The checks that run further attacks."""
    if seen.masked or not seen.deterministic:
        why = "says nothing while the network hides its gradients"
        return [_checks.skipped(name, why) for name in COMPARED]
    robust_before = tally.robust.clone()
    checks = [tally.weaker_wins(), _not_converged(setting, tally, effort)]
    noise, noise_cost = _checks.random_noise(setting, robust_before)
    checks += [noise, tally.black_box()]
    sample = _checks.sampled(tally.right, setting.criterion.labels, _checks.UNBOUNDED)
    limitless, limitless_cost = _checks.unbounded(
        setting.classifier, setting.images[sample], setting.criterion.labels[sample]
    )
    single_step, worst = tally.stages[0].accuracy, float(tally.robust.double().mean())
    overfitting, overfitting_cost = _checks.overfitting(
        setting, single_step=single_step, worst=worst
    )
    tally.cost += noise_cost + limitless_cost + overfitting_cost
    return [*checks, limitless, overfitting]


def _not_converged(setting: Setting, tally: _Tally, effort: Effort) -> Check:
    """Twice the steps from another start must not break much more."""
    rows = _checks.sampled(tally.robust, setting.criterion.labels)
    longer = apgd(
        setting.classifier,
        setting.images[rows],
        setting.criterion.labels[rows],
        epsilon=float(setting.radii),
        norm=setting.norm,
        steps=200 if effort != "quick" else 60,
        random_start=True,
        generator=setting.generator,
    )
    tally.pay(longer)
    broken = longer.success | longer.unreadable
    more = float(broken.double().mean()) if len(rows) else 0.0
    # Our choice, without a source: 30 steps (quick) are known not to be enough, 100 ought to be.
    limit = 0.01 if effort != "quick" else 0.1
    sentence = f"twice the steps from another start fool {more:.1%} of what stood"
    enough = int(broken.sum()) > max(limit * len(rows), 1)
    tally.add_to_last(rows, longer)
    return (_checks.warn if enough else _checks.ok)("not-converged", more, sentence)


class _Tally:
    """Which images are still robust, and what it cost."""

    def __init__(self, images: Tensor, right: Tensor, nonfinite: Tensor) -> None:
        self.right = right
        self.robust = right.clone()
        self.broken_by = torch.where(right, -1, -2)
        self.adversarials = images.clone()
        self.broken: list[tuple[Planned, Tensor]] = []
        self.stages: list[Stage] = []
        self.nonfinite = nonfinite
        self.lost_gradients = 0
        self.outside = 0
        self.lost = 0
        self.cost = Cost(forwards=0, backwards=0, seconds=0.0)

    def pay(self, result: AttackResult) -> None:
        """Add the cost and the failures of an attack."""
        self.cost += result.cost
        self.outside += count_of(result.flags, "budget-exceeded")
        self.lost_gradients += count_of(result.flags, "nonfinite-gradient")

    def note(self, planned: Planned, blocks: Iterable[tuple[Tensor, AttackResult]]) -> None:
        """Write a stage down, block by block."""
        mask = torch.zeros_like(self.robust)
        attacked, cost = 0, Cost(forwards=0, backwards=0, seconds=0.0)
        for rows, result in blocks:
            self.pay(result)
            self.lost += result.lost_to_quantization
            mask[rows] = result.success | result.unreadable
            self.nonfinite[rows] |= result.unreadable
            # `rows` are positions among all images, `new` a mask over the rows of this block:
            # `rows[new]` are the images that nothing before has broken.
            new = result.success & self.robust[rows]
            self.adversarials[rows[new]] = result.adversarials[new]
            attacked += len(rows)
            cost += result.cost
        self.broken_by[mask & self.robust] = len(self.stages)
        self.robust &= ~mask
        self.broken.append((planned, mask))
        total = max(len(mask), 1)
        alone = float((self.right & ~mask).sum()) / total if planned.on_all else float("nan")
        self.stages.append(
            Stage(
                attack=planned.name,
                attacked=attacked,
                broken=int(mask.sum()),
                accuracy=alone,
                robust=float(self.robust.sum()) / total,
                forwards=cost.forwards,
                backwards=cost.backwards,
                seconds=cost.seconds,
            )
        )

    def add_to_last(self, rows: Tensor, result: AttackResult) -> None:
        """Images that a check broke are not robust either."""
        self.adversarials[rows[result.success]] = result.adversarials[result.success]
        self.nonfinite[rows] |= result.unreadable
        hit = rows[result.success | result.unreadable]
        self.broken_by[hit] = len(self.stages) - 1
        self.robust[hit] = False

    def weaker_wins(self) -> Check:
        """Images that one step breaks and APGD does not."""
        masks = [mask for planned, mask in self.broken if planned.on_all]
        lost = int((masks[0] & ~masks[-1]).sum()) if len(masks) > 1 else 0
        share = lost / max(len(self.robust), 1)
        # Our choice, without a source: single images may fall to either attack by luck.
        if lost > max(0.01 * len(self.robust), 1):
            return _checks.warn(
                "weaker-wins", share, f"one step fools {share:.1%} that APGD does not"
            )
        return _checks.ok("weaker-wins", share, "stronger attacks fool what weaker ones do")

    def black_box(self) -> Check:
        """Images that only an attack without gradients broke."""
        count = max(len(self.robust), 1)
        for (planned, mask), shown in zip(self.broken, self.stages, strict=True):
            if planned.black_box:
                share = float(mask.sum()) / count
                # Our choice, without a source: less than by luck, because Square runs last, on
                # what is left.
                if int(mask.sum()) > max(0.002 * count, 1):
                    return _checks.warn(
                        "black-box-stronger",
                        share,
                        f"{shown.attack} fools {share:.1%} that gradients did not",
                    )
                return _checks.ok("black-box-stronger", share, "gradients are the stronger way")
        return _checks.skipped("black-box-stronger", "Square takes part from standard effort on")

    def within_budget(self) -> Check:
        """Were all adversarials inside, and how many survive saving?"""
        if self.outside:
            return _checks.warn("budget", float(self.outside), "adversarials left the ball")
        return _checks.ok(
            "budget", 0.0, f"all adversarials inside; {self.lost} would not survive 8-bit saving"
        )

    def all_finite(self) -> Check:
        """Did the network return numbers wherever an attack went?"""
        count = int(self.nonfinite.sum())
        if count:
            return _checks.warn(
                "non-finite",
                float(count),
                f"NaN or infinite logits for {count} of {len(self.robust)} images, as they are "
                "or under attack: none of them counts as robust",
            )
        if self.lost_gradients:
            return _checks.warn(
                "non-finite",
                float(self.lost_gradients),
                f"attacks met NaN or infinite gradients {self.lost_gradients} times and gave up "
                "there: images left then are not proven to be robust",
            )
        return _checks.ok(
            "non-finite", 0.0, "logits and gradients are finite wherever attacks went"
        )
