"""The random moves of the Square attack. All rows get the same draws."""

from __future__ import annotations

import math
from types import EllipsisType

import torch
from torch import Generator, Tensor

Window = tuple[EllipsisType, slice, slice]
"""The last two axes of a square."""

TILES = 5
"""The L2 attack starts with so many bumps per side."""


class LinfMoves:
    """Stripes, then squares, of plus or minus the radius.

    Source:
        Andriushchenko et al., ECCV 2020, algorithm 2.
    """

    def __init__(self, radii: Tensor) -> None:
        self.radii = radii

    def start(self, center: Tensor, rows: Tensor, generator: Generator | None) -> Tensor:
        """Vertical stripes, one pixel wide."""
        signs = _signs((1, center.shape[1], 1, center.shape[3]), generator).to(center)
        return center + self._radius(rows) * signs

    def change(
        self, x: Tensor, center: Tensor, rows: Tensor, area: float, generator: Generator | None
    ) -> Tensor:
        """One square, one sign per channel."""
        height, width = x.shape[2:]
        side = max(1, min(round(math.sqrt(area * height * width)), height, width))
        window = _window(side, height, width, generator)
        signs = _signs((1, x.shape[1], 1, 1), generator).to(x)
        out = x.clone()
        out[window] = center[window] + self._radius(rows) * signs
        return out

    def _radius(self, rows: Tensor) -> Tensor:
        return _column(self.radii, rows)


class L2Moves:
    """Bumps that take over the length of others: the perturbation keeps its norm.

    Source:
        Andriushchenko et al., ECCV 2020, section 4.3 and algorithm 3.
    """

    def __init__(self, radii: Tensor) -> None:
        self.radii = radii

    def start(self, center: Tensor, rows: Tensor, generator: Generator | None) -> Tensor:
        """A grid of five by five bumps, one sign each per channel, as long as the radius."""
        channels, height, width = center.shape[1:]
        tall, wide = max(1, height // TILES), max(1, width // TILES)
        down, across = min(TILES, height // tall), min(TILES, width // wide)
        signs = _signs((channels, down, across), generator)
        grid = torch.kron(signs, bump(tall, wide)[None])
        offset = torch.zeros(1, channels, height, width)
        top, left = (height - down * tall) // 2, (width - across * wide) // 2
        offset[0, :, top : top + down * tall, left : left + across * wide] = grid
        offset = (offset / torch.linalg.vector_norm(offset)).to(center)
        return center + _column(self.radii, rows) * offset

    def change(
        self, x: Tensor, center: Tensor, rows: Tensor, area: float, generator: Generator | None
    ) -> Tensor:
        """Empty one square; another gets a pair of bumps and all the length that is then free."""
        channels, height, width = x.shape[1:]
        side = _odd(math.sqrt(area * height * width), min(height, width))
        here = _window(side, height, width, generator)
        there = _window(side, height, width, generator)
        signs = _signs((1, channels, 1, 1), generator).to(x)
        pair = two_bumps(side)
        if float(_signs((1,), generator)) > 0:
            pair = pair.T
        pair = (pair / torch.linalg.vector_norm(pair)).to(x)
        offset = x - center
        both = torch.zeros((height, width), dtype=torch.bool, device=x.device)
        both[here] = both[there] = True
        square = offset.square()
        radius = _column(self.radii, rows)
        unused = (radius.square() - square.sum(dim=(1, 2, 3), keepdim=True)).clamp_min(0)
        free = ((square * both).sum(dim=(2, 3), keepdim=True) + unused / channels).sqrt()
        old = offset[here]
        new = signs * pair + old / _length(old)
        offset[there] = 0
        offset[here] = new / _length(new) * free
        return center + offset


def bump(height: int, width: int) -> Tensor:
    """A pyramid that rises ever faster to its middle, ``(height, width)``.

    Example:
        >>> bump(3, 3)[0, 0] == 0.25, bump(3, 3)[1, 1] == 1.25
        (tensor(True), tensor(True))
    """
    half = max(height, width) // 2
    down = (torch.arange(height) - height // 2).abs()[:, None]
    across = (torch.arange(width) - width // 2).abs()[None, :]
    steps = half - torch.maximum(down, across)
    levels = (1 / (half + 1 - torch.arange(half + 1)).double().square()).cumsum(0)
    return levels[steps].float()


def two_bumps(side: int) -> Tensor:
    """Two bumps of opposite signs that together fill a square."""
    left = side // 2
    return torch.cat([bump(side, left), -bump(side, side - left)], dim=1)


def _window(side: int, height: int, width: int, generator: Generator | None) -> Window:
    top, left = _whole(height - side, generator), _whole(width - side, generator)
    return (..., slice(top, top + side), slice(left, left + side))


def _odd(side: float, most: int) -> int:
    """The nearest odd number that fits."""
    odd = 2 * round((side - 1) / 2) + 1
    return max(1, min(odd, most if most % 2 else most - 1))


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True).clamp_min(1e-12)


def _column(radii: Tensor, rows: Tensor) -> Tensor:
    mine = radii.expand(len(rows)) if radii.ndim == 0 else radii[rows]
    return mine.view(-1, 1, 1, 1)


def _signs(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def _whole(most: int, generator: Generator | None) -> int:
    return int(torch.randint(0, most + 1, (), generator=generator))
