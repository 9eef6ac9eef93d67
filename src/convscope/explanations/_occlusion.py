"""Occlusion: the fall of a score while a window of the image is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.explanations._result import (
    Explanation,
    OcclusionTable,
    Targets,
    known_targets,
    picked,
    targets_of,
)
from convscope.explanations._streamed import Fill, blank, check_fill, lazy_logits, part_of, streamed
from convscope.types import Images

OCCLUSION_PRESETS: dict[str, dict[str, int | float]] = {
    "12/4": {"window": 12, "stride": 4, "fill": 0.5},
    "14/7": {"window": 14, "stride": 7, "fill": 0.5},
}
"""Side and stride in pixels, and mid-gray: the windows of two reports, see `occlusion`."""


@checked
def occlusion(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    preset: str | None = None,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: Fill | None = None,
    score: Literal["logit", "probability"] = "logit",
) -> Explanation:
    """Slide a window over the image and measure how the scores fall.

    One pass of ``batch * (positions + 1)`` images serves every class. Positions run from left to
    right, then from top to bottom; the last window of a row or column is moved back to the border
    so that every pixel is covered.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        preset: ``"12/4"`` or ``"14/7"``: window and stride, filled with mid-gray. The other
            settings override it.
        window: Side of the window in pixels, or (height, width). By default a quarter of the
            image.
        stride: How far it moves, in pixels. By default half of the window.
        fill: What the window shows: a gray level in [0, 1], ``"mean"`` (each image's mean color,
            the default), ``"blur"``, or images of the same shape.
        score: Whether maps count logits or probabilities.

    Returns:
        Maps ``(batch, target, height, width)``: mean fall of the score over the windows that
        cover a pixel; positive where the image speaks for the class. `table` holds the softmax
        probability of every class at every position and the class predicted there.

    Raises:
        UsageError: If the window is larger than the image, or a stride larger than the window.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0, 0, 0, 0]]))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> occlusion(classifier, torch.ones(1, 1, 2, 2), 0, window=1, stride=1, fill=0.0).maps
        tensor([[[[1., 2.],
                  [3., 4.]]]])

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section
        4.2. We average over overlapping windows and keep the whole table of probabilities.
        The window of 12 pixels:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated; that of 14 pixels:
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019.
    """
    known = known_targets(classifier, images, targets)
    if preset is not None:
        chosen = OCCLUSION_PRESETS[choose("occlusion preset", preset, OCCLUSION_PRESETS)]
        window = int(chosen["window"]) if window is None else window
        stride = int(chosen["stride"]) if stride is None else stride
        fill = chosen["fill"] if fill is None else fill
    choose("score", score, ("logit", "probability"))
    height, width = images.shape[2:]
    sides = _pair(window, (max(1, height // 4), max(1, width // 4)))
    strides = _pair(stride, (max(1, sides[0] // 2), max(1, sides[1] // 2)))
    windows = _windows((height, width), sides, strides)
    hidden = _masks(windows, (height, width)).to(images.device)
    filled: Fill = "mean" if fill is None else fill
    check_fill(filled, images)
    sweep = _Sweep(windows, hidden, sides, strides, score)

    def explain(some: Images, targets: Tensor | None, rows: slice) -> Explanation:
        return _explain(classifier, some, targets, sweep, part_of(filled, rows, len(images)))

    return streamed(images, known, explain)


@dataclass(frozen=True)
class _Sweep:
    """Positions of the window, and what is scored: the same for all images.

    Attributes:
        windows: ``(position, 4)``, top, left, bottom and right.
        hidden: ``(position, height, width)``, True inside the window.
        sides: Height and width of the window in pixels.
        strides: How far it moves, downwards and to the right, in pixels.
        score: What falls.
    """

    windows: Tensor
    hidden: Tensor
    sides: tuple[int, int]
    strides: tuple[int, int]
    score: Literal["logit", "probability"]


def _explain(
    classifier: Classifier, images: Images, known: Tensor | None, sweep: _Sweep, fill: Fill
) -> Explanation:
    """One block of images."""
    windows, hidden = sweep.windows, sweep.hidden
    blanks, words = blank(fill, images)
    count, positions = len(images), len(windows)
    height, width = images.shape[2:]

    def decode(numbers: Tensor) -> Tensor:
        rows, where = numbers // positions, numbers % positions
        return torch.where(hidden[where, None], blanks[rows], images[rows])

    with classifier.probe() as probe:
        logits = probe.logits(images)
        occluded = lazy_logits(probe, count * positions, decode).view(count, positions, -1)
    classes = targets_of(known, logits)
    clean, covered = logits.softmax(dim=1), occluded.softmax(dim=2)
    whole, parts = (logits, occluded) if sweep.score == "logit" else (clean, covered)
    drops = picked(whole[:, None] - parts, classes)
    covers = hidden.flatten(1).to(drops.dtype)
    # (image n, position p, class k) x (position p, pixel q): mean over the windows on a pixel.
    heat = torch.einsum("npk,pq->nkq", drops, covers) / covers.sum(dim=0)
    return Explanation(
        images=images,
        maps=heat.view(*classes.shape, height, width),
        targets=classes,
        method="occlusion",
        signed=True,
        class_names=classifier.class_names,
        logits=logits,
        settings={
            "window": f"{sweep.sides[0]} x {sweep.sides[1]}",
            "stride": sweep.strides[0],
            "fill": words,
        },
        table=OcclusionTable(
            windows=windows,
            probabilities=covered,
            clean=clean,
            labels=classes[:, 0],
            window=sweep.sides,
            stride=sweep.strides,
            fill=words,
        ),
        cost=probe.cost(),
    )


def _pair(value: int | tuple[int, int] | None, default: tuple[int, int]) -> tuple[int, int]:
    if value is None:
        return default
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _windows(size: tuple[int, int], sides: tuple[int, int], strides: tuple[int, int]) -> Tensor:
    """Top, left, bottom, right of every position, ``(position, 4)``."""
    for side, stride, length, name in zip(sides, strides, size, ("height", "width"), strict=True):
        if not 1 <= side <= length:
            raise UsageError(
                f"the window's {name} is {side}",
                code="U05",
                expected=f"1 to {length}, the image's {name}",
            )
        if not 1 <= stride <= side:
            raise UsageError(
                f"stride {stride} with a window of {side} pixels",
                code="U05",
                expected=f"1 to {side}: a larger stride leaves pixels that are never hidden",
            )
    tops, lefts = (
        [*range(0, length - side, stride), length - side]
        for side, stride, length in zip(sides, strides, size, strict=True)
    )
    return torch.tensor([(t, x, t + sides[0], x + sides[1]) for t in tops for x in lefts])


def _masks(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """True inside each window, ``(position, height, width)``."""
    y, x = torch.arange(size[0]), torch.arange(size[1])
    top, left, bottom, right = (edge[:, None] for edge in windows.unbind(dim=1))
    return ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
