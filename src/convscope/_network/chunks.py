"""Cutting a batch into chunks for the network, and putting what comes back together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def rows_per_chunk(shape: Sequence[int], device: torch.device) -> int:
    """How many images run through the network at once: a rule, never a timing.

    On a CPU, small chunks stay in the cache and larger ones keep two threads busy; on an
    accelerator, large ones fill it. The rule depends on the image's shape and the kind of device
    alone, so a result never depends on how busy the machine was. Measured by
    ``benchmarks/chunk_rule.py``.

    Example:
        >>> rows_per_chunk((1, 28, 28), torch.device("cpu"))
        128
        >>> rows_per_chunk((3, 32, 32), torch.device("cpu"))
        32
        >>> rows_per_chunk((3, 224, 224), torch.device("cpu"))
        4
    """
    values = max(1, math.prod(shape))
    if device.type == "cpu":
        return max(4, min(128, _power_of_two(128 * 28 * 28 // values)))
    return max(16, min(1024, _power_of_two(1024 * 3 * 32 * 32 // values)))


def _power_of_two(value: int) -> int:
    """The largest power of two that is not larger than `value`; 1 for less."""
    return int(2 ** max(0, value.bit_length() - 1))


def chunks(count: int, size: int, *, avoid_single: bool = True) -> list[slice]:
    """The rows of each chunk of a batch, in order.

    Args:
        count: How many rows the batch has.
        size: How many rows a chunk has at most.
        avoid_single: Leave no row alone at the end, if chunks are larger than two: some networks
            cannot take one image.

    Example:
        >>> chunks(9, 4)
        [slice(0, 4, None), slice(4, 7, None), slice(7, 9, None)]
    """
    starts = list(range(0, count, size))
    if avoid_single and len(starts) > 1 and size > 2 and count - starts[-1] == 1:
        starts[-1] -= 1
    return [slice(start, stop) for start, stop in pairwise([*starts, count])]


class RowBuffer:
    """Rows of one tensor that come chunk by chunk; nothing is held twice.

    Args:
        count: How many rows there will be.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._whole: Tensor | None = None

    def add(self, rows: slice, part: Tensor) -> None:
        """Put a chunk to its rows. If it is all of them, it is the whole, without a copy."""
        if rows.stop - rows.start == self.count:
            self._whole = part
            return
        if self._whole is None:
            last = part.ndim == 4 and not part.is_contiguous()
            last = last and part.is_contiguous(memory_format=torch.channels_last)
            self._whole = torch.empty(
                (self.count, *part.shape[1:]),
                dtype=part.dtype,
                device=part.device,
                memory_format=torch.channels_last if last else torch.contiguous_format,
            )
        self._whole[rows] = part

    @property
    def whole(self) -> Tensor:
        """All rows.

        Raises:
            ValueError: If there are none: a chunk says what a row looks like.
        """
        if self._whole is None:
            raise ValueError("no rows were gathered")
        return self._whole
