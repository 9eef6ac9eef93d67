"""An attack that is an ascent: run it, stop rows that fool, conclude."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convscope.ascent import Keep, Region, Step, Stop, ascend
from convscope.attacks._goal import Goal
from convscope.attacks._result import AttackResult, conclude
from convscope.attacks._views import View, fused
from convscope.classifier import Classifier
from convscope.probe import Objective


def attack_by_ascent(
    classifier: Classifier,
    images: Tensor,
    goal: Goal,
    *,
    method: str,
    objective: Objective,
    step: Step,
    steps: int,
    region: Region,
    settings: dict[str, Any],
    start: Tensor | None = None,
    keep: Keep = "first",
    stop: bool | Stop = True,
    norm: str | None = None,
    epsilon: Tensor | float | None = None,
    views: View | None = None,
    draws: int = 1,
    generator: torch.Generator | None = None,
    fallback: bool = True,
    flags: tuple[str, ...] = (),
) -> AttackResult:
    """Ascend from `start` and look at both ends with the classifier.

    Args:
        classifier: The network to fool.
        images: The images attacked; the first point of the ascent unless `start` is given.
        goal: Labels and targets.
        method: Name of the attack.
        objective: What to raise.
        step: How to move.
        steps: How often.
        region: Where images may be.
        settings: Plain values for the result.
        start: Another first point.
        keep: See `ascend`.
        stop: Let rows leave as soon as they fool, or when a function says so.
        norm: Of the declared ball.
        epsilon: Of the declared ball.
        views: Random transformations that the result has to survive.
        draws: How many views are drawn per step.
        generator: Source of randomness for `views`.
        fallback: Rows without a gradient follow the margin.
        flags: What to say in the result.
    """
    helped = fallback and views is None
    leave = stop if callable(stop) else goal.reached
    with classifier.probe() as probe:
        if views is None:
            score, paint = objective, None
        else:
            score, paint = fused(objective, views, draws, generator)
        ascent = ascend(
            images if start is None else start,
            probe,
            score,
            step=step,
            region=region,
            steps=steps,
            stop=None if views is not None or stop is False else leave,
            keep=keep,
            paint=paint,
            copies=1 if views is None else draws,
            fallback=(lambda x, z, rows: goal.margin(z, rows)) if helped else None,
        )
        untouched = start is None and views is None
        return conclude(
            probe,
            images,
            ascent.images,
            goal,
            method=method,
            settings=settings,
            region=region,
            norm=norm,
            epsilon=None if epsilon is None else _largest(epsilon),
            logits_before=ascent.first_outputs if untouched else None,
            logits_after=None if views is not None else ascent.outputs,
            steps=ascent.steps,
            history=ascent.history,
            zero_gradients=ascent.zero_gradients,
            nonfinite=ascent.unreadable,
            lost_gradients=int((ascent.nonfinite & ~ascent.unreadable).sum()),
            helped=helped,
            flags=flags,
        )


def _largest(epsilon: Tensor | float) -> float:
    values = torch.as_tensor(epsilon, dtype=torch.float64)
    return float(values.max()) if values.numel() else 0.0
