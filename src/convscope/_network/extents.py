"""Which part of the image the rows and columns of a layer's output show.

A map is laid over the whole image, so one that shows a corner, or several places at once, would
point elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from convscope._network.axis_rules import Dim, Labels

Extent = tuple[float, float, float, float]
"""First and last row, first and last column that a map shows, as shares of the image."""
WHOLE: Extent = (0.0, 1.0, 0.0, 1.0)


def half_a_place(labels: Labels | None) -> tuple[float, float]:
    """How far apart rows, and columns, may lie to be one map: a tenth, or half a place of it.

    The four quarters of a map that are joined as channels lie half a place apart.
    """
    sizes = {"H": 1, "W": 1}
    for kind, size in (atom for dim in labels or () for atom in dim):
        if kind[0].upper() in sizes:
            sizes[kind[0].upper()] *= size
    return max(0.1, 0.501 / max(2, sizes["H"])), max(0.1, 0.501 / max(2, sizes["W"]))


def cropped(extent: Extent, dim: Dim, first: float, last: float) -> Extent:
    """Of an axis of rows or columns only the part from `first` to `last` is left (or padded)."""
    kinds = {kind[0] for kind, _ in dim}
    top, bottom, left, right = extent
    if "H" in kinds:
        size = bottom - top
        top, bottom = top + first * size, top + last * size
    if "W" in kinds:
        size = right - left
        left, right = left + first * size, left + last * size
    return top, bottom, left, right


def slid(name: str, args: tuple[Any, ...], tensors: list[Tensor], extent: Extent) -> Extent:
    """A window that slides over a padded map without padding of its own takes the frame away."""
    if name == "convolution" and not args[6]:
        sides, pads, dilation = args[1].shape[2:], args[4], args[5]
    elif name in ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"):
        sides, pads, dilation = args[1], args[3] if len(args) > 3 else (0,), (1,)
    else:
        return extent
    top, bottom, left, right = extent
    ends = [[top, bottom], [left, right]]
    for axis, pair in enumerate(ends):
        reach = (_nth(sides, axis) - 1) * _nth(dilation, axis) / 2 - _nth(pads, axis)
        share = reach / max(1, tensors[0].shape[2 + axis]) * (pair[1] - pair[0])
        if pair[0] < 0:
            pair[0] = min(pair[0] + share, 0.0)
        if pair[1] > 1:
            pair[1] = max(pair[1] - share, 1.0)
    return ends[0][0], ends[0][1], ends[1][0], ends[1][1]


def _nth(values: Sequence[int], axis: int) -> int:
    return int(values[axis] if len(values) > axis else values[-1]) if len(values) else 0


def centered(extent: Extent) -> bool:
    """Whether a map that is stretched over the image lies roughly where it belongs."""
    top, bottom, left, right = extent
    return all(
        abs((first + last) / 2 - 0.5) <= 0.13 and 0.74 <= last - first <= 1.51
        for first, last in ((top, bottom), (left, right))
    )
