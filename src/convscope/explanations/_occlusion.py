"""What happens to the answer when a window of the image is hidden?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.explanations._masking import Fill, blank, painted_logits
from convscope.explanations._result import Explanation, OcclusionTable
from convscope.explanations._streamed import part_of, streamed
from convscope.explanations._targets import Targets, known_targets, picked, targets_of
from convscope.types import Images

OCCLUSION_PRESETS: dict[str, dict[str, int | float]] = {
    "12/4": {"window": 12, "stride": 4, "fill": 0.5},
    "14/7": {"window": 14, "stride": 7, "fill": 0.5},
}
"""Windows of the course documents: side and stride in pixels, mid-grey."""


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
    score: str = "logit",
) -> Explanation:
    """Slide a window over the image and watch the scores fall.

    One pass of ``batch * (positions + 1)`` images serves every class. Positions run from left to
    right, then from top to bottom; the last window of a row or column is moved back to the border
    so that every pixel is covered.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        preset: ``"12/4"`` or ``"14/7"``: window and stride of the course documents, filled with
            mid-grey. The other settings override it.
        window: Side of the window in pixels, or (height, width). By default a quarter of the
            image.
        stride: How far it moves, in pixels. By default half of the window.
        fill: What the window shows: a grey level in [0, 1], ``"mean"`` (each image's mean color,
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
    steps = _pair(stride, (max(1, sides[0] // 2), max(1, sides[1] // 2)))
    windows = _windows((height, width), sides, steps)
    hidden = _masks(windows, (height, width)).to(images.device)
    decode = "mean" if fill is None else fill
    blank(decode, images[:1] if isinstance(decode, str | float | int) else images)
    everywhere = _Everywhere(windows, hidden, sides, steps, score)

    def explain(some: Images, targets: Tensor | None, rows: slice) -> Explanation:
        return _explain(classifier, some, targets, everywhere, part_of(decode, rows, len(images)))

    return streamed(images, known, explain)


@dataclass(frozen=True)
class _Everywhere:
    """What is the same for all images."""

    windows: Tensor
    hidden: Tensor
    sides: tuple[int, int]
    steps: tuple[int, int]
    score: str


def _explain(
    classifier: Classifier, images: Images, known: Tensor | None, same: _Everywhere, fill: Fill
) -> Explanation:
    """One block of images."""
    windows, hidden, score = same.windows, same.hidden, same.score
    paints, words = blank(fill, images)
    count, positions = len(images), len(windows)
    height, width = images.shape[2:]

    def decode(numbers: Tensor) -> Tensor:
        rows, where = numbers // positions, numbers % positions
        return torch.where(hidden[where, None], paints[rows], images[rows])

    with classifier.probe() as probe:
        logits = probe.logits(images)
        occluded = painted_logits(probe, count * positions, decode).view(count, positions, -1)
    found = targets_of(known, logits)
    clean, shown = logits.softmax(dim=1), occluded.softmax(dim=2)
    whole, parts = (logits, occluded) if score == "logit" else (clean, shown)
    drops = picked(whole[:, None] - parts, found)
    share = hidden.flatten(1).to(drops.dtype)
    heat = torch.einsum("npk,pq->nkq", drops, share) / share.sum(dim=0)
    return Explanation(
        images=images,
        maps=heat.view(*found.shape, height, width),
        targets=found,
        method="occlusion",
        class_names=classifier.class_names,
        logits=logits,
        settings={
            "window": f"{same.sides[0]} x {same.sides[1]}",
            "stride": same.steps[0],
            "fill": words,
        },
        table=OcclusionTable(
            windows=windows,
            probabilities=shown,
            clean=clean,
            labels=found[:, 0],
            window=same.sides,
            stride=same.steps,
            fill=words,
        ),
        cost=probe.cost(),
    )


def _pair(value: int | tuple[int, int] | None, default: tuple[int, int]) -> tuple[int, int]:
    if value is None:
        return default
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _windows(size: tuple[int, int], sides: tuple[int, int], steps: tuple[int, int]) -> Tensor:
    """Top, left, bottom, right of every position, ``(position, 4)``."""
    for side, step, length, name in zip(sides, steps, size, ("height", "width"), strict=True):
        if not 1 <= side <= length:
            raise UsageError(
                f"the window's {name} is {side}",
                code="U05",
                expected=f"1 to {length}, the image's {name}",
            )
        if not 1 <= step <= side:
            raise UsageError(
                f"stride {step} with a window of {side} pixels",
                code="U05",
                expected=f"1 to {side}: a larger stride leaves pixels that are never hidden",
            )
    tops, lefts = (
        [*range(0, length - side, step), length - side]
        for side, step, length in zip(sides, steps, size, strict=True)
    )
    return torch.tensor([(t, x, t + sides[0], x + sides[1]) for t in tops for x in lefts])


def _masks(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """True inside each window, ``(position, height, width)``."""
    y, x = torch.arange(size[0]), torch.arange(size[1])
    top, left, bottom, right = (edge[:, None] for edge in windows.unbind(dim=1))
    return ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]
