"""Reading and writing .safetensors: numbers with names, and never a program."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from convscope.errors import CheckpointError
from convscope.models._files import refuse_impostors

LARGEST_HEADER = 100_000_000
_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U8": 8, "U16": 16, "U32": 32, "U64": 64, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a weight file holds.

    Attributes:
        tensors: By name.
        notes: What the file says about itself; empty for foreign files.
    """

    tensors: dict[str, Tensor]
    notes: dict[str, str]


def write_tensors(tensors: dict[str, Tensor], notes: dict[str, str]) -> bytes:
    """The bytes of a .safetensors file; the same tensors and notes give the same bytes."""
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return serialize(ready, metadata=notes)


def read_tensors(data: bytes, path: Path) -> Weights:
    """Check a file byte by byte where it describes itself, then read it.

    Args:
        data: The whole file.
        path: Where it came from, for error texts.

    Raises:
        CheckpointError: C07 cut short, C09 a header that lies, C18 another kind of file.
    """
    _refuse_others(data, path)
    notes = _check(data, len(data), path)
    try:
        return Weights(tensors=parse(data), notes=notes)
    except Exception as error:
        raise CheckpointError(f"unreadable: {error}", code="C09", where=path) from error


def check_header(path: Path) -> None:
    """The same checks on a file that someone else will read: only its header is read here.

    Raises:
        CheckpointError: As for `read_tensors`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = min(int.from_bytes(start, "little"), LARGEST_HEADER)
            start += file.read(length)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=path) from error
    _refuse_others(start, path)
    _check(start, path.stat().st_size, path)


def _refuse_others(data: bytes, path: Path) -> None:
    """A safetensors file has its header's opening brace at byte 8; name what has not."""
    if data[8:9] == b"{":
        return
    if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05"):
        raise CheckpointError(
            "a torch archive or pickle under the name of a .safetensors file",
            code="C01",
            where=path,
            hint="a pickle can run programs; save weights with safetensors.torch.save_file",
        )
    refuse_impostors(data, path)


def _check(data: bytes, total: int, path: Path) -> dict[str, str]:
    """The metadata of a file whose header is exactly right."""

    def lie(what: str) -> NoReturn:
        raise CheckpointError(what, code="C09", where=path, hint="save or download it again")

    def cut(declared: int) -> NoReturn:
        raise CheckpointError(
            f"file incomplete: {total:,} bytes of {declared:,}",
            code="C07",
            where=path,
            hint="copy or download it again",
        )

    if total < 8:
        cut(8)
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER:
        lie(f"header declares {length:,} bytes, at most {LARGEST_HEADER:,} are allowed")
    if 8 + length > total:
        cut(8 + length)
    header = _parse_header(data[8 : 8 + length], lie)
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(v, str) for v in notes.values()):
        lie("metadata is not a table of texts")
    end = 0
    entries = [(*_entry(name, entry, lie), name) for name, entry in header.items()]
    for start, stop, name in sorted(entries):
        if start != end:
            lie(f"{name!r} begins at byte {start:,}, the tensor before ends at {end:,}")
        end = stop
    if 8 + length + end > total:
        cut(8 + length + end)
    if 8 + length + end < total:
        lie(f"{total - 8 - length - end:,} bytes after the last tensor")
    return notes


def _parse_header(text: bytes, lie: Any) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            lie("a name occurs twice in the header")
        return table

    try:
        header = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        lie("header is not JSON")
    if not isinstance(header, dict):
        lie("header is not a table of tensors")
    return header


def _entry(name: str, entry: Any, lie: Any) -> tuple[int, int]:
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
