"""A fresh random view of every image at every step: what survives it is robust."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How much views differ.

    Attributes:
        degrees: Largest rotation.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the side.
        flip: Whether half of the views are mirrored.
    """

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.1
    flip: bool = True


class Views:
    """Random affine views, drawn in advance so that they do not depend on how work is cut."""

    def __init__(self, jitter: Jitter, count: int, steps: int, generator: Generator) -> None:
        draws = torch.rand(steps + 1, count, 5, generator=generator, dtype=torch.float32) * 2 - 1
        angle = draws[..., 0] * torch.pi * jitter.degrees / 180
        size = 1 + draws[..., 1] * jitter.scale
        mirror = torch.where(draws[..., 4] < 0, -1.0, 1.0) if jitter.flip else torch.ones(())
        cosine, sine = angle.cos() * size, angle.sin() * size
        shift = draws[..., 2:4] * 2 * jitter.shift
        self.matrices = torch.stack(
            [
                torch.stack([cosine * mirror, -sine, shift[..., 0]], dim=-1),
                torch.stack([sine * mirror, cosine, shift[..., 1]], dim=-1),
            ],
            dim=-2,
        )

    def look(self, images: Tensor, k: int, rows: Tensor) -> Tensor:
        """The view of each row at step `k`, borders reflected; differentiable."""
        chosen = self.matrices[k].to(images.device)[rows]
        grid = F.affine_grid(chosen, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
