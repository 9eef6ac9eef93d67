"""First-order attacks: argument validation, starting points, the run of `ascend`."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Generator, Tensor

from convscope.ascent import Keep, Region, Step, Stop, ascend
from convscope.attacks._criteria import Goal
from convscope.attacks._result import AttackResult, conclude
from convscope.attacks._transforms import View, fused
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import Objective
from convscope.types import Norm


def check_norm(norm: str) -> Norm:
    """`norm` if it is one that this package measures.

    Raises:
        UsageError: U01 otherwise.
    """
    if norm not in ("linf", "l2"):
        raise UsageError(f"unknown norm {norm!r}", code="U01", expected="linf or l2")
    return cast(Norm, norm)


def check_radius(epsilon: float | Tensor, norm: Norm, images: Tensor) -> Tensor:
    """Radii as float64, ``()`` or ``(batch,)``.

    Raises:
        UsageError: U03 if one is negative, NaN, infinite or larger than the whole pixel range.
    """
    radii = torch.as_tensor(epsilon, dtype=torch.float64)
    if radii.ndim > 1 or (radii.ndim == 1 and len(radii) != len(images)):
        raise UsageError(
            f"epsilon has shape {tuple(radii.shape)} for {len(images)} images",
            code="U03",
            expected="one number, or one per image",
        )
    widest = 1.0 if norm == "linf" else math.sqrt(max(images[:1].numel(), 1))
    for value in (radii.min().item(), radii.max().item()) if radii.numel() else ():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(
                f"epsilon must be at least 0 and finite, got {value}",
                code="U03",
                expected="a radius in pixel units, such as 8/255",
            )
        if value > widest:
            raise UsageError(
                f"epsilon {value:g} is wider than all of [0, 1]",
                code="U03",
                expected=f"at most {widest:g} for norm {norm}",
                hint=f"pixels are in [0, 1]: did you mean {value:g}/255?",
            )
    return radii


def check_steps(steps: int) -> int:
    """`steps` if it can be counted.

    Raises:
        UsageError: U05 if negative or not whole.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UsageError(f"steps must be a whole number of at least 0, got {steps}", code="U05")
    return steps


def check_positive(name: str, value: float, code: str = "U06") -> float:
    """`value` if it is positive and finite.

    Raises:
        UsageError: U06 otherwise.
    """
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} must be positive and finite, got {value}", code=code)
    return value


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a whole number of at least `least`.

    Raises:
        UsageError: U05 otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"{name} must be a whole number of at least {least}, got {value}", code="U05"
        )
    return value


def random_start(
    images: Tensor, radii: Tensor, norm: str, region: Region, generator: Generator | None
) -> Tensor:
    """A point of the ball around each image, put into [0, 1].

    Uniform in the ball: for ``"linf"`` every pixel on its own, for ``"l2"`` a Gaussian direction
    and a length whose n-th power is uniform.

    Args:
        images: ``(batch, channel, height, width)``.
        radii: ``()`` or ``(batch,)``.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        region: What to project onto.
        generator: Source of randomness.
    """
    shape = (1, *images.shape[1:])
    if norm == "linf":
        offset = 2 * torch.rand(shape, generator=generator, dtype=torch.float32).to(images) - 1
    else:
        direction = torch.randn(shape, generator=generator, dtype=torch.float32).to(images)
        share = torch.rand((), generator=generator, dtype=torch.float32).item() ** (
            1 / max(direction.numel(), 1)
        )
        offset = share * direction / torch.linalg.vector_norm(direction).clamp_min(1e-30)
    lengths = radii.to(images).expand(len(images)).view(-1, 1, 1, 1)
    return region.project(images + lengths * offset, torch.arange(len(images)))


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
            score, decode = objective, None
        else:
            score, decode = fused(objective, views, draws, generator)
        ascent = ascend(
            images if start is None else start,
            probe,
            score,
            step=step,
            region=region,
            steps=steps,
            stop=None if views is not None or stop is False else leave,
            keep=keep,
            decode=decode,
            num_samples=1 if views is None else draws,
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
