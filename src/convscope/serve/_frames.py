"""Numbers on the way between page and server: a frame is a JSON header and float32 arrays.

Four bytes say how long the header is (little endian), then the header in UTF-8, then the arrays
that it lists under ``"arrays"`` as name and shape, one after the other. Nothing else is in it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.errors import ConvscopeError, UsageError
from convscope.files import loads_json, plain_json
from convscope.reports import without_controls

LONGEST_HEADER = 1 << 20
_LENGTH = struct.Struct("<I")


def packed(header: Mapping[str, Any], arrays: Mapping[str, Tensor] | None = None) -> bytes:
    """One frame.

    Args:
        header: Plain values; NaN becomes null, and control characters of texts escapes.
        arrays: Tensors by name, sent as float32.

    Example:
        >>> unpacked(packed({"part": "saliency"}, {"map": torch.ones(2, 2)}))[0]["part"]
        'saliency'
    """
    named = {
        name: value.detach().to("cpu", torch.float32).contiguous().numpy()
        for name, value in (arrays or {}).items()
    }
    about = {**header, "arrays": [[name, list(value.shape)] for name, value in named.items()]}
    plain = plain_json(about, text=without_controls)
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join(value.astype("<f4", copy=False).tobytes() for value in named.values())
    return _LENGTH.pack(len(text)) + text + body


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and arrays of one frame that came from a page.

    Raises:
        UsageError: U21 for anything else than a whole frame.
    """
    if len(data) < _LENGTH.size:
        raise _broken("it is cut off")
    (length,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size + length
    if length > LONGEST_HEADER or start > len(data):
        raise _broken("its header is longer than it is")
    try:
        header = loads_json(data[_LENGTH.size : start].decode())
    except (ValueError, ConvscopeError):
        raise _broken("its header is no JSON") from None
    listed = header.pop("arrays", []) if isinstance(header, dict) else None
    if not isinstance(listed, list):
        raise _broken("its header is no table")
    arrays: dict[str, Tensor] = {}
    for entry in listed:
        name, shape = _entry(entry)
        count = 1
        for side in shape:
            count *= side
        if start + 4 * count > len(data) or name in arrays:
            raise _broken("an array is cut off or there twice")
        values = np.frombuffer(data, "<f4", count, start).astype(np.float32)
        arrays[name] = torch.from_numpy(values.reshape(shape))
        start += 4 * count
    if start != len(data):
        raise _broken("something follows it")
    return header, arrays


def _entry(entry: Any) -> tuple[str, list[int]]:
    if isinstance(entry, list) and len(entry) == 2:
        name, shape = entry
        if (
            isinstance(name, str)
            and isinstance(shape, list)
            and len(shape) <= 4
            and all(type(side) is int and 0 < side <= 1 << 20 for side in shape)
        ):
            return name, shape
    raise _broken("it lists an array without name and shape")


def _broken(why: str) -> UsageError:
    return UsageError(
        f"a request that is no frame: {why}",
        code="U21",
        expected="what the served page sends",
        hint="reload the page",
    )
