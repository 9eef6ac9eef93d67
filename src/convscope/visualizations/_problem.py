"""Activation maximization as a problem: units, activations, initialization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from convscope._readable import readable
from convscope.ascent import Region, adam_step, ascend
from convscope.probe import LayerInfo, Objective, Probe
from convscope.types import Images
from convscope.visualizations._units import UnitSelection


@dataclass(frozen=True, kw_only=True, eq=False)
class MaximizationProblem:
    """What a recipe optimizes: one image per unit.

    Attributes:
        probe: An open probe on the network.
        units: What to maximize, one image each.
        shape: ``(channel, height, width)`` of the images.
        reference: Real images, for recipes that learn from them.
        generator: Source of every draw, on the CPU: the numbers are the same on every device.
        device: Where the images are.
    """

    probe: Probe
    units: UnitSelection
    shape: tuple[int, int, int]
    reference: Images | None
    generator: Generator
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def activation(self) -> Objective:
        """Objective: the activation of each image's own unit."""
        return lambda x, outputs, rows: self.units.own_activation(outputs, rows)

    def values(self, images: Images) -> Tensor:
        """Activation of each image's own unit, ``(unit,)``."""
        outputs = _outputs(self.probe, self.units, images)
        return self.units.own_activation(outputs, torch.arange(len(images), device=images.device))

    def noise(self, mean: float, std: float) -> Images:
        """Gaussian noise, clipped to [0, 1], one image per unit."""
        normal = torch.randn(
            len(self.units.names), *self.shape, generator=self.generator, dtype=torch.float32
        )
        return (mean + std * normal).clamp(0, 1).to(self.device)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class OptimizedImages:
    """Images that a recipe optimized, one per unit.

    Attributes:
        images: ``(unit, channel, height, width)``.
        history: ``(step + 1, unit)``, objective before each step and at the end.
        dead: ``(unit,)``, True where no step had a gradient.
        kept: ``(unit,)``, the step whose image it is.
    """

    images: Tensor
    history: Tensor
    dead: Tensor
    kept: Tensor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named way to optimize images, with its settings for captions.

    Attributes:
        name: Such as ``"l2-blur"``.
        optimize: Solves a problem.
        settings: Of the recipe, for captions.
        needs_reference: Whether it learns from real images.
    """

    name: str
    optimize: Callable[[MaximizationProblem], OptimizedImages]
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    needs_reference: bool = False


def unit_activations(probe: Probe, units: UnitSelection, images: Images) -> Tensor:
    """Activation of every unit for every image, ``(batch, unit)``, in bounded memory."""
    parts = []
    for start in range(0, len(images), 256):
        outputs = _outputs(probe, units, images[start : start + 256])
        parts.append(units.activations_of(outputs))
    return torch.cat(parts)


def _outputs(probe: Probe, units: UnitSelection, images: Images) -> Tensor:
    """What the layer of the units returns."""
    if units.stop_at is None:
        return probe.logits(images)
    return probe.activations(units.stop_at, images)


LatentDecode = Callable[[Tensor], Tensor]

FACTORS = (3.0, 10.0, 20.0)
"""Times the standard deviation of the recipe's start that are tried for dead units. No source:
twenty times reaches the border of the pixel box from the start of every recipe."""

TRIES = 8
"""Starts that are tried with each factor. No source."""

STEPS = 50
"""Most steps of Adam that revive a unit through the layer that feeds it. No source."""

PASSING = (
    "ReLU", "ReLU6", "LeakyReLU", "ELU", "SiLU", "GELU", "Hardswish", "Mish", "MaxPool2d",
    "AvgPool2d", "Dropout", "Dropout2d", "Identity",
)  # fmt: skip
"""Layers whose output maps each depend on one input map."""

WARM_START = 0.1
"""Share of the work that the search for starts is announced as."""


def warm_start(
    problem: MaximizationProblem,
    draw: Callable[[float], Tensor],
    region: Region,
    decode: LatentDecode | None = None,
) -> tuple[Tensor, Tensor]:
    """Starts from which the units have gradients, and which units are dead for all of them.

    Args:
        problem: What is maximized.
        draw: From a factor for the standard deviation of the recipe's start (1 as the recipe has
            it) to starts, one per unit.
        region: Where starts may be.
        decode: From what is optimized to images, if it is not the image itself.

    Returns:
        ``(unit, ...)`` and ``(unit,)``.
    """
    start = draw(1.0)
    dead = _without_gradient(problem, start, decode)
    feeding = feeding_units(problem.probe.layers(), problem.units) if bool(dead.any()) else None
    if feeding is not None:
        revived = _revived(problem, start, feeding, region, decode)
        start = torch.where(_column(dead, start), revived, start)
        dead = _without_gradient(problem, start, decode)
    if bool(dead.any()):
        start, dead = _best_of_many(problem, draw, start, dead, decode)
    return start, dead


def feeding_units(layers: Sequence[LayerInfo], units: UnitSelection) -> UnitSelection | None:
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
    source = layers[index]
    if source.name == units.layer or not source.is_leaf:
        return None
    position = units.position
    if position is not None:
        row, column = position
        position = (
            row * source.output_shape[1] // here[1],
            column * source.output_shape[2] // here[2],
        )
    return replace(units, layer=source.name, position=position)


def _without_gradient(
    problem: MaximizationProblem, start: Tensor, decode: LatentDecode | None
) -> Tensor:
    """Which units have a gradient of zero, ``(unit,)``."""
    result = problem.probe.gradient(
        start,
        problem.activation(),
        decode=None if decode is None else lambda x, rows: decode(x),
        stop_at=problem.units.stop_at,
        allow_unused=True,
    )
    return (result.gradients.flatten(1) == 0).all(dim=1)


def _revived(
    problem: MaximizationProblem,
    start: Tensor,
    feeding: UnitSelection,
    region: Region,
    decode: LatentDecode | None,
) -> Tensor:
    """Starts that were moved until the units that feed these ones are above zero."""
    return ascend(
        start,
        problem.probe,
        lambda x, outputs, rows: feeding.own_activation(outputs, rows),
        step=adam_step(0.05),
        region=region,
        steps=STEPS,
        stop=lambda outputs, rows: feeding.own_activation(outputs, rows) > 0,
        decode=None if decode is None else lambda x, k, rows: decode(x),
        stop_at=feeding.layer,
    ).images


def _best_of_many(
    problem: MaximizationProblem,
    draw: Callable[[float], Tensor],
    start: Tensor,
    dead: Tensor,
    decode: LatentDecode | None,
) -> tuple[Tensor, Tensor]:
    """For dead units the start of the largest activation among many, and who is dead still."""
    first = best = problem.values(start if decode is None else decode(start))
    for factor in FACTORS:
        for _ in range(TRIES):
            other = draw(factor)
            values = problem.values(other if decode is None else decode(other))
            better = dead & (values > best)
            start = torch.where(_column(better, start), other, start)
            best = torch.where(better, values, best)
    return start, dead & (best <= first)


def _column(flags: Tensor, like: Tensor) -> Tensor:
    return flags.view(-1, *[1] * (like.ndim - 1))
