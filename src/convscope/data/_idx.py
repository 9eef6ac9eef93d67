"""The idx format of MNIST and its relatives, plain or gzip.

Source: the format notes on the MNIST page: two zero bytes, a type byte (8 = unsigned byte), the
number of dimensions, the dimensions as big-endian 32-bit numbers, then the values.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope.data._file import inflate, read_file, sniff
from convscope.errors import DataError

MOST_BYTES = 1 << 30
SLACK = 1 << 16
OTHER_TYPES = {
    0x09: "signed byte",
    0x0B: "16-bit integer",
    0x0C: "32-bit integer",
    0x0D: "32-bit float",
    0x0E: "64-bit float",
}
KINDS = {1: "labels", 3: "images"}


@dataclass(frozen=True)
class IdxFile:
    """Values of an idx file.

    Args:
        values: The array, read-only.
        sha256: Hash of the uncompressed file, which does not depend on how it was compressed.
    """

    values: NDArray[np.uint8]
    sha256: str


def read_idx(path: Path, *, dimensions: int) -> IdxFile:
    """Images (3 dimensions) or labels (1 dimension) from an idx file, ``.gz`` or not.

    Args:
        path: The file; compressed if its name ends in ``.gz``.
        dimensions: How many the file must have.

    Returns:
        The values and the hash of the uncompressed content.

    Raises:
        DataError: ``D01`` to ``D08``, ``D12``, ``D13``. Sizes are checked
            before memory is taken.
        ResourceError: No permission to read.
    """
    file = read_file(path, limit=MOST_BYTES, code="D08")
    data = file.data
    if not data:
        raise DataError("file is empty", code="D01", where=path, hint="download it again")
    if path.suffix.lower() == ".gz":
        start, _ = inflate(data, limit=4 + 4 * 255, where=path)
        offset, shape = read_header(start, dimensions=dimensions, where=path)
        declared = offset + math.prod(shape)
        data, complete = inflate(data, limit=declared + SLACK, where=path)
        if not complete:
            raise DataError(
                f"inflates to more than {declared + SLACK:,} bytes where its header declares "
                f"{declared:,}",
                code="D12",
                where=path,
                hint="this is not a data file; delete it",
            )
    values = parse_idx(data, dimensions=dimensions, where=path)
    digest = file.sha256 if data is file.data else hashlib.sha256(data).hexdigest()
    return IdxFile(values, digest)


def parse_idx(data: bytes, *, dimensions: int, where: object = "") -> NDArray[np.uint8]:
    """The array in uncompressed idx bytes.

    Args:
        data: The whole file.
        dimensions: How many it must have.
        where: For the error texts.

    Returns:
        A read-only array over `data`.

    Raises:
        DataError: ``D01`` to ``D08`` and ``D11``.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]), dimensions=1).tolist()
        [7, 8, 9]
    """
    offset, shape = read_header(data, dimensions=dimensions, where=where)
    size, held = math.prod(shape), len(data) - offset
    declared = f"header declares {'x'.join(map(str, shape))} ({size:,} bytes)"
    if held < size:
        raise DataError(
            f"{declared}, file holds {held:,}", code="D03", where=where, hint="download it again"
        )
    if held > size:
        raise DataError(
            f"{declared}, but {held - size:,} more bytes follow",
            code="D04",
            where=where,
            hint="download it again",
        )
    return np.frombuffer(data, np.uint8, offset=offset).reshape(shape)


def read_header(data: bytes, *, dimensions: int, where: object) -> tuple[int, tuple[int, ...]]:
    """Length of the header and the declared shape.

    Raises:
        DataError: ``D01``, ``D02``, ``D05``, ``D06``, ``D07``, ``D08``, ``D11``.
    """
    if not data:
        raise DataError("file is empty", code="D01", where=where, hint="download it again")
    expected = f"an idx file of {KINDS.get(dimensions, f'{dimensions} dimensions')}: magic number "
    expected += f"0x{0x800 + dimensions:08x}"
    if data[:2] != b"\0\0"[: len(data)]:
        raise _not_idx(data, expected, where)
    if len(data) < 4:
        raise _cut(data, where)
    kind, count = data[2], data[3]
    if kind in OTHER_TYPES:
        raise DataError(
            f"elements are of type 0x{kind:02x} ({OTHER_TYPES[kind]}), expected unsigned byte",
            code="D06",
            where=where,
            expected=expected,
        )
    if kind != 8:
        raise _not_idx(data, expected, where)
    if count == 0 or count > 4:
        raise DataError(f"header declares {count} dimensions", code="D07", where=where,
                        expected=expected)  # fmt: skip
    if count != dimensions:
        named = KINDS.get(count, f"data of {count} dimensions")
        raise DataError(
            f"magic number is 0x{0x800 + count:08x}: this file holds {named}",
            code="D05",
            where=where,
            expected=expected,
            hint="check that image and label files are not exchanged",
        )
    offset = 4 + 4 * count
    if len(data) < offset:
        raise _cut(data, where)
    shape = struct.unpack_from(f">{count}I", data, 4)
    if 0 in shape:
        raise DataError(
            f"empty split: header declares {'x'.join(map(str, shape))}", code="D11", where=where
        )
    if math.prod(shape) > MOST_BYTES:
        raise DataError(
            f"header declares {'x'.join(map(str, shape))} ({math.prod(shape):,} bytes)",
            code="D08",
            where=where,
            expected=f"at most {MOST_BYTES:,} bytes",
        )
    return offset, shape


def _not_idx(data: bytes, expected: str, where: object) -> DataError:
    kind = sniff(data)
    if not kind and data[:4] in (b"\x01\x08\0\0", b"\x03\x08\0\0"):
        kind = "an idx file with little-endian header"
    looks = f"; it looks like {kind}" if kind else ""
    hint = "name it .gz" if kind == "a gzip file" else "download it again"
    return DataError(
        f"starts with {data[:4].hex(' ')}{looks}",
        code="D05",
        where=where,
        expected=expected,
        hint=hint,
    )


def _cut(data: bytes, where: object) -> DataError:
    return DataError(
        f"header cut: the file ends after {len(data)} bytes",
        code="D02",
        where=where,
        hint="download it again",
    )
