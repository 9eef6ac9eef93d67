"""Synthetic shapes whose position is known."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from convscope._readable import readable
from convscope.data._dataset import Dataset
from convscope.data._split import Split
from convscope.errors import UsageError

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


CLASS_NAMES = tuple(OUTLINES)
"""Kinds of objects, in the order of the classes."""

SIZES = {"train": 10_000, "validation": 1_000, "test": 2_000}
_STREAMS = {"train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard shapes are to see.

    Args:
        clutter: Lines and dots per image that belong to no object.
        contrast: Least distance between the object's color and the background's mean, in pixel
            units over the three channels.
        noise: Standard deviation of pixel noise.
        smallest: Least radius of the object, as a share of the side.
        largest: Largest radius.
        degrees: Largest rotation.
    """

    clutter: int = 4
    contrast: float = 0.45
    noise: float = 0.04
    smallest: float = 0.2
    largest: float = 0.3
    degrees: float = 30.0


DIFFICULTIES = {
    "easy": Difficulty(clutter=0, contrast=0.7, noise=0.0),
    "medium": Difficulty(),
    "hard": Difficulty(clutter=8, contrast=0.3, noise=0.08, smallest=0.14, degrees=180.0),
}


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """Drawn images and the truth about them.

    Args:
        images: (N, 3, side, side) bytes.
        labels: (N,) classes.
        masks: (N, side, side), True on the object.
    """

    images: UInt8[Tensor, "batch 3 height width"]
    labels: Int[Tensor, " batch"]
    masks: Bool[Tensor, "batch height width"]


def open_shapes(*, side: int = 32, difficulty: str | Difficulty = "medium") -> Dataset:
    """The data set: 10,000 / 1,000 / 2,000 images of ten shapes.

    Args:
        side: Height and width in pixels.
        difficulty: ``"easy"``, ``"medium"``, ``"hard"``, or settings of your own.

    Returns:
        The data set, with masks.
    """
    scenes = {name: shape_scenes(name, side=side, difficulty=difficulty) for name in SIZES}
    splits = [
        Split(name=name, images=part.images, labels=part.labels, masks=part.masks)
        for name, part in scenes.items()
    ]
    digest = hashlib.sha256(b"".join(s.pixels().numpy().tobytes() for s in splits)).hexdigest()
    return Dataset(
        name="shapes",
        class_names=CLASS_NAMES,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        source=f"shapes: ten kinds of objects drawn at {side}x{side}, difficulty {difficulty}; "
        "color, background and clutter are independent of the class",
        hashes={"shapes": digest},
    )


