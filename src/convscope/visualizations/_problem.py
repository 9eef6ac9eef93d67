"""What a recipe is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from convscope._readable import readable
from convscope.probe import Objective, Probe
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
        until = self.units.until
        outputs = self.probe.logits(images) if until is None else self.probe.at(until, images)
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
