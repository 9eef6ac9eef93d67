"""The optimization problem of an image: units, scores, initialization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from convscope._readable import readable
from convscope.ascent import Region, adam_step, ascend
from convscope.probe import LayerInfo, Objective, Probe
from convscope.types import Images
from convscope.visualizations._units import Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What a recipe has to draw.

    Attributes:
        probe: An open probe on the network.
        units: What to maximize, one image each.
        shape: ``(channel, height, width)`` of the images.
        reference: Real images, for recipes that learn from them.
        generator: Source of every draw.
        on_step: Called with (step number, rows) for progress displays.
    """

    probe: Probe
    units: Units
    shape: tuple[int, int, int]
    reference: Images | None
    generator: Generator
    on_step: Callable[[int, int], None] | None = None

    def activation(self) -> Objective:
        """Objective: what each image's own unit says."""
        return lambda x, outputs, rows: self.units.own(outputs, rows)

    def values(self, images: Images) -> Tensor:
        """Activation of each image's own unit, ``(unit,)``."""
        stop_at = self.units.stop_at
        outputs = (
            self.probe.logits(images)
            if stop_at is None
            else self.probe.activations(stop_at, images)
        )
        return self.units.own(outputs, torch.arange(len(images), device=images.device))

    def noise(self, mean: float, deviation: float) -> Images:
        """Gaussian noise, clipped to [0, 1], one image per unit."""
        draw = torch.randn(
            len(self.units.names), *self.shape, generator=self.generator, dtype=torch.float32
        )
        return (mean + deviation * draw).clamp(0, 1)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What a recipe drew.

    Attributes:
        images: ``(unit, channel, height, width)``.
        history: ``(step + 1, unit)``.
        stuck: ``(unit,)``, True where no step had a gradient.
        kept: ``(unit,)``, the step whose image it is.
    """

    images: Tensor
    history: Tensor
    stuck: Tensor
    kept: Tensor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named way to draw, with its settings for captions."""

    name: str
    draw: Callable[[Problem], Drawing]
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    needs_reference: bool = False


def scores_on(probe: Probe, units: Units, images: Images) -> Tensor:
    """Activation of every unit for every image, ``(batch, unit)``, in bounded memory."""
    parts = []
    for start in range(0, len(images), 256):
        chunk = images[start : start + 256]
        outputs = (
            probe.logits(chunk)
            if units.stop_at is None
            else probe.activations(units.stop_at, chunk)
        )
        parts.append(units.scores(outputs))
    return torch.cat(parts)


Decode = Callable[[Tensor], Tensor]

FACTORS = (3.0, 10.0, 20.0)
TRIES = 8
STEPS = 50

PASSING = (
    "ReLU", "ReLU6", "LeakyReLU", "ELU", "SiLU", "GELU", "Hardswish", "Mish", "MaxPool2d",
    "AvgPool2d", "Dropout", "Dropout2d", "Identity",
)  # fmt: skip
"""Layers that hand every map on by itself."""


def lively(
    problem: Problem, draw: Callable[[float], Tensor], region: Region, decode: Decode | None = None
) -> tuple[Tensor, Tensor]:
    """A start per unit, and which units stay silent.

    Args:
        problem: What is to be drawn.
        draw: Liveliness (1: as the recipe says, 20: twenty times the deviation) to starts.
        region: Where starts may be.
        decode: From what is moved to images, if it is not the image itself.

    Returns:
        ``(unit, ...)`` and ``(unit,)``.
    """
    start = draw(1.0)
    silent = _silent(problem, start, decode)
    feeding = feeding_units(problem.probe.layers(), problem.units) if bool(silent.any()) else None
    if feeding is not None:
        woken = _woken(problem, start, feeding, region, decode)
        start = torch.where(_column(silent, start), woken, start)
        silent = _silent(problem, start, decode)
    if bool(silent.any()):
        start, silent = _tried(problem, draw, start, silent, decode)
    return start, silent


def feeding_units(layers: Sequence[LayerInfo], units: Units) -> Units | None:
    """The units of the convolution (or other layer) that `units` merely rectify and pool."""
    names = [info.name for info in layers]
    if units.layer not in names:
        return None
    index = names.index(units.layer)
    here = layers[index].output_shape
    while index > 0 and layers[index].kind in PASSING:
        index -= 1
        if len(layers[index].output_shape) != len(here):
            return None
        if layers[index].output_shape[0] != here[0]:
            return None
    found = layers[index]
    if found.name == units.layer or not found.is_leaf:
        return None
    position = units.position
    if position is not None:
        row, column = position
        position = (
            row * found.output_shape[1] // here[1],
            column * found.output_shape[2] // here[2],
        )
    return replace(units, layer=found.name, position=position)


def _silent(problem: Problem, start: Tensor, decode: Decode | None) -> Tensor:
    found = problem.probe.gradient(
        start,
        problem.activation(),
        decode=None if decode is None else lambda x, rows: decode(x),
        stop_at=problem.units.stop_at,
        allow_unused=True,
    )
    return (found.gradients.flatten(1) == 0).all(dim=1)


def _woken(
    problem: Problem, start: Tensor, feeding: Units, region: Region, decode: Decode | None
) -> Tensor:
    return ascend(
        start,
        problem.probe,
        lambda x, outputs, rows: feeding.own(outputs, rows),
        step=adam_step(0.05),
        region=region,
        steps=STEPS,
        stop=lambda outputs, rows: feeding.own(outputs, rows) > 0,
        decode=None if decode is None else lambda x, k, rows: decode(x),
        stop_at=feeding.layer,
    ).images


def _tried(
    problem: Problem,
    draw: Callable[[float], Tensor],
    start: Tensor,
    silent: Tensor,
    decode: Decode | None,
) -> tuple[Tensor, Tensor]:
    first = best = problem.values(start if decode is None else decode(start))
    for factor in FACTORS:
        for _ in range(TRIES):
            tried = draw(factor)
            values = problem.values(tried if decode is None else decode(tried))
            better = silent & (values > best)
            start = torch.where(_column(better, start), tried, start)
            best = torch.where(better, values, best)
    return start, silent & (best <= first)


def _column(flags: Tensor, like: Tensor) -> Tensor:
    return flags.view(-1, *[1] * (like.ndim - 1))
