"""Weights in few bytes: whole multiples of one number per row."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WIDTHS = (8, 9, 10, 11, 12, 13, 14, 16)
"""Bits per weight that are tried, the smallest first."""

FINE = 16
"""Bits of weights in layers that are a small part of all."""

SMALL_SHARE = 0.05
_HARMLESS = str.maketrans({"<": ",", "&": "."})
PLAIN = 256
"""Numbers up to which a tensor keeps its 32 bits."""


@dataclass(frozen=True)
class Stored:
    """One tensor as the page holds it.

    Attributes:
        values: What the page's engine will compute with: the float32 it decodes.
        bits: Per number; 32: as they are.
        scales: One per row, float32.
        codes: Whole multiples of the scale plus ``2 ** (bits - 1)``, row by row.
    """

    values: Tensor
    bits: int
    scales: NDArray[np.float32] | None = None
    codes: NDArray[np.uint16] | None = None

    def about(self) -> dict[str, int]:
        """What the page needs to know to decode it."""
        rows = 1 if self.scales is None else len(self.scales)
        return {"count": self.values.numel(), "rows": rows, "bits": self.bits}


def store(tensor: Tensor, bits: int) -> Stored:
    """`tensor` with `bits` bits per number, symmetric about zero, a scale for each first index.

    Example:
        >>> numbers = torch.linspace(-1, 1, 400).view(2, 200)
        >>> kept = store(numbers, 8)
        >>> kept.about(), bool((kept.values - numbers).abs().max() < 0.5 / 127 + 1e-6)
        ({'count': 400, 'rows': 2, 'bits': 8}, True)
    """
    if bits == 32 or tensor.numel() <= PLAIN or tensor.ndim < 2:
        return Stored(tensor.float(), 32)
    rows = tensor.reshape(len(tensor), -1).double().numpy()
    most = 2 ** (bits - 1) - 1
    scales = (np.abs(rows).max(axis=1) / most).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1).astype(np.float64)
    multiples = np.clip(np.rint(rows / divisors[:, None]), -most, most)
    # As the engine computes: a whole number times a float32, both exact in double, then rounded.
    values = (multiples * scales.astype(np.float64)[:, None]).astype(np.float32)
    codes = (multiples + 2 ** (bits - 1)).astype(np.uint16).reshape(-1)
    return Stored(torch.from_numpy(values).view(tensor.shape), bits, scales, codes)


def pack(tensors: Sequence[Stored]) -> str:
    """All tensors as text: what ``weights.js`` decodes."""
    out = []
    for tensor in tensors:
        if tensor.codes is None or tensor.scales is None:
            out.append(tensor.values.numpy().astype("<f4").tobytes())
            continue
        rest = tensor.bits - 8
        out.append(tensor.scales.astype("<f4").tobytes())
        out.append((tensor.codes >> rest).astype(np.uint8).tobytes())
        low = (tensor.codes[:, None] >> np.arange(rest - 1, -1, -1, dtype=np.uint16)) & 1
        out.append(np.packbits(low.astype(np.uint8).reshape(-1)).tobytes())
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return as_text(squeezer.compress(b"".join(out)) + squeezer.flush())


def as_text(data: bytes) -> str:
    """Bytes in base 85, with letters that mean nothing in HTML, JSON or a path.

    Four bytes are five letters, the highest digit first, as in RFC 1924 but for two letters; at
    the end, n bytes are n + 1 letters.

    Example:
        >>> as_text(b"abc")
        'VPaz'
    """
    return base64.b85encode(data).decode("ascii").translate(_HARMLESS)


def widths(sizes: Sequence[int], bits: int) -> list[int]:
    """Bits for each weight tensor: `bits`, but at least `FINE` where that costs little.

    Example:
        >>> widths([800_000, 300], 10)
        [10, 16]
    """
    total = sum(sizes)
    return [max(bits, FINE) if size <= SMALL_SHARE * total else bits for size in sizes]
