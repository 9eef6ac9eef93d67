"""Refusals of numbers out of range: radii, steps, counts, sizes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from convscope.errors import UsageError, choose
from convscope.types import Norm


def check_norm(norm: str) -> Norm:
    """`norm` if it is one that this package measures.

    Raises:
        UsageError: U01 otherwise.
    """
    return "linf" if choose("norm", norm, ("linf", "l2")) == "linf" else "l2"


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
