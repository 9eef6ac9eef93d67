"""Operators of ONNX for which torch has no single function, as functions that a graph calls."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import CheckpointError

MOST = 1 << 28
"""Values of one tensor whose size stands in a file."""


def shape_of(x: Tensor) -> Tensor:
    """Sizes of `x` as whole numbers."""
    return torch.tensor(x.shape, dtype=torch.int64)


def _whole(numbers: Any) -> list[int]:
    return [
        int(n) for n in (numbers.reshape(-1).tolist() if isinstance(numbers, Tensor) else numbers)
    ]


def bounded(sizes: Any) -> list[int]:
    """Sizes of something that fits into memory.

    Raises:
        CheckpointError: C21 if it does not.
    """
    sizes = _whole(sizes)
    if math.prod(sizes) > MOST or min(sizes, default=1) < 0:
        raise CheckpointError(
            f"it makes a tensor of {' x '.join(map(str, sizes))} numbers",
            code="C21",
            expected=f"at most {MOST:,} at once",
        )
    return sizes


def reshaped(x: Tensor, sizes: Any, keep_zero: bool, by_rows: bool) -> Tensor:
    """`x` with other sizes; 0 keeps a size. `by_rows`: a leading 1 stands for all images."""
    sizes = _whole(sizes)
    if not keep_zero:
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    if by_rows and len(sizes) > 1 and sizes[0] == 1:
        sizes[0] = x.shape[0]
    return x.reshape(sizes)


def gathered(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Entries of `x` along an axis, by numbers that may count from the end."""
    index = torch.as_tensor(index)
    flat = torch.where(index < 0, index + x.shape[axis], index).reshape(-1)
    axis %= x.ndim
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def sliced(x: Tensor, starts: Any, ends: Any, axes: Any, steps: Any) -> Tensor:
    """A part of `x`; a negative step counts backwards."""
    starts, ends = _whole(starts), _whole(ends)
    axes = range(len(starts)) if axes is None else _whole(axes)
    steps = [1] * len(starts) if steps is None else _whole(steps)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        rows = range(*slice(start, end if end > -(2**31) else None, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(rows.start, rows.stop, step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(rows), dtype=torch.int64))
    return x


def expanded(x: Tensor, sizes: Any) -> Tensor:
    """`x` repeated to sizes, by the rules of broadcasting."""
    whole = torch.broadcast_shapes(x.shape, tuple(_whole(sizes)))  # type: ignore[no-untyped-call]
    return x.expand(bounded(whole))


def joined(parts: Any, axis: int) -> Tensor:
    """Parts along an axis; one that is the same for every image is repeated."""
    parts = [torch.as_tensor(part) for part in parts]
    rows = max(part.shape[0] if part.ndim > 1 else 1 for part in parts)
    if axis % max(parts[0].ndim, 1) and rows > 1:
        parts = [p.expand(rows, *p.shape[1:]) if p.shape[0] == 1 else p for p in parts]
    return torch.cat(parts, dim=axis)


def filled(sizes: Any, value: float, kind: torch.dtype) -> Tensor:
    """A constant of some sizes."""
    return torch.full(bounded(sizes), value, dtype=kind)


def padded(x: Tensor, pads: Any, value: Any, mode: str) -> Tensor:
    """`x` with margins: `pads` are those before each axis, then those after."""
    pads = _whole(pads)
    count = len(pads) // 2
    sides = [side for axis in reversed(range(count)) for side in (pads[axis], pads[axis + count])]
    while len(sides) > 2 and sides[-2:] == [0, 0]:
        sides = sides[:-2]
    bounded([size + 2 * max(sides) for size in x.shape[-(len(sides) // 2) :]])
    if mode == "constant":
        return F.pad(x, sides, value=float(value or 0))
    return F.pad(x, sides, mode={"edge": "replicate", "reflect": "reflect"}[mode])


def divided(x: Any, y: Any) -> Any:
    """A quotient; of whole numbers, rounded toward zero."""
    whole = isinstance(x, Tensor) and not x.is_floating_point()
    return torch.div(torch.as_tensor(x), y, rounding_mode="trunc" if whole else None)


def resized(x: Tensor, sizes: Any, mode: str, corners: bool | None) -> Tensor:
    """`x` with other sizes of its maps."""
    sizes = bounded(_whole(sizes)[2:])
    if mode == "nearest":
        return F.interpolate(x, sizes, mode="nearest")
    return F.interpolate(x, sizes, mode="bilinear", align_corners=corners)


def by_factors(shape: Tensor, factors: Any) -> Tensor:
    """Sizes times factors, rounded down."""
    return (shape * torch.as_tensor(factors, dtype=torch.float64)).floor().to(torch.int64)


def softmax_of_rest(x: Tensor, axis: int, log: bool) -> Tensor:
    """Softmax over this axis and all after it, as before version 13."""
    flat = x.flatten(axis)
    return (flat.log_softmax(-1) if log else flat.softmax(-1)).reshape(x.shape)


def flattened(x: Tensor, axis: int) -> Tensor:
    """`x` with two axes, parted at `axis`."""
    axis += x.ndim if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), -1)
