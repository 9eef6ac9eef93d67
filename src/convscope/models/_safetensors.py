"""Reading and writing .safetensors: numbers with names, and never a program."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from convscope.errors import CheckpointError
from convscope.files import TENSORS, check_tensor_file, opened
from convscope.models._files import refuse_impostors

LARGEST_HEADER = 100_000_000


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
    notes = check_tensor_file(data, len(data), where=path)
    try:
        return Weights(tensors=parse(data), notes=notes)
    except Exception as error:
        raise CheckpointError(f"unreadable: {error}", code="C09", where=path) from error


def check_header(path: Path) -> None:
    """The same checks on a file that someone else will read: only its header is read here.

    Raises:
        CheckpointError: As for `read_tensors`.
    """
    with opened(path, TENSORS) as (file, size):
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), LARGEST_HEADER, size)
        start += file.read(length)
    _refuse_others(start, path)
    check_tensor_file(start, size, where=path)


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
