"""Where adversarial images may be: budgets, and random points inside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from convscope.ascent import Region, ball, box
from convscope.types import Norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Budget:
    """The region that an attack promises not to leave, and the radius that it declares.

    Attributes:
        region: Where images may be.
        norm: Of the declared ball; ``None``: only the pixel range is a limit.
        radii: Of the declared balls, float64, ``()`` or ``(batch,)``; ``None`` without one.
    """

    region: Region
    norm: Norm | None = None
    radii: Tensor | None = None

    @property
    def epsilon(self) -> float | None:
        """The largest radius; ``None`` without one."""
        if self.radii is None:
            return None
        return float(self.radii.max()) if self.radii.numel() else 0.0


def within(images: Tensor, radii: Tensor, norm: Norm) -> Budget:
    """Balls of `radii` around `images`, inside [0, 1]."""
    return Budget(region=ball(images, radii, norm), norm=norm, radii=radii)


def unlimited() -> Budget:
    """Any image."""
    return Budget(region=box())


def of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """The entries of some rows of ``(batch,)``; a number for all rows is itself."""
    return values[rows.to(values.device)] if values.ndim else values


def random_start(images: Tensor, radii: Tensor, norm: Norm, generator: Generator | None) -> Tensor:
    """A point of the ball around each image, put into [0, 1]; the same offset for all images.

    Uniform in the ball: for ``"linf"`` every pixel on its own, for ``"l2"`` a Gaussian direction
    and a length whose n-th power is uniform.

    Args:
        images: ``(batch, channel, height, width)``.
        radii: ``()`` or ``(batch,)``.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
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
    everyone = torch.arange(len(images), device=images.device)
    return ball(images, radii, norm).project(images + lengths * offset, everyone)
