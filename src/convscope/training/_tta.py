"""Test-time augmentation: logits averaged over a few views of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from convscope.data import Augmentation, Draws, apply_augmentation
from convscope.types import Images

Tta = Literal["none", "mirror", "mirror-shift"]
TTA: tuple[Tta, ...] = get_args(Tta)

VIEWS: dict[Tta, tuple[tuple[float, bool, int], ...]] = {
    "none": ((1.0, False, 0),),
    "mirror": ((0.5, False, 0), (0.5, True, 0)),
    "mirror-shift": (
        *((0.25, mirrored, 0) for mirrored in (False, True)),
        *((0.125, mirrored, pixels) for pixels in (-1, 1) for mirrored in (False, True)),
    ),
}
"""Weight, whether mirrored, and pixels down and to the right; the image itself comes first."""


def views(images: Images, tta: Tta) -> Iterator[tuple[float, Images]]:
    """The views of each image with their weights, which add up to 1; the image itself comes first.

    Args:
        images: ``(n, channel, height, width)``.
        tta: ``"none"``, ``"mirror"`` (the image and its mirror image), or ``"mirror-shift"`` (also
            both moved by a pixel up and left, and down and right; half of the weight).

    Example:
        >>> [view.tolist() for _, view in views(torch.tensor([[[[0.0, 1]]]]), "mirror")]
        [[[[[0.0, 1.0]]]], [[[[1.0, 0.0]]]]]

    Source: the six views are those of Jordan (arXiv 2404.00498), section 3.5.
    """
    settings = Augmentation(flip="random", shift=1, padding="reflection")
    for weight, mirrored, pixels in VIEWS[tta]:
        draws = Draws(
            mirrored=torch.full((len(images),), mirrored),
            shifts=torch.full((len(images), 2), pixels),
            warp=torch.zeros(len(images), 8),
        )
        yield weight, apply_augmentation(images, settings, draws)


def averaged(logits: Callable[[Images], Tensor], images: Images, tta: Tta) -> tuple[Tensor, Tensor]:
    """Logits of the images themselves, and their weighted mean over the views.

    Args:
        logits: The network: images to ``(n, class)``.
        images: ``(n, channel, height, width)``.
        tta: As for `views`.
    """
    plain, mean = None, None
    for weight, view in views(images, tta):
        of_view = logits(view)
        plain = of_view if plain is None else plain
        mean = weight * of_view if mean is None else mean + weight * of_view
    assert plain is not None and mean is not None
    return plain, plain if tta == "none" else mean
