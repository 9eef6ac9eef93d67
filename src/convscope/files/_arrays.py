"""Tables of numbers from strangers: what a file declares is compared with what it holds, first."""

from __future__ import annotations

import io
import json
import math
import os
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from convscope.errors import CheckpointError, ResourceError
from convscope.files._door import ARRAYS, Kind, opened, read_bytes
from convscope.files._texts import loads_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_HEADER = 100_000_000
"""Bytes of the table of contents of a safetensors file."""

INFLATED = 256 << 20
"""Bytes that a compressed file may always inflate to."""

RATIO = 100
"""Times its own size that it may inflate to if that is more: pictures and maps reach 10 to 50."""

MOST_ARRAYS = 100_000

_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U8": 8, "U16": 16, "U32": 32, "U64": 64, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8,
}  # fmt: skip


def read_arrays(path: Path | str, kind: Kind = ARRAYS) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file, without pickle.

    Before one byte is inflated, the sizes that the archive declares are added up; before an array
    is made, its shape is compared with the bytes that its entry has.

    Args:
        path: The file.
        kind: Its limits and errors.

    Returns:
        Arrays by name.

    Raises:
        ConvscopeError: Of the kind's class: damaged, no NumPy archive, objects in it, or one that
            inflates to more than 256 MB and more than 100 times its size.
        ResourceError: No memory or permission.
    """

    def refuse(what: str) -> NoReturn:
        raise kind.error(f"damaged: {what}", code=kind.damaged, where=path)

    with opened(path, kind) as (file, size):
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                inflated = sum(entry.file_size for entry in entries)
                if inflated > most_inflated(size):
                    refuse(f"{size:,} bytes that inflate to {inflated:,}")
                names = [entry.filename for entry in entries]
                if len(entries) > MOST_ARRAYS or len(set(names)) != len(names):
                    refuse("its archive names an array twice, or too many of them")
                if any(entry.flag_bits & 1 for entry in entries):
                    refuse("its archive is encrypted")
                return {
                    entry.filename.removesuffix(".npy"): _array(archive, entry, refuse)
                    for entry in entries
                }
        except _BROKEN as error:
            refuse(str(error))
        except MemoryError:
            raise ResourceError("not enough memory", code="T16", where=path) from None


def most_inflated(size: int) -> int:
    """To how many bytes an archive of `size` bytes may inflate."""
    return max(INFLATED, RATIO * size)


@dataclass(frozen=True)
class ArrayHeader:
    """What a ``.npy`` file says of its array.

    Attributes:
        shape: Of the array.
        dtype: Of its numbers; never objects.
        start: Where they begin, in bytes.
        stamp: Size and time of the last change of the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    stamp: tuple[int, int]


def read_array_header(path: Path | str, kind: Kind) -> ArrayHeader:
    """The header of a ``.npy`` file whose numbers may be more than memory; none of them is read.

    Raises:
        ConvscopeError: Of the kind's class: no NumPy array, objects in it (they are pickles), in
            the order of Fortran, or another size than the header declares.
        ResourceError: No permission, or the disk fails.
    """
    with opened(path, kind) as (file, size):
        shape, dtype, start = _header_of(file, size, path, kind)
        return ArrayHeader(shape, dtype, start, (size, os.fstat(file.fileno()).st_mtime_ns))


def read_array(path: Path | str, kind: Kind) -> NDArray[Any]:
    """The array in a ``.npy`` file, without pickle.

    Raises:
        ConvscopeError: As `read_array_header`.
        ResourceError: No memory or permission.
    """
    import numpy as np

    data = read_bytes(path, kind)
    shape, dtype, start = _header_of(io.BytesIO(data), len(data), path, kind)
    return np.frombuffer(bytearray(data[start:]), dtype=dtype).reshape(shape)


def _header_of(
    file: IO[bytes], size: int, path: Path | str, kind: Kind
) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    def refuse(what: str, hint: str = "") -> NoReturn:
        raise kind.error(
            what, code=kind.damaged, where=path, expected="an array of np.save", hint=hint
        )

    try:
        shape, fortran, dtype = _npy_header(file, refuse, "the file")
    except _BROKEN as error:
        refuse(f"damaged: {error}")
    except MemoryError:
        refuse("damaged: the header is too deep")
    start = file.tell()
    if fortran and len(shape) > 1:
        refuse("the array is in the order of Fortran", "save np.ascontiguousarray(array)")
    wanted = start + math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or wanted != size:
        refuse(f"damaged: declares {wanted:,} bytes and has {size:,}")
    return shape, dtype, start


