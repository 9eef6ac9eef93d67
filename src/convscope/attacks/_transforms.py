"""Differentiable transforms of images, fixed and random, for expectation over transformation.

A transform maps images to images. A `RandomTransform` draws one at random: in an attack with
``transforms=`` every step raises the mean objective over several draws (expectation over
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

Transform = Callable[[Tensor], Tensor]
"""Images to images of the same shape, differentiable."""

RandomTransform = Callable[[Generator | None], Transform]
"""Draws a transformation; without a generator, from a fresh one with seed 0."""


def flipped(images: Tensor) -> Tensor:
    """Flipped horizontally."""
    return images.flip(3)


def grayscale(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in all channels; images with one channel are kept."""
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).expand_as(images)


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Rotated counter-clockwise about the center, bilinear, black outside."""
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


def random_rotations(degrees: float) -> RandomTransform:
    """Rotations by a uniform angle within plus or minus `degrees`."""

    def draw(generator: Generator | None) -> Transform:
        angle = degrees * (2 * _uniform(generator) - 1)
        return lambda images: rotated(images, angle)

    return draw


def random_crops(share: float = 0.8) -> RandomTransform:
    """Windows of `share` of each side at a uniform place."""

    def draw(generator: Generator | None) -> Transform:
        generator = source(generator)
        corner = (_uniform(generator), _uniform(generator))
        return lambda images: cropped(images, share, corner)

    return draw


def random_flips() -> RandomTransform:
    """A horizontal flip or none, evenly."""

    def draw(generator: Generator | None) -> Transform:
        return flipped if _uniform(generator) < 0.5 else lambda images: images

    return draw


def random_noise(std: float) -> RandomTransform:
    """Gaussian noise, one pattern for all images."""

    def draw(generator: Generator | None) -> Transform:
        seed = int(_uniform(generator) * 2**31)

        def add(images: Tensor) -> Tensor:
            noise = torch.randn(
                images.shape[1:],
                generator=torch.Generator().manual_seed(seed),
                dtype=torch.float32,
            )
            return images + std * noise.to(images)

        return add

    return draw


def random_choice(*transforms: RandomTransform) -> RandomTransform:
    """One of several transforms, or the image as it is, evenly: to survive each of them.

    Example:
        >>> draw = random_choice(random_flips(), random_crops())
        >>> draw(torch.Generator().manual_seed(0))(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def draw(generator: Generator | None) -> Transform:
        generator = source(generator)
        choice = int(_uniform(generator) * (len(transforms) + 1))
        return transforms[choice](generator) if choice < len(transforms) else lambda images: images

    return draw


def compose(*transforms: RandomTransform) -> RandomTransform:
    """One draw of each, applied in order."""

    def draw(generator: Generator | None) -> Transform:
        generator = source(generator)
        chain = [draw_one(generator) for draw_one in transforms]

        def apply(images: Tensor) -> Tensor:
            for transform in chain:
                images = transform(images)
            return images

        return apply

    return draw


TRANSFORMS: dict[str, RandomTransform] = {
    "flip": lambda generator: flipped,
    "crop": random_crops(0.8),
    "rotation": random_rotations(30.0),
    "grayscale": lambda generator: grayscale,
    "noise": random_noise(0.1),
}
"""Random transforms by name; `convscope.robustness.transformation_robustness` does the first four
to images."""


def fused(
    objective: Objective, draw_one: RandomTransform, eot_samples: int, generator: Generator | None
) -> tuple[Objective, Callable[[Tensor, int, Tensor], Tensor]]:
    """The mean of `objective` over draws of a random transform, and the decoder that applies them.

    All rows see the same draws at a step, so that no row depends on its neighbors.

    Returns:
        An objective over ``eot_samples`` outputs per row, and ``decode(x, k, rows)`` for `ascend`.
    """
    by_step: dict[int, list[Transform]] = {}
    generator = source(generator)

    def decode(x: Tensor, k: int, rows: Tensor) -> Tensor:
        if k not in by_step:
            by_step.clear()
            by_step[k] = [draw_one(generator) for _ in range(eot_samples)]
        return torch.stack([transform(x) for transform in by_step[k]], dim=1).flatten(0, 1)

    def mean(x: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        values = objective(
            x.repeat_interleave(eot_samples, dim=0), outputs, rows.repeat_interleave(eot_samples)
        )
        return values.view(-1, eot_samples).mean(dim=1)

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
