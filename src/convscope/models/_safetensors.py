"""Model files: safetensors and their folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from convscope.errors import CheckpointError, ResourceError
from convscope.files import TENSORS, check_tensor_file, opened, read_bytes

_STARTS = (
    (b"version https://git-lfs", "a git-LFS pointer, not the weights it stands for"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML page"),
    (b"{", "a JSON text"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89png", "a PNG image"),
)
_LIBRARIES = (
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras and TensorFlow write"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"GGUF", "a GGUF file of a language model"),
    (0, b"\x93NUMPY", "a NumPy array"),
)
_ENDINGS = {
    ".onnx": "an ONNX model",
    ".h5": "an HDF5 file, as Keras and TensorFlow write",
    ".hdf5": "an HDF5 file, as Keras and TensorFlow write",
    ".keras": "a Keras model",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML model",
    ".xml": "a network of OpenVINO",
    ".caffemodel": "a Caffe model",
    ".params": "weights of MXNet",
    ".npz": "a NumPy archive (.npz)",
    ".npy": "a NumPy array",
    ".joblib": "a joblib pickle, which can run programs",
    ".engine": "a TensorRT engine",
    ".pdparams": "weights of PaddlePaddle",
    ".pte": "an ExecuTorch program",
}
FOREIGN_HINT = (
    "call it in a function from pixels (batch, channel, height, width) to scores and name that: "
    "python:module:function --input-shape 3,224,224"
)
_WAYS = {
    ".onnx": "onnx:FILE reads it",
    ".keras": "keras:FILE reads it",
    ".h5": 'in Keras: keras.models.load_model(FILE).save("new.keras"), then keras:new.keras',
}
"""Ways out for files of these endings; for others `FOREIGN_HINT`."""


def other_library(what: str, path: Path, hint: str = FOREIGN_HINT) -> CheckpointError:
    """The error for a model that PyTorch does not read."""
    return CheckpointError(
        f"this is {what}, not PyTorch weights", code="C18", where=path, hint=hint
    )


def read_whole(path: Path) -> bytes:
    """All bytes of a weight file.

    Raises:
        CheckpointError: There is no such file, or it is a folder, a pipe or a device.
        ResourceError: It may not be read, or there is not enough memory.
    """
    return read_bytes(path, TENSORS)


def refuse_impostors(data: bytes, path: Path) -> None:
    """Name files that are something else altogether.

    Raises:
        CheckpointError: C07 for an empty file, C18 for a git-LFS pointer, a web page and the like.
    """
    if not data:
        raise CheckpointError("file is empty", code="C07", where=path, hint="copy it again")
    for offset, magic, what in _LIBRARIES:
        if data[offset : offset + len(magic)] == magic:
            raise other_library(what, path, _WAYS.get(path.suffix.lower(), FOREIGN_HINT))
    if path.suffix.lower() in _ENDINGS and data[:4] != b"PK\x03\x04":
        ending = path.suffix.lower()
        raise other_library(_ENDINGS[ending], path, _WAYS.get(ending, FOREIGN_HINT))
    start = data[:64].lstrip().lower()
    for magic, what in _STARTS:
        if start.startswith(magic):
            hint = "run `git lfs pull`" if b"git-lfs" in magic else "download the file itself"
            raise CheckpointError(f"this is {what}", code="C18", where=path, hint=hint)


def replace_durably(source: Path, target: Path) -> None:
    """Rename `source` to `target` in one step, over what was there.

    Raises:
        ResourceError: The folder does not allow it.
    """
    try:
        source.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ResourceError(f"cannot be replaced: {error.strerror}", where=target) from error


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