_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError,
    KeyError, TypeError, SyntaxError, RuntimeError, OverflowError, LookupError, Warning,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy's and Python's readers raise for damaged files."""


def _npy_header(
    stream: IO[bytes], refuse: Any, name: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that the header of an array declares; no objects."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        refuse(f"{name} is no array of a known version")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject or dtype.itemsize == 0 or len(shape) > 32:
        refuse(f"{name} holds objects, not numbers")
    return shape, fortran, dtype


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, refuse: Any) -> NDArray[Any]:
    import numpy as np

    with archive.open(entry) as stream:
        shape, fortran, dtype = _npy_header(stream, refuse, repr(entry.filename))
        wanted = math.prod(shape) * dtype.itemsize
        data = stream.read()
        if any(side < 0 for side in shape) or len(data) != wanted:
            refuse(f"{entry.filename!r} declares {wanted:,} bytes and holds {len(data):,}")
    flat = np.frombuffer(bytearray(data), dtype=dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def check_tensor_file(
    data: bytes,
    total: int,
    *,
    where: object,
    damaged: str = "C09",
    incomplete: str = "C07",
) -> dict[str, str]:
    """Make sure that the header of a safetensors file is exactly right.

    Every byte after the header belongs to one tensor, in order, and no name occurs twice.

    Args:
        data: The file, or its beginning up to the end of the header.
        total: Bytes of the whole file.
        where: For error texts.
        damaged: Code of a header that lies.
        incomplete: Code of a file that was cut.

    Returns:
        What the file says about itself (``__metadata__``).

    Raises:
        CheckpointError: Cut short, or a header that lies.

    Example:
        >>> header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        >>> file = len(header).to_bytes(8, "little") + header + bytes(4)
        >>> check_tensor_file(file, len(file), where="a.safetensors")
        {}
        >>> check_tensor_file(file[:-1], len(file) - 1, where="a.safetensors")
        Traceback (most recent call last):
        convscope.errors.CheckpointError: a.safetensors: file incomplete: 65 bytes of 66
          fix: copy or download it again
    """

    def lie(what: str) -> NoReturn:
        raise CheckpointError(what, code=damaged, where=where, hint="save or download it again")

    def cut(declared: int) -> NoReturn:
        raise CheckpointError(
            f"file incomplete: {total:,} bytes of {declared:,}",
            code=incomplete,
            where=where,
            hint="copy or download it again",
        )

    if total < 8:
        cut(8)
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER:
        lie(f"header declares {length:,} bytes, at most {LARGEST_HEADER:,} are allowed")
    if 8 + length > total:
        cut(8 + length)
    header = _header(data[8 : 8 + length], lie)
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        lie("metadata is not a table of texts")
    end = 0
    entries = [(*_tensor(name, entry, lie), name) for name, entry in header.items()]
    for start, stop, name in sorted(entries):
        if start != end:
            lie(f"{name!r} begins at byte {start:,}, the tensor before ends at {end:,}")
        end = stop
    if 8 + length + end > total:
        cut(8 + length + end)
    if 8 + length + end < total:
        lie(f"{total - 8 - length - end:,} bytes after the last tensor")
    return notes


def _header(text: bytes, lie: Any) -> dict[str, Any]:
    try:
        header = loads_json(text, deepest=4)
    except json.JSONDecodeError:
        lie("header is not JSON")
    except ValueError as error:
        lie(f"header is not JSON: {error}")
    if not isinstance(header, dict):
        lie("header is not a table of tensors")
    return header


def _tensor(name: str, entry: Any, lie: Any) -> tuple[int, int]:
    """Begin and end of a tensor whose size is what its shape says."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        lie(f"{name!r} is not described by dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _BITS:
        lie(f"{name!r} has the unknown type {kind!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > 16:
        lie(f"{name!r} has a shape or position that is not made of sizes")
    start, stop = offsets
    if math.prod(shape) * _BITS[kind] != (stop - start) * 8:
        lie(f"{name!r} of shape {tuple(shape)} in {stop - start:,} bytes")
    return start, stop


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**48 for value in values
    )
