"""Random first points. Every image gets the same draw, so that none depends on its neighbors."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from convscope.ascent import Region


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