def shape_scenes(
    split: str,
    rows: int | None = None,
    *,
    side: int = 32,
    difficulty: str | Difficulty = "medium",
) -> Scenes:
    """The images of a split with their masks; the same on every call.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        rows: The first so many images; all by default.
        side: Height and width in pixels, at least 16.
        difficulty: As for `open_shapes`.

    Raises:
        UsageError: If there is no such split or difficulty.

    Example:
        >>> scenes = shape_scenes("test", 3)
        >>> scenes.images.shape, scenes.masks.shape, scenes.labels.tolist()
        (torch.Size([3, 3, 32, 32]), torch.Size([3, 32, 32]), [0, 1, 2])
    """
    if split not in SIZES:
        raise UsageError(f"no split {split!r}", code="U01", expected=", ".join(SIZES))
    if isinstance(difficulty, str):
        if difficulty not in DIFFICULTIES:
            raise UsageError(
                f"no difficulty {difficulty!r}", code="U01", expected=", ".join(DIFFICULTIES)
            )
        difficulty = DIFFICULTIES[difficulty]
    if side < 16:
        raise UsageError(f"side {side}", code="U10", expected="at least 16 pixels")
    wanted = SIZES[split] if rows is None else min(rows, SIZES[split])
    parts = [
        _draw(split, block, min(500, wanted - 500 * block), side, difficulty)
        for block in range(-(-wanted // 500))
    ]
    return Scenes(
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        masks=torch.cat([part.masks for part in parts]),
    )


def _draw(split: str, block: int, count: int, side: int, settings: Difficulty) -> Scenes:
    """The first `count` images of a block of 500, each block from a stream of its own."""
    generator = torch.Generator().manual_seed(1000 * _STREAMS[split] + block)
    full = 500
    labels = torch.arange(full) % len(CLASS_NAMES)
    ground = _background(full, side, generator)
    canvas = _clutter(ground, settings.clutter, generator)
    cover = _coverage(labels, side, settings, generator)
    color = _color(ground.mean(dim=(2, 3)), settings.contrast, generator)
    shade = 1 + 0.25 * (_smooth((full, 1, 3, 3), side, generator) - 0.5)
    painted = (color[:, :, None, None] * shade).clamp(0, 1)
    images = canvas + cover[:, None] * (painted - canvas)
    images = images + settings.noise * torch.randn(images.shape, generator=generator)
    return Scenes(
        images=(images.clamp(0, 1) * 255).round().to(torch.uint8)[:count],
        labels=labels[:count],
        masks=(cover > 0.5)[:count],
    )


def _smooth(shape: tuple[int, int, int, int], side: int, generator: Generator) -> Tensor:
    coarse = torch.rand(shape, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)


def _background(count: int, side: int, generator: Generator) -> Tensor:
    """A base color with soft patches."""
    base = torch.rand(count, 3, 1, 1, generator=generator)
    return (base + 0.5 * (_smooth((count, 3, 5, 5), side, generator) - 0.5)).clamp(0, 1)


def _clutter(ground: Tensor, number: int, generator: Generator) -> Tensor:
    """Thin lines and dots of random colors."""
    count, _, side, _ = ground.shape
    grid = _grid(side)
    canvas = ground
    for _ in range(number):
        draw = torch.rand(count, 8, 1, 1, generator=generator)
        dot = draw[:, 4] < 0.5
        size = torch.where(dot, 0.01, 0.5)
        start, way = draw[:, 0:2] * 2 - 1, (draw[:, 2:4] * 2 - 1) * size[:, None]
        x, y = grid[..., 0] - start[:, 0], grid[..., 1] - start[:, 1]
        length = way.square().sum(dim=1).clamp_min(1e-9)
        along = ((x * way[:, 0] + y * way[:, 1]) / length).clamp_(0, 1)
        away = torch.hypot(x - along * way[:, 0], y - along * way[:, 1])
        width = torch.where(dot, 0.09, 0.045)
        cover = ((width - away) * (side / 2) + 0.5).clamp_(0, 1)[:, None]
        canvas = torch.lerp(canvas, draw[:, 5:8], cover)
    return canvas


def _coverage(labels: Tensor, side: int, settings: Difficulty, generator: Generator) -> Tensor:
    """How much of each pixel the object covers, ``(batch, side, side)``, edges smooth."""
    count = len(labels)
    draw = torch.rand(count, 4, generator=generator)
    radius = 2 * (settings.smallest + draw[:, 0] * (settings.largest - settings.smallest))
    angle = (draw[:, 1] * 2 - 1) * settings.degrees * torch.pi / 180
    center = (draw[:, 2:] * 2 - 1) * (1 - radius)[:, None]
    offset = (_grid(side)[None] - center[:, None, None]) / radius[:, None, None, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x = cosine * offset[..., 0] + sine * offset[..., 1]
    y = cosine * offset[..., 1] - sine * offset[..., 0]
    distance = torch.empty_like(x)
    for label, name in enumerate(CLASS_NAMES):
        rows = labels == label
        distance[rows] = OUTLINES[name](x[rows], y[rows])
    return (0.5 - distance * radius[:, None, None] * side / 2).clamp(0, 1)


def _color(ground: Tensor, contrast: float, generator: Generator) -> Float[Tensor, "batch 3"]:
    """A random color at least `contrast` away from the mean of the background."""
    tried = torch.rand(len(ground), 16, 3, generator=generator)
    distance = (tried - ground[:, None]).square().sum(dim=2).sqrt()
    enough = distance >= contrast
    first = torch.where(enough.any(dim=1), enough.float().argmax(dim=1), distance.argmax(dim=1))
    return tried[torch.arange(len(ground)), first]


def _grid(side: int) -> Tensor:
    """Pixel centers from -1 to 1, ``(side, side, 2)``: x to the right, y down."""
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=2)
