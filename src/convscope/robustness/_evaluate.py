"""The worst case over a ladder of attacks, and whether to believe it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope.attacks import (
    AttackResult,
    apgd,
    apgd_targeted,
    fab,
    fgsm,
    pgd,
    square,
)
from convscope.attacks._blocks import block_rows, in_blocks
from convscope.attacks._by_ascent import check_norm, check_radius
from convscope.attacks._criteria import finite, goal_of
from convscope.attacks._flags import count_of
from convscope.classifier import Classifier
from convscope.errors import choose
from convscope.probe import Cost
from convscope.progress import stage
from convscope.robustness import _checks
from convscope.robustness._results import Check, RobustnessEvaluation, Rung
from convscope.stats import wilson
from convscope.types import Images, Labels, Norm


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A rung before it is climbed.

    Attributes:
        name: Shown in the ladder.
        attack: What is run.
        settings: Its settings.
        everyone: Run on all images that are right; else only on those that stand.
    """

    name: str
    attack: Callable[..., AttackResult]
    settings: dict[str, Any]
    everyone: bool = False

    @property
    def work(self) -> float:
        """About how many passes per image it needs, for progress displays."""
        steps = self.settings.get("steps", self.settings.get("queries", 2) / 2)
        classes = self.settings.get("classes", 1)
        return float(steps * classes * (1 if self.everyone else 0.5))


EFFORTS = ("quick", "standard", "full")


def plan(effort: str, generator: Generator) -> list[Planned]:
    """The attacks of an effort, from weak to strong."""
    steps = {"quick": 30, "standard": 100, "full": 100}[effort]
    ladder = [
        Planned(name="fgsm", attack=fgsm, settings={}, everyone=True),
        Planned(
            name="pgd-40",
            attack=pgd,
            settings={"steps": 40},
            everyone=True,
        ),
        Planned(
            name=f"apgd-ce-{steps}",
            attack=apgd,
            settings={"steps": steps},
            everyone=True,
        ),
    ]
    if effort != "quick":
        classes = 3 if effort == "standard" else 9
        ladder.append(
            Planned(
                name=f"apgd-targeted-{classes}x{steps}",
                attack=apgd_targeted,
                settings={"steps": steps, "classes": classes},
            )
        )
    if effort == "full":
        ladder.append(
            Planned(name="fab-9x50", attack=fab, settings={"steps": 50, "classes": 9}),
        )
    if effort != "quick":
        queries = 1000 if effort == "standard" else 5000
        ladder.append(
            Planned(
                name=f"square-{queries}",
                attack=square,
                settings={"queries": queries, "generator": generator},
            )
        )
    return ladder


