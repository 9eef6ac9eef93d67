"""Ten shapes as signed functions: negative inside, about the distance in radii near the edge."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Outline = Callable[[Tensor, Tensor], Tensor]
"""x to the right and y down, in radii of the object, to a signed distance."""


def _disk(x: Tensor, y: Tensor) -> Tensor:
    return _length(x, y) - 0.9


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.75


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    """Equilateral, tip up."""
    slanted = 0.5 * math.sqrt(3) * x.abs() - 0.5 * (y + 0.15)
    return torch.maximum(y + 0.15, slanted) - 0.55


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Five points, tip up: straight edges between radius 1 and radius 0.42."""
    sector = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(x, -y) + sector / 2, sector) - sector / 2
    radius = _length(x, y)
    along, aside = radius * angle.cos(), radius * angle.sin().abs()
    inner = 0.42
    corner = (inner * math.cos(sector / 2), inner * math.sin(sector / 2))
    edge = (corner[0] - 1.0, corner[1])
    size = math.hypot(*edge)
    return ((along - 1.0) * edge[1] - aside * edge[0]) / size


def _cross(x: Tensor, y: Tensor) -> Tensor:
    bar = torch.maximum(x.abs() - 0.92, y.abs() - 0.26)
    post = torch.maximum(x.abs() - 0.26, y.abs() - 0.92)
    return torch.minimum(bar, post)


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return (_length(x, y) - 0.7).abs() - 0.2


def _crescent(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(_length(x, y) - 0.92, 0.78 - _length(x - 0.45, y))


def _bar(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs() - 0.95, y.abs() - 0.28)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    """Two disks on a square that stands on its corner."""
    lobes = _length(x.abs() - 0.4, y + 0.25) - 0.48
    tip = (x.abs() + y.abs() * torch.where(y > -0.1, 0.98, 2.0) - 0.86) / math.sqrt(2)
    return torch.minimum(lobes, torch.where(y > -0.1, tip, torch.maximum(tip, -y - 0.1)))


def _arrow(x: Tensor, y: Tensor) -> Tensor:
    """Head up, shaft below."""
    head = torch.maximum(y + 0.05, 0.72 * x.abs() - 0.69 * (y + 0.95))
    shaft = torch.maximum(x.abs() - 0.2, (y - 0.4).abs() - 0.55)
    return torch.minimum(head, shaft)


def _length(x: Tensor, y: Tensor) -> Tensor:
    return (x.square() + y.square()).sqrt()


OUTLINES: dict[str, Outline] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "bar": _bar,
    "heart": _heart,
    "arrow": _arrow,
}
