"""Explanation in bounded memory: images block by block, their hidden variants chunk by chunk.

An image's map does not depend on the other images, but on the way to it there are noisy copies,
scores of hidden pieces, sums over color channels. Blocks of a fixed size bound those; what is kept
of all images is the result alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Literal

import torch
from torch import Tensor

from convscope.ascent import gaussian_blur
from convscope.errors import UsageError, choose
from convscope.explanations._result import Explanation, OcclusionTable
from convscope.probe import Cost, Probe
from convscope.progress import announce, stage
from convscope.types import Images, Logits

VALUES = 2**20
"""Values of a block's maps: 4 MiB for each copy of them on the way."""

LEAST_ROWS = 16
"""Images of a block whose maps are large or many."""


def block_rows(images: Images, targets: int) -> int:
    """How many images are explained at once: a power of two, so that chunks of the Probe fit.

    Args:
        images: ``(batch, channel, height, width)``.
        targets: Maps per image.

    Example:
        >>> import torch
        >>> block_rows(torch.zeros(1, 1, 28, 28), 1), block_rows(torch.zeros(1, 1, 28, 28), 10)
        (1024, 128)
        >>> block_rows(torch.zeros(1, 3, 224, 224), 1)
        16
    """
    rows = VALUES // max(1, math.prod(images.shape[1:]) * targets)
    return max(LEAST_ROWS, int(2 ** max(0, rows.bit_length() - 1)))


def streamed(
    images: Images,
    known: Tensor | None,
    explain: Callable[[Images, Tensor | None, slice], Explanation],
) -> Explanation:
    """The explanation of all images, from explanations of blocks.

    Args:
        images: ``(batch, channel, height, width)``.
        known: The classes of each image, ``(batch, target)``, or ``None`` for the predicted one.
        explain: Explains some images, given with their classes and their place among all.
    """
    count = len(images)
    size = block_rows(images, 1 if known is None else known.shape[1])
    if count <= size:
        return explain(images, known, slice(0, count))
    whole: Explanation | None = None
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        with stage(rows.start / count, rows.stop / count):
            part = explain(images[rows], None if known is None else known[rows], rows)
        if whole is None:
            whole = _room_for(part, images)
        _put(part, whole, rows)
        whole = replace(whole, cost=_together(whole.cost, part.cost if start else None))
    assert whole is not None
    return whole


def _room_for(part: Explanation, images: Images) -> Explanation:
    """A result like `part` with room for all images."""

    def room(tensor: Tensor) -> Tensor:
        return tensor.new_empty(len(images), *tensor.shape[1:])

    table = part.table
    if table is not None:
        table = replace(
            table,
            probabilities=room(table.probabilities),
            clean=room(table.clean),
            labels=room(table.labels),
        )
    return replace(
        part,
        images=images,
        maps=room(part.maps),
        targets=room(part.targets),
        logits=None if part.logits is None else room(part.logits),
        evidence={name: room(values) for name, values in part.evidence.items()},
        table=table,
    )


def _put(part: Explanation, whole: Explanation, rows: slice) -> None:
    """Copy the tensors of a block to their rows."""
    whole.maps[rows] = part.maps
    whole.targets[rows] = part.targets
    if whole.logits is not None and part.logits is not None:
        whole.logits[rows] = part.logits
    for name, values in part.evidence.items():
        whole.evidence[name][rows] = values
    if whole.table is not None and part.table is not None:
        for field in _ROWS_OF_A_TABLE:
            getattr(whole.table, field)[rows] = getattr(part.table, field)


_ROWS_OF_A_TABLE = ("probabilities", "clean", "labels")
assert set(_ROWS_OF_A_TABLE) <= {field.name for field in fields(OcclusionTable)}


def _together(one: Cost | None, two: Cost | None) -> Cost | None:
    if one is None or two is None:
        return one
    return one + two


Fill = float | Literal["mean", "blur"] | Tensor
"""A gray level, each image's ``"mean"`` color, the image ``"blur"``-red, or images."""


def blank(fill: Fill, images: Images, name: str = "fill") -> tuple[Tensor, str]:
    """The uninformative version of each image, and its name.

    Args:
        fill: See `Fill`.
        images: ``(batch, channel, height, width)``.
        name: What to call `fill` in an error.

    Returns:
        Images that broadcast to the shape of `images`, one row per image.

    Raises:
        UsageError: If there is no such fill.

    Example:
        >>> import torch
        >>> blank("mean", torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
        (tensor([[[[0.5000]]]]), 'mean color')
    """
    count = len(images)
    if isinstance(fill, Tensor):
        try:
            return fill.to(images).expand(count, *images.shape[1:]), "images"
        except RuntimeError as error:
            raise UsageError(
                f"{name} has shape {tuple(fill.shape)}",
                code="U05",
                expected=f"images that broadcast to {tuple(images.shape)}",
            ) from error
    if isinstance(fill, str):
        choose(name, fill, ("mean", "blur"))
        if fill == "mean":
            return images.mean(dim=(2, 3), keepdim=True), "mean color"
        return gaussian_blur(images, max(images.shape[2:]) / 10), "blur"
    if not 0 <= fill <= 1:
        raise UsageError(f"{name} is {fill}", code="U05", expected="a gray level from 0 to 1")
    return images.new_full((count, 1, 1, 1), fill), f"gray {fill:g}"


def check_fill(fill: Fill, images: Images, name: str = "fill") -> None:
    """Refuse a fill before any image is run.

    Raises:
        UsageError: If there is no such fill.
    """
    blank(fill, images if isinstance(fill, Tensor) else images[:1], name)


def part_of(fill: Fill, rows: slice, count: int) -> Fill:
    """The fill of some images: their own if there is one image per image."""
    if isinstance(fill, Tensor) and fill.ndim == 4 and len(fill) == count > 1:
        return fill[rows]
    return fill


def index_chunks(probe: Probe, count: int) -> Iterator[Tensor]:
    """The numbers 0 to `count` - 1, in pieces that run well through the network.

    Announces the share of them that is done.
    """
    for rows in probe.chunks(count):
        yield torch.arange(rows.start, rows.stop)
        announce(rows.stop / count)


def lazy_logits(probe: Probe, count: int, decode: Callable[[Tensor], Tensor]) -> Logits:
    """Logits of the images ``decode(numbers)``, without ever holding all of them.

    Args:
        probe: An open probe.
        count: How many images there are.
        decode: ``(n,)`` numbers below `count` to ``(n, channel, height, width)``.

    Returns:
        ``(count, class)``.
    """
    parts = []
    with torch.inference_mode(False), torch.no_grad():
        for numbers in index_chunks(probe, count):
            images = decode(numbers)
            parts.append(probe.forward(images).to(images.device))
    return torch.cat(parts)
