"""Differentiable views of images: what a perturbation may have to survive.

A transformation maps images to images. A `View` draws one at random: in an attack with
``views=`` every step raises the mean objective over several draws (expectation over
transformation), all in one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from convscope._random import source
from convscope.probe import Objective

Transformation = Callable[[Tensor], Tensor]
"""Images to images of the same shape, differentiable."""

View = Callable[[Generator | None], Transformation]
"""Draws a transformation; without a generator, from a fresh one with seed 0."""


def mirrored(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(3)


def greyscale(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in all channels; images with one channel are kept."""
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).expand_as(images)


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Turned counter-clockwise about the center, bilinear, black outside."""
    return _warped(images, degrees=degrees, scale=1.0, shift=(0.0, 0.0))


def cropped(images: Tensor, share: float = 0.8, corner: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """A window of `share` of each side, enlarged to the full size.

    Args:
        images: ``(batch, channel, height, width)``.
        share: Side of the window over side of the image, in (0, 1].
        corner: Where the window lies: (0, 0) top left, (0.5, 0.5) center, (1, 1) bottom right.
    """
    reach = 1 - share
    return _warped(
        images,
        degrees=0.0,
        scale=share,
        shift=(reach * (2 * corner[1] - 1), reach * (2 * corner[0] - 1)),
    )


def rotations(degrees: float) -> View:
    """Rotations by a uniform angle within plus or minus `degrees`."""

    def draw(generator: Generator | None) -> Transformation:
        angle = degrees * (2 * _uniform(generator) - 1)
        return lambda images: rotated(images, angle)

    return draw


def crops(share: float = 0.8) -> View:
    """Windows of `share` of each side at a uniform place."""

    def draw(generator: Generator | None) -> Transformation:
        drawn = source(generator)
        corner = (_uniform(drawn), _uniform(drawn))
        return lambda images: cropped(images, share, corner)

    return draw


def mirrors() -> View:
    """Mirrored or not, evenly."""

    def draw(generator: Generator | None) -> Transformation:
        return mirrored if _uniform(generator) < 0.5 else lambda images: images

    return draw


def noises(sd: float) -> View:
    """Gaussian noise, one pattern for all images."""

    def draw(generator: Generator | None) -> Transformation:
        seed = int(_uniform(generator) * 2**31)

        def add(images: Tensor) -> Tensor:
            own = torch.Generator().manual_seed(seed)
            return images + sd * torch.randn(
                images.shape[1:], generator=own, dtype=torch.float32
            ).to(images)

        return add

    return draw


def either(*views: View) -> View:
    """One of several views, or the image as it is, evenly: to survive each of them.

    Example:
        >>> drawn = either(mirrors(), crops())(torch.Generator().manual_seed(0))
        >>> drawn(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def draw(generator: Generator | None) -> Transformation:
        drawn = source(generator)
        place = int(_uniform(drawn) * (len(views) + 1))
        return views[place](drawn) if place < len(views) else lambda images: images

    return draw


def chain(*views: View) -> View:
    """One draw of each, applied in order."""

    def draw(generator: Generator | None) -> Transformation:
        numbers = source(generator)
        drawn = [view(numbers) for view in views]

        def apply(images: Tensor) -> Tensor:
            for transformation in drawn:
                images = transformation(images)
            return images

        return apply

    return draw


VIEWS: dict[str, View] = {
    "mirror": lambda generator: mirrored,
    "crop": crops(0.8),
    "rotation": rotations(30.0),
    "greyscale": lambda generator: greyscale,
    "noise": noises(0.1),
}
"""Views by name; the first four are what `convscope.robustness.survival` does to images."""


def fused(
    objective: Objective, view: View, draws: int, generator: Generator | None
) -> tuple[Objective, Callable[[Tensor, int, Tensor], Tensor]]:
    """The mean of `objective` over draws of `view`, and the paint that makes the draws.

    All rows see the same draws at a step, so that no row depends on its neighbors.

    Returns:
        An objective over ``draws`` outputs per row, and ``paint(x, k, rows)`` for `ascend`.
    """
    drawn: dict[int, list[Transformation]] = {}
    numbers = source(generator)

    def decode(x: Tensor, k: int, rows: Tensor) -> Tensor:
        if k not in drawn:
            drawn.clear()
            drawn[k] = [view(numbers) for _ in range(draws)]
        return torch.stack([change(x) for change in drawn[k]], dim=1).flatten(0, 1)

    def mean(x: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        every = objective(x.repeat_interleave(draws, dim=0), outputs, rows.repeat_interleave(draws))
        return every.view(-1, draws).mean(dim=1)

    return mean, decode


def _warped(images: Tensor, *, degrees: float, scale: float, shift: tuple[float, float]) -> Tensor:
    height, width = images.shape[-2:]
    turn = math.radians(degrees)
    sine, cosine = math.sin(turn), math.cos(turn)
    # The grid maps output to input in units of half a side, hence the aspect ratio.
    theta = images.new_tensor(
        [
            [scale * cosine, -scale * sine * height / width, shift[0]],
            [scale * sine * width / height, scale * cosine, shift[1]],
        ]
    )
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)


def _uniform(generator: Generator | None) -> float:
    return float(torch.rand((), generator=source(generator), dtype=torch.float64))
