"""Where images may be. Projections are exact: no pixel ever leaves, not by one ulp.

Adding a float32 radius to a float32 pixel rounds, and a clamp to the rounded bound lets pixels
out of the ball (in every attack library that was measured). Here bounds are computed in float64
with their rounding error and rounded *inward* to float32, once per attack; the inner loop is one
max and one min. The L2 ball shrinks what rounding left outside until its float64 norm fits.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from convscope.errors import UsageError
from convscope.types import Norm


@runtime_checkable
class Region(Protocol):
    """A set of images, one per row of a batch."""

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """The points of the region nearest to `x`, whose entries belong to `rows`."""
        ...

    def contains(self, x: Tensor) -> Tensor:
        """Which of all rows of `x` lie inside, ``(batch,)``, judged in float64."""
        ...

    def nearest_bytes(self, x: Tensor) -> Tensor:
        """The 8-bit image (uint8) nearest to each row of `x` that lies inside, if there is one."""
        ...


class Unconstrained:
    """No constraint: for latents."""

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """`x` itself."""
        return x

    def contains(self, x: Tensor) -> Tensor:
        """True for finite rows."""
        return x.flatten(1).isfinite().all(dim=1)

    def nearest_bytes(self, x: Tensor) -> Tensor:
        """Plain rounding."""
        return _levels(x).to(torch.uint8)


class Box:
    """Per-pixel bounds; scalars, or tensors with one row per image."""

    def __init__(self, low: Tensor, high: Tensor) -> None:
        self.low = low
        self.high = high

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Clamp to the bounds."""
        return torch.clamp(x, _of(self.low, rows, x), _of(self.high, rows, x))

    def contains(self, x: Tensor) -> Tensor:
        """True where every pixel is within its bounds."""
        inside = (x >= self.low) & (x <= self.high)
        return inside.flatten(1).all(dim=1)

    def nearest_bytes(self, x: Tensor) -> Tensor:
        """Round; pixels that rounding would move out of their bounds go to the next level in."""
        levels = _levels(x)
        pixels = levels / 255
        return (levels - (pixels > self.high).to(x) + (pixels < self.low).to(x)).to(torch.uint8)


