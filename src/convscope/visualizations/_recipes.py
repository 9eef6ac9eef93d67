"""Recipes that move pixels, as course documents print them. Each reads like its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from convscope.ascent import (
    Ascent,
    adam_step,
    ascend,
    blurred,
    box,
    gaussian_blur,
    l2_step,
    std_step,
)
from convscope.errors import choose
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

    def noise(self, mean: float, deviation: float) -> Images:
        """Gaussian noise, clipped to [0, 1], one image per unit."""
        draw = torch.randn(len(self.units.names), *self.shape, generator=self.generator)
        return (mean + deviation * draw).clamp(0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What a recipe drew.

    Attributes:
        images: ``(unit, channel, height, width)``.
        history: ``(step + 1, unit)``.
        stuck: ``(unit,)``, True where no step had a gradient.
    """

    images: Tensor
    history: Tensor
    stuck: Tensor


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named way to draw, with its settings for captions."""

    name: str
    draw: Callable[[Problem], Drawing]
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    needs_reference: bool = False


def gaussian_gradient(
    *,
    steps: int = 200,
    step_size: float = 1 / 255,
    weight_decay: float = 1e-4,
    sigma: Literal["printed", "usual"] = "printed",
) -> Recipe:
    """Ascend a blurred gradient from noise around mid-grey; the blur grows.

    Args:
        steps: How many.
        step_size: Standard deviation of an update in pixel units. The document's 1/std is in
            grey levels from 0 to 255, hence 1/255 here.
        weight_decay: Share of the image that is taken away after every step.
        sigma: Blur at step k of n in pixels: ``"printed"``: 4 k / (n + 0.5), as the document has
            it; ``"usual"``: 4 k / n + 0.5.
    """
    choose("sigma", sigma, ("printed", "usual"))
    usual = sigma == "usual"

    def width(k: int) -> float:
        return 4 * (k + 1) / steps + 0.5 if usual else 4 * (k + 1) / (steps + 0.5)

    def draw(problem: Problem) -> Drawing:
        found = ascend(
            problem.noise(0.5, 0.1),
            problem.probe,
            problem.activation(),
            step=blurred(std_step(step_size), sigma=width),
            between=[lambda x, k, rows: (1 - weight_decay) * x],
            region=box(),
            steps=steps,
            until=problem.units.until,
            on_step=problem.on_step,
        )
        return drawn(found, steps)

    settings = {"steps": steps, "step_size": step_size, "weight_decay": weight_decay}
    return Recipe(name="gaussian-gradient", draw=draw, settings={**settings, "sigma": sigma})


def l2_blur(
    *,
    steps: int = 200,
    step_size: float = 1.0,
    pull: float = 1e-3,
    every: int = 10,
    sigma: float = 0.5,
) -> Recipe:
    """Ascend the normalized gradient of activation minus an L2 penalty; blur now and then.

    Args:
        steps: How many.
        step_size: L2 length of an update in pixel units, for 28 x 28 pixels; it grows with the
            square root of the number of pixels.
        pull: Weight of the penalty ||x||^2. It is not the normalization of the gradient: the
            document mixes up the two.
        every: Steps between two blurs.
        sigma: Width of the blur in pixels.
    """

    def blur(x: Tensor, k: int, rows: Tensor) -> Tensor:
        return gaussian_blur(x, sigma) if (k + 1) % every == 0 else x

    def draw(problem: Problem) -> Drawing:
        size = step_size * (problem.shape[1] * problem.shape[2] / 784) ** 0.5
        found = ascend(
            problem.noise(0.5, 0.1),
            problem.probe,
            lambda x, outputs, rows: problem.units.own(outputs, rows) - pull * _energy(x),
            step=l2_step(size),
            between=[blur],
            region=box(),
            steps=steps,
            until=problem.units.until,
            on_step=problem.on_step,
        )
        return drawn(found, steps)

    settings = {"steps": steps, "step_size": step_size, "pull": pull, "every": every}
    return Recipe(name="l2-blur", draw=draw, settings={**settings, "sigma": sigma})


def zero_l2(*, steps: int = 200, step_size: float = 0.05, pull: float = 0.05) -> Recipe:
    """Start from a black image; Adam on activation minus an L2 penalty.

    Args:
        steps: How many.
        step_size: Adam's, in pixel units.
        pull: Weight of the penalty ||x||^2.
    """

    def draw(problem: Problem) -> Drawing:
        found = ascend(
            torch.zeros(len(problem.units.names), *problem.shape),
            problem.probe,
            lambda x, outputs, rows: problem.units.own(outputs, rows) - pull * _energy(x),
            step=adam_step(step_size),
            region=box(),
            steps=steps,
            until=problem.units.until,
            on_step=problem.on_step,
        )
        return drawn(found, steps)

    settings = {"steps": steps, "step_size": step_size, "pull": pull}
    return Recipe(name="zero-l2", draw=draw, settings=dict(settings))


def noise_adam(*, steps: int = 200, step_size: float = 0.05) -> Recipe:
    """Start from N(0.5, 0.05); Adam on the activation alone.

    Args:
        steps: How many.
        step_size: Adam's, in pixel units.
    """

    def draw(problem: Problem) -> Drawing:
        found = ascend(
            problem.noise(0.5, 0.05),
            problem.probe,
            problem.activation(),
            step=adam_step(step_size),
            region=box(),
            steps=steps,
            until=problem.units.until,
            on_step=problem.on_step,
        )
        return drawn(found, steps)

    return Recipe(name="noise-adam", draw=draw, settings={"steps": steps, "step_size": step_size})


def drawn(found: Ascent, steps: int) -> Drawing:
    """The end of an ascent that moved pixels."""
    return Drawing(
        images=found.images, history=found.history, stuck=found.zero_gradients >= max(steps, 1)
    )


def _energy(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(dim=1)
