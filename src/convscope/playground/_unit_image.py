"""An image that drives a feature map up, as ``maximize`` of ``methods.js`` makes it in a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.ascent import gaussian_blur
from convscope.playground._nodes import Node
from convscope.playground._run import all_values
from convscope.progress import at_step

STEPS, SIZE, EVERY, BLUR, NOISE = 40, 0.02, 5, 0.6, 0.1
"""As ``ASCENT`` in the page: steps, their root mean square per pixel, how often what was made is
blurred and by how much, and the noise that it starts from."""

PASSING = ("relu", "max_pool")


def unit_image(nodes: Sequence[Node], layer: int, unit: int) -> tuple[Tensor | None, float]:
    """Drive the value in the middle of a map up, from gray with a little noise.

    While a ReLU holds the value at zero, what comes before the ReLU is driven.

    Args:
        nodes: As `_trace.trace` makes them.
        layer: Place of a node with maps.
        unit: Which of its maps.

    Returns:
        The image ``(channel, height, width)`` of all `STEPS` with the highest value, or ``None`` if
        none is higher than the first; and the highest value.
    """
    source = layer
    while nodes[source].op in PASSING:
        source = nodes[source].sources[0]
    image = 0.5 + NOISE * _noise(nodes[0].shape, unit + 1)
    best, highest, first = image, -math.inf, -math.inf
    for step in range(STEPS + 1):
        at_step(step, STEPS + 1)
        value, gradient = _value_and_gradient(nodes, image, layer, source, unit)
        if step == 0:
            first = value
        if value > highest:
            best, highest = image, value
        length = float(gradient.norm())
        if length == 0:
            break
        pace = SIZE * math.sqrt(image.numel()) / length
        image = (image + pace * gradient).clamp(0, 1)
        if (step + 1) % EVERY == 0 and step + 1 < STEPS:
            image = gaussian_blur(image[None], BLUR)[0]
    return (best if highest > first else None), highest


def _value_and_gradient(
    nodes: Sequence[Node], image: Tensor, layer: int, source: int, unit: int
) -> tuple[float, Tensor]:
    with torch.enable_grad():
        x = image[None].clone().requires_grad_()
        values = all_values(nodes, x, layer)
        at, before = (_middle(values[place], unit) for place in (layer, source))
        (gradient,) = torch.autograd.grad(at, x, retain_graph=True)
        if not gradient.any():
            (gradient,) = torch.autograd.grad(before, x)
    return float(at.detach()), gradient[0]


def _middle(maps: Tensor, unit: int) -> Tensor:
    return maps[0, unit, maps.shape[2] // 2, maps.shape[3] // 2]


def _noise(shape: Sequence[int], state: int) -> Tensor:
    """The page's own draws in [-1, 1): a linear congruential generator."""
    drawn = []
    for _ in range(math.prod(shape)):
        state = (state * 1664525 + 1013904223) % 2**32
        drawn.append(state / 2**31 - 1)
    return torch.tensor(drawn).view(*shape)