class L2Ball:
    """Images within an L2 distance of a center, and inside [0, 1]."""

    def __init__(self, center: Tensor, radius: Tensor) -> None:
        self.center = center
        self.radius = radius  # float64, one per row

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Clamp to [0, 1], then scale toward the center until the norm fits.

        The box is convex and holds the center, so scaling cannot leave it. Scaled offsets are
        added in float32, which rounds; rows that are still outside shrink by one part in 2^22,
        then 2^21, and so on: a radius below the pixels' spacing ends at the center.
        """
        center, radius = _of(self.center, rows, x), self.radius[rows]
        x = x.clamp(0, 1)
        norm = _norm64(center, x)
        outside = norm > radius
        if not bool(outside.any()):
            return x
        scale = torch.where(outside, radius / norm.clamp_min(1e-300), torch.ones_like(norm))
        shrink = 2.0**-22
        while True:
            moved = _toward(center, x, scale)
            still = outside & (_norm64(center, moved) > radius)
            if not bool(still.any()):
                return torch.where(column(outside, x), moved, x)
            scale = torch.where(still, scale * max(0.0, 1 - shrink), scale)
            shrink *= 2

    def contains(self, x: Tensor) -> Tensor:
        """True where the float64 norm is at most the radius and pixels are in [0, 1]."""
        pixels = ((x >= 0) & (x <= 1)).flatten(1).all(dim=1)
        return pixels & (_norm64(self.center, x) <= self.radius)

    def nearest_bytes(self, x: Tensor) -> Tensor:
        """Round; in rows that would leave the ball no pixel may move away from the center."""
        levels = _levels(x)
        away = (levels / 255 - self.center).abs() > (x - self.center).abs()
        inward = levels + torch.where(away, (self.center * 255 - levels).sign(), 0.0)
        inside = column(self.contains(levels / 255), x)
        return torch.where(inside, levels, inward).to(torch.uint8)


def unconstrained() -> Unconstrained:
    """No constraint: for latents, which are decoded before they are images."""
    return Unconstrained()


def box(low: float = 0.0, high: float = 1.0) -> Box:
    """Every pixel between two numbers; by default what an image can be."""
    return Box(torch.tensor(low), torch.tensor(high))


def linf_ball(center: Tensor, radius: float | Tensor) -> Box:
    """Pixels at most `radius` from `center`, inside [0, 1].

    Args:
        center: ``(batch, channel, height, width)``, float32.
        radius: In pixel units, one for all or ``(batch,)``; 8/255 is eight gray levels.

    Raises:
        UsageError: U03 if a radius is negative, NaN or infinite.

    Example:
        >>> ball = linf_ball(torch.full((1, 1, 1, 1), 0.5), 0.25)
        >>> ball.project(torch.ones(1, 1, 1, 1), torch.tensor([0])).item()
        0.75
    """
    radii = column(_radii(radius, center), center)
    low = -_inward_sum(-center.double(), radii, center.dtype)
    high = _inward_sum(center.double(), radii, center.dtype)
    return Box(low.clamp(0, 1), high.clamp(0, 1))


def l2_ball(center: Tensor, radius: float | Tensor) -> L2Ball:
    """Images at most an L2 distance of `radius` from `center`, inside [0, 1].

    Args:
        center: ``(batch, channel, height, width)``.
        radius: In pixel units, one for all or ``(batch,)``.

    Raises:
        UsageError: U03 if a radius is negative, NaN or infinite.
    """
    return L2Ball(center, _radii(radius, center))


def ball(center: Tensor, radius: float | Tensor, norm: Norm) -> Box | L2Ball:
    """The ball of that norm around `center`: `linf_ball` or `l2_ball`."""
    return linf_ball(center, radius) if norm == "linf" else l2_ball(center, radius)


def l2_norm(x: Tensor) -> Tensor:
    """The L2 norm of each image, ``(batch, 1, 1, 1)``."""
    return column(torch.linalg.vector_norm(x.flatten(1), dim=1), x)


def _inward_sum(a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest number of `dtype` that is at most a + b in real arithmetic.

    The float64 sum has the error ``(a - (s - t)) + (b - t)`` with ``t = s - a`` (Knuth's
    two-sum), so it is known on which side of the true sum the rounded bound lies.
    """
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    rounded = total.to(dtype)
    back = rounded.double()
    over = (back > total) | ((back == total) & (error < 0))
    lower = torch.nextafter(rounded, torch.full_like(rounded, -torch.inf))
    return torch.where(over, lower, rounded)


def _radii(radius: float | Tensor, center: Tensor) -> Tensor:
    radii = torch.as_tensor(radius, dtype=torch.float64, device=center.device)
    if not bool((radii.isfinite() & (radii >= 0)).all()):
        shown = radii.item() if radii.ndim == 0 else "a row of it"
        raise UsageError(
            f"epsilon must be at least 0 and finite, got {shown}",
            code="U03",
            expected="a radius in pixel units, such as 8/255",
        )
    return radii.expand(len(center)) if radii.ndim == 0 else radii


def _norm64(center: Tensor, x: Tensor) -> Tensor:
    """L2 norm of ``x - center`` of each image, computed in float64."""
    return torch.linalg.vector_norm((x.double() - center.double()).flatten(1), dim=1)


def _toward(center: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    offset = x.double() - center.double()
    moved = (center.double() + offset * column(scale, x)).to(x.dtype)
    return torch.where(column(scale, x) == 0, center, moved).clamp(0, 1)


def _levels(x: Tensor) -> Tensor:
    """Gray levels 0 to 255, as floats."""
    return (x.nan_to_num(0.0) * 255).round().clamp(0, 255)


def column(values: Tensor, like: Tensor) -> Tensor:
    """One value per row, shaped to multiply `like`."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _of(bounds: Tensor, rows: Tensor, x: Tensor) -> Tensor:
    """The bounds of some rows; all of them need no copy."""
    if bounds.ndim == 0:
        return bounds.to(x.device)
    return bounds if len(rows) == len(bounds) else bounds[rows]
