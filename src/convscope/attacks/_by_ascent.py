"""First-order attacks: one run of `ascend`, and a look at both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from convscope.ascent import Keep, Step, Stop, ascend
from convscope.attacks._budget import Budget, unlimited
from convscope.attacks._criteria import Criterion
from convscope.attacks._result import AttackResult, Course, conclude
from convscope.attacks._transforms import RandomTransform, fused
from convscope.classifier import Classifier
from convscope.flags import Flag
from convscope.probe import Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """Expectation over transformation: the objective is a mean over random transforms.

    Attributes:
        transforms: Draws the transforms.
        samples: How many are drawn per step.
        generator: Source of randomness.
    """

    transforms: RandomTransform
    samples: int
    generator: Generator | None


def attack_by_ascent(
    classifier: Classifier,
    images: Tensor,
    criterion: Criterion,
    *,
    method: str,
    objective: Objective,
    step: Step,
    steps: int,
    settings: dict[str, Any],
    budget: Budget | None = None,
    start: Tensor | None = None,
    keep: Keep = "first",
    stop: bool | Stop = True,
    expectation: Expectation | None = None,
    fallback: bool = True,
    flags: tuple[Flag, ...] = (),
) -> AttackResult:
    """Ascend from `start` and look at both ends with the classifier.

    Args:
        classifier: The network to fool.
        images: The images attacked; the first point of the ascent unless `start` is given.
        criterion: Labels and targets.
        method: Name of the attack.
        objective: What to raise.
        step: How to move.
        steps: How often.
        settings: Plain values for the result.
        budget: Where images may be; by default anywhere in [0, 1].
        start: Another first point.
        keep: See `ascend`.
        stop: Let rows leave as soon as they are adversarial, or when a function says so.
        expectation: Random transforms that the result has to survive.
        fallback: Rows without a gradient follow the margin.
        flags: What to say in the result.
    """
    budget = unlimited() if budget is None else budget
    plain = expectation is None
    helped = fallback and plain
    leave = stop if callable(stop) else criterion.is_adversarial
    score, decode, samples = objective, None, 1
    if expectation is not None:
        samples = expectation.samples
        score, decode = fused(objective, expectation.transforms, samples, expectation.generator)
    with classifier.probe() as probe:
        ascent = ascend(
            images if start is None else start,
            probe,
            score,
            step=step,
            region=budget.region,
            steps=steps,
            stop=leave if plain and stop is not False else None,
            keep=keep,
            decode=decode,
            num_samples=samples,
            fallback=(lambda x, z, rows: criterion.margin(z, rows)) if helped else None,
        )
        return conclude(
            probe,
            images,
            ascent.images,
            criterion,
            method=method,
            settings=settings,
            budget=budget,
            logits_before=ascent.first_outputs if plain and start is None else None,
            logits_after=ascent.outputs if plain else None,
            course=Course.of(ascent),
            helped=helped,
            flags=flags,
        )
