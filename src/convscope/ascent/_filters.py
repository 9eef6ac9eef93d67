"""What a gradient goes through before a step sees it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.ascent._regions import l2_norm
from convscope.ascent._steps import Step


class Filtered:
    """A step behind a filter."""

    def __init__(self, then: Step, rule: Callable[[Tensor, int], Tensor]) -> None:
        self.then = then
        self.rule = rule

    def start(self, x: Tensor) -> None:
        """Begin anew."""
        self.then.start(x)

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """Filter, then step."""
        return self.then(self.rule(gradient, k), k, rows)


def blurred(then: Step, sigma: Callable[[int], float]) -> Step:
    """Let `then` see the gradient through a Gaussian of ``sigma(k)`` pixels."""
    return Filtered(then, lambda gradient, k: gaussian_blur(gradient, sigma(k)))


def normalized(then: Step) -> Step:
    """Let `then` see gradients of unit L2 norm per image; zero stays zero."""

    def rule(gradient: Tensor, k: int) -> Tensor:
        size = l2_norm(gradient)
        return torch.where(size > 0, gradient / torch.where(size > 0, size, 1), 0)

    return Filtered(then, rule)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur images with a Gaussian of `sigma` pixels, borders reflected.

    A `sigma` so small that the kernel's neighbors underflow is the identity, never NaN.

    Args:
        images: ``(batch, channel, height, width)``.
        sigma: Standard deviation in pixels, at least 0.

    Example:
        >>> import torch
        >>> x = torch.rand(1, 1, 5, 5)
        >>> torch.equal(gaussian_blur(x, 0.0), x)
        True
    """
    if sigma < 1e-2:
        return images
    channels = images.shape[1]
    for axis in (3, 2):
        # Reflection needs a radius below the side; a longer kernel would add nothing but cost.
        radius = min(max(1, round(3 * sigma)), images.shape[axis] - 1)
        if radius < 1:
            continue
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-offsets.square() / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).to(images)
        shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
        pad = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        weight = kernel.view(shape).expand(channels, 1, *kernel.view(shape).shape[2:])
        images = F.conv2d(F.pad(images, pad, mode="reflect"), weight, groups=channels)
    return images