@checked
def evaluate(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    epsilon: float,
    norm: Norm = "linf",
    effort: str = "standard",
    generator: Generator | None = None,
    on_rung: Callable[[str], None] | None = None,
) -> RobustnessEvaluation:
    """Share of images that withstand everything that is tried within epsilon.

    Each image counts as robust only if no attack fooled it. The first three attacks run on all
    images that are right, so that the ladder can be compared; later ones on what stands.

    Args:
        classifier: The network. A defense in front of it is attacked with it.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` or ``"l2"``.
        effort: ``"quick"`` (up to APGD-CE with 30 steps), ``"standard"`` (100 steps, targeted,
            Square) or ``"full"`` (all wrong classes, FAB, 5,000 queries).
        generator: Source of randomness; by default one with seed 0.
        on_rung: Called with the name of each attack before it starts.

    Returns:
        Accuracies, the ladder, and checks; `flags` names those that warn.

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
    choose("effort", effort, EFFORTS)
    generator = source(generator)
    goal = goal_of(classifier, images, labels, None)
    radii = check_radius(float(epsilon), check_norm(norm), images).to(images.device)
    with classifier.probe() as probe:
        logits = probe.logits(images)
    everyone = torch.arange(len(images), device=images.device)
    right = ~goal.reached(logits, everyone) & finite(logits)
    seen = _checks.anatomy(classifier, images, goal, right)
    tally = _Tally(images, right, probe.forwards + seen.forwards, seen.backwards)
    tally.nonfinite = ~finite(logits)
    tally.seconds += probe.cost().seconds
    ladder = plan(effort, generator)
    if not seen.differentiable:
        settings = {"queries": 1000, "generator": generator}
        ladder = [Planned(name="square-1000", attack=square, settings=settings)]
    elif not seen.deterministic:
        ladder.append(
            Planned(
                name="apgd-averaged-8",
                attack=apgd,
                settings={"steps": 30, "views": lambda g: lambda x: x, "generator": generator},
            )
        )
    whole, done = (
        1.1 * sum(rung.work for rung in ladder),
        0.0,
    )  # The checks come last and are short.
    for rung in ladder:
        if on_rung is not None:
            on_rung(rung.name)
        rows = torch.nonzero(right if rung.everyone else tally.standing)[:, 0]

        def climb(part: Tensor, rung: Planned = rung) -> AttackResult:
            return rung.attack(
                classifier,
                images[part],
                goal.labels[part],
                epsilon=float(epsilon),
                norm=norm,
                **rung.settings,
            )

        size = block_rows(images.shape[1:])
        with stage(done / whole, (done + rung.work) / whole):
            tally.note(rung, in_blocks(rows, climb, size=size, generator=generator))
        done += rung.work
    checks = [*seen.checks]
    if on_rung is not None:
        on_rung("checks")
    if seen.deterministic and not seen.masked:
        checks += _comparisons(
            classifier, images, goal, radii, norm, tally, effort, epsilon, generator
        )
    else:
        checks += [
            _checks.skipped(name, "says nothing while the network hides its gradients")
            for name in ("weaker-wins", "not-converged", "noise-beats-gradients",
                         "black-box-stronger", "unbounded-attack-fails",
                         "catastrophic-overfitting")
        ]  # fmt: skip
    checks += [tally.budget(), tally.finite()]
    robust = int(tally.standing.sum())
    low, high = wilson(robust, len(images))
    return RobustnessEvaluation(
        norm=norm,
        epsilon=float(epsilon),
        effort=effort,
        clean_accuracy=float(right.double().mean()) if len(images) else float("nan"),
        robust_accuracy=robust / len(images) if len(images) else float("nan"),
        low=low,
        high=high,
        ladder=tuple(tally.rungs),
        checks=tuple(checks),
        labels=goal.labels,
        broken_by=tally.broken_by,
        originals=images,
        adversarials=tally.adversarials,
        cost=Cost(forwards=tally.forwards, backwards=tally.backwards, seconds=tally.seconds),
        class_names=classifier.class_names,
        nonfinite=int(tally.nonfinite.sum()),
    )


def _comparisons(
    classifier: Classifier,
    images: Tensor,
    goal: Any,
    radii: Tensor,
    norm: Norm,
    tally: _Tally,
    effort: str,
    epsilon: float,
    generator: Generator,
) -> list[Check]:
    count = max(len(images), 1)
    found = [tally.weaker_wins()]
    standing_before = tally.standing.clone()
    rows = _checks.sampled(tally.standing, goal.labels)
    longer = apgd(
        classifier,
        images[rows],
        goal.labels[rows],
        epsilon=epsilon,
        norm=norm,
        steps=200 if effort != "quick" else 60,
        random_start=True,
        generator=generator,
    )
    tally.pay(longer)
    fell = longer.fooled | longer.unreadable
    more = float(fell.double().mean()) if len(rows) else 0.0
    limit = 0.01 if effort != "quick" else 0.1
    sentence = f"twice the steps from another start fool {more:.1%} of what stood"
    enough = int(fell.sum()) > max(limit * len(rows), 1)
    found.append((_checks.warn if enough else _checks.ok)("not-converged", more, sentence))
    tally.add_to_last(rows, longer)
    noise, forwards = _checks.random_noise(
        classifier, images, goal, radii, norm, standing_before, generator
    )
    found.append(noise)
    tally.forwards += forwards
    found.append(tally.black_box(count))
    few = _checks.sampled(tally.right, goal.labels, _checks.UNBOUNDED)
    limitless, forwards, backwards = _checks.unbounded(classifier, images[few], goal.labels[few])
    found.append(limitless)
    tally.forwards, tally.backwards = tally.forwards + forwards, tally.backwards + backwards
    bent, forwards, backwards = _checks.overfitting(
        classifier,
        images,
        goal,
        radii,
        norm,
        single_step=tally.rungs[0].accuracy,
        worst=float(tally.standing.double().mean()),
        generator=generator,
    )
    found.append(bent)
    tally.forwards, tally.backwards = tally.forwards + forwards, tally.backwards + backwards
    return found


class _Tally:
    """Who still stands, and what it cost."""

    def __init__(self, images: Tensor, right: Tensor, forwards: int, backwards: int) -> None:
        self.right = right
        self.standing = right.clone()
        self.broken_by = torch.where(right, -1, -2)
        self.adversarials = images.clone()
        self.fooled: list[tuple[Planned, Tensor]] = []
        self.rungs: list[Rung] = []
        self.nonfinite = torch.zeros_like(right)
        self.lost_gradients = 0
        self.outside = 0
        self.lost = 0
        self.forwards = forwards
        self.backwards = backwards
        self.seconds = 0.0

    def pay(self, result: AttackResult) -> None:
        """Add a cost."""
        self.forwards += result.cost.forwards
        self.backwards += result.cost.backwards
        self.seconds += result.cost.seconds
        self.outside += count_of(result.flags, "outside")
        self.lost_gradients += count_of(result.flags, "nonfinite-gradient")

    def note(self, rung: Planned, blocks: Iterable[tuple[Tensor, AttackResult]]) -> None:
        """Write a rung down, block by block."""
        mask = torch.zeros_like(self.standing)
        attacked, forwards, backwards, seconds = 0, 0, 0, 0.0
        for rows, result in blocks:
            self.pay(result)
            self.lost += result.lost_by_saving
            mask[rows] = result.fooled | result.unreadable
            self.nonfinite[rows] |= result.unreadable
            new = result.fooled & self.standing[rows]
            self.adversarials[rows[new]] = result.adversarials[new]
            attacked += len(rows)
            forwards += result.cost.forwards
            backwards += result.cost.backwards
            seconds += result.cost.seconds
        self.broken_by[mask & self.standing] = len(self.rungs)
        self.standing &= ~mask
        self.fooled.append((rung, mask))
        total = max(len(mask), 1)
        alone = float((self.right & ~mask).sum()) / total if rung.everyone else float("nan")
        self.rungs.append(
            Rung(
                attack=rung.name,
                attacked=attacked,
                broken=int(mask.sum()),
                accuracy=alone,
                standing=float(self.standing.sum()) / total,
                forwards=forwards,
                backwards=backwards,
                seconds=seconds,
            )
        )

    def add_to_last(self, rows: Tensor, result: AttackResult) -> None:
        """Images that a check broke are not robust either."""
        self.adversarials[rows[result.fooled]] = result.adversarials[result.fooled]
        self.nonfinite[rows] |= result.unreadable
        hit = rows[result.fooled | result.unreadable]
        self.broken_by[hit] = len(self.rungs) - 1
        self.standing[hit] = False

    def weaker_wins(self) -> Check:
        """Images that one step fools and APGD does not."""
        masks = [mask for rung, mask in self.fooled if rung.everyone]
        lost = int((masks[0] & ~masks[-1]).sum()) if len(masks) > 1 else 0
        share = lost / max(len(self.standing), 1)
        if lost > max(0.01 * len(self.standing), 1):
            return _checks.warn(
                "weaker-wins", share, f"one step fools {share:.1%} that APGD does not"
            )
        return _checks.ok("weaker-wins", share, "stronger attacks fool what weaker ones do")

    def black_box(self, count: int) -> Check:
        """Images that fell to Square alone."""
        for (rung, mask), shown in zip(self.fooled, self.rungs, strict=True):
            if rung.attack is square:
                share = float(mask.sum()) / count
                if int(mask.sum()) > max(0.002 * count, 1):
                    return _checks.warn(
                        "black-box-stronger",
                        share,
                        f"{shown.attack} fools {share:.1%} that gradients did not",
                    )
                return _checks.ok("black-box-stronger", share, "gradients are the stronger way")
        return _checks.skipped("black-box-stronger", "Square takes part from standard effort on")

    def budget(self) -> Check:
        """Were all adversarials inside, and how many survive saving?"""
        if self.outside:
            return _checks.warn("budget", float(self.outside), "adversarials left the ball")
        return _checks.ok(
            "budget", 0.0, f"all adversarials inside; {self.lost} would not survive 8-bit saving"
        )

    def finite(self) -> Check:
        """Did the network return numbers wherever an attack went?"""
        count = int(self.nonfinite.sum())
        if count:
            return _checks.warn(
                "non-finite",
                float(count),
                f"NaN or infinite logits for {count} of {len(self.standing)} images, as they are "
                "or under attack: none of them counts as robust",
            )
        if self.lost_gradients:
            return _checks.warn(
                "non-finite",
                float(self.lost_gradients),
                f"attacks met NaN or infinite gradients {self.lost_gradients} times and gave up "
                "there: what stood then is not proven to stand",
            )
        return _checks.ok(
            "non-finite", 0.0, "logits and gradients are finite wherever attacks went"
        )
