"""Reading a foreign .pt file: a zip archive with a pickle inside, so everything is checked first.

A pickle is a program. torch's own reader with ``weights_only=True`` runs only an allowed few of
its instructions; before it sees the file, this module makes sure that the archive is neither cut,
damaged nor a decompression bomb, and that the pickle consists of the few instructions that naming
tensors takes. Both would have to fail.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope.errors import CheckpointError
from convscope.models._safetensors import other_library, refuse_impostors

SAFE_HINT = (
    'where it was made, in Python: saved = torch.load(FILE, map_location="cpu"); '
    "safetensors.torch.save_file(its state_dict, NEW_FILE)"
)
PROGRAM_HINT = (
    "if you trust who made it: torchscript:FILE --input-shape 3,224,224, or export:FILE for "
    'torch.export; weights alone: torch.jit.load(FILE, map_location="cpu").state_dict()'
)
ARRAYS_HINT = (
    "in Python: safetensors.numpy.save_file(dict(numpy.load(FILE)), NEW_FILE), if the names are "
    "those of a PyTorch network"
)
LARGEST_PICKLE = 64_000_000

# The instructions that torch.save uses for a table of tensors, and the names it asks for.
_INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "BUILD", "GLOBAL", "REDUCE", "BINPERSID", "NONE"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE"),
}
_NUMBERS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_NAMES = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {number}Storage" for number in _NUMBERS),
}


def read_state_dict(
    data: bytes, path: Path, *, tied: bool = False
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a state_dict that was written by ``torch.save``.

    Args:
        data: The whole file.
        path: Where it came from, for error texts.
        tied: Tensors may share memory, as tied weights do.

    Returns:
        Tensors by name, and a sentence on where in a training checkpoint they were.

    Raises:
        CheckpointError: C01 and C02 a pickle that asks for more than tensors, C03 a program, C04 a
            compressed archive, C05 and C06 tensors that share or invent memory, C07 cut short, C08
            a damaged entry, C18 another kind of file, C19 names that lead out of the archive.
    """
    refuse_impostors(data, path)
    _check_archive(data, path)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            "more than tensors, or tensors that do not fit their memory",
            code="C02",
            where=path,
            hint=SAFE_HINT,
        ) from error
    tensors, remarks = _unwrap(state, path)
    return _check_tensors(tensors, path, tied=tied), remarks


def _check_archive(data: bytes, path: Path) -> None:
    if data[:4] != b"PK\x03\x04":
        raise CheckpointError(
            "not a torch archive of version 1.6 or later; a bare pickle is a program",
            code="C01",
            where=path,
            hint=SAFE_HINT,
        )
    names = check_stored(data, path, other_archives=True)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickles = [name for name in names if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError(
                    f"an archive with {len(pickles)} tables of tensors, not one",
                    code="C03",
                    where=path,
                    hint=SAFE_HINT,
                )
            if archive.getinfo(pickles[0]).file_size > LARGEST_PICKLE:
                raise CheckpointError("a table of contents over 64 MB", code="C04", where=path)
            _check_pickle(archive.read(pickles[0]), path)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            "file incomplete or damaged: its archive cannot be opened",
            code="C07",
            where=path,
            hint="copy or download it again",
        ) from error


def check_tensor_archive(data: bytes, path: Path) -> None:
    """Refuse what `read_state_dict` would refuse before torch sees it.

    Raises:
        CheckpointError: C01 to C04, C07, C08, C19.
    """
    _check_archive(data, path)


def check_stored(
    data: bytes, path: Path, *, other_archives: bool = False, inflated: int = 1
) -> list[str]:
    """The names in an archive whose entries are whole, of known size, and stay inside it.

    Args:
        data: The whole file.
        path: Where it came from, for error texts.
        other_archives: Whether programs and archives of other libraries are refused first.
        inflated: How many times its size it may unpack to; 1: nothing is compressed.

    Raises:
        CheckpointError: C04 compressed, C07 no archive or cut short, C08 a damaged entry, C19
            names that lead out of it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if other_archives:
                _refuse_other_archives(names, path)
            sizes = sum(entry.file_size for entry in entries)
            packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries)
            if sizes > inflated * len(data) or (packed and inflated == 1):
                raise CheckpointError(
                    f"a compressed archive: {len(data):,} bytes that unpack to {sizes:,}",
                    code="C04",
                    where=path,
                    expected="stored entries, as torch.save writes them",
                    hint=SAFE_HINT,
                )
            if any(name.startswith("/") or ".." in name.split("/") for name in names):
                raise CheckpointError("entries outside the archive", code="C19", where=path)
            # Reading checks the CRC of each entry, which torch's reader does not.
            damaged = archive.testzip()
            if damaged is not None:
                raise CheckpointError(f"damaged entry {damaged!r}", code="C08", where=path)
            return names
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            "file incomplete or damaged: its archive cannot be opened",
            code="C07",
            where=path,
            hint="copy or download it again",
        ) from error


def _refuse_other_archives(names: list[str], path: Path) -> None:
    """Programs, and the zip archives of other libraries, by what is in them."""
    if any(_is_program(name) for name in names):
        raise CheckpointError(
            "contains a program, not weights (TorchScript or torch.export)",
            code="C03",
            where=path,
            hint=PROGRAM_HINT,
        )
    if names and all(name.endswith(".npy") for name in names):
        raise other_library("a NumPy archive (.npz)", path, ARRAYS_HINT)
    if any(name.endswith("weights.h5") for name in names):
        raise other_library("a Keras model", path, "keras:FILE reads it")
    if not any(name.endswith("data.pkl") for name in names) and any(
        name.startswith(("[Content_Types]", "META-INF/")) for name in names
    ):
        raise other_library("an office document or a Java archive", path)


def _is_program(name: str) -> bool:
    parts = name.split("/")
    return (
        "code" in parts
        or "models" in parts
        or parts[-1] in ("constants.pkl", "archive_format", "serialized_exported_program.json")
    )


def _check_pickle(program: bytes, path: Path) -> None:
    """Only the instructions and names that a table of tensors takes."""
    names, instructions = set(), set()
    try:
        for instruction, argument, _ in pickletools.genops(program):
            instructions.add(instruction.name)
            if instruction.name == "GLOBAL":
                names.add(str(argument))
    except ValueError as error:
        raise CheckpointError(f"its pickle is damaged: {error}", code="C07", where=path) from error
    unwanted = sorted(name.replace(" ", ".") for name in names - _NAMES)
    if any(name.startswith("torch.nn.modules.") for name in unwanted):
        raise CheckpointError(
            "contains a program, not weights: a whole network was saved",
            code="C03",
            where=path,
            hint=SAFE_HINT,
        )
    if unwanted:
        raise CheckpointError(
            f"the pickle asks for {', '.join(unwanted[:3])}: not loaded",
            code="C01",
            where=path,
            hint=SAFE_HINT,
        )
    if strange := sorted(instructions - _INSTRUCTIONS):
        raise CheckpointError(
            f"the pickle uses {', '.join(strange[:3])}, which no table of tensors needs:"
            " not loaded",
            code="C02",
            where=path,
            hint=SAFE_HINT,
        )


def _unwrap(state: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The table of tensors, or the one inside a training checkpoint."""
    remarks: tuple[str, ...] = ()
    for _ in range(2):
        if not isinstance(state, dict) or _is_table(state):
            break
        holders = [key for key in TABLES if _holds_tensors(state.get(key))]
        if not holders:
            break
        others = f"; it also holds {', '.join(map(repr, holders[1:]))}" if holders[1:] else ""
        if others:
            remarks += (f"the weights under {holders[0]!r} were taken{others}",)
        state = state[holders[0]]
    if isinstance(state, dict) and _is_table(state):
        return dict(state), remarks
    held = f" but {', '.join(map(str, list(state)[:5]))}" if isinstance(state, dict) else ""
    raise CheckpointError(
        f"not a table of named tensors{held}",
        code="C03",
        where=path,
        expected="a state_dict, or a checkpoint with one under " + ", ".join(TABLES),
        hint=SAFE_HINT,
    )


TABLES = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params",
    "ema_state_dict", "state_dict_ema", "model_ema", "ema",
)  # fmt: skip
"""Where training scripts put the weights in their checkpoints, the trained ones first."""


def _is_table(state: dict[Any, Any]) -> bool:
    return bool(state) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(inner, Tensor) or _holds_tensors(inner) for inner in value.values()
    )


def _check_tensors(state: dict[str, Tensor], path: Path, *, tied: bool) -> dict[str, Tensor]:
    owners: dict[int, str] = {}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{name} is not a plain tensor", code="C14", where=path)
        storage = tensor.untyped_storage()
        if storage.nbytes() < tensor.numel() * tensor.element_size():
            raise CheckpointError(
                f"{name} claims {tensor.numel():,} numbers in {storage.nbytes():,} bytes",
                code="C05",
                where=path,
            )
        if tensor.numel() and not tied:
            owner = owners.setdefault(storage.data_ptr(), name)
            if owner != name:
                raise CheckpointError(
                    f"{name} and {owner} share memory; no registered network ties weights",
                    code="C06",
                    where=path,
                    hint="save clones of the tensors",
                )
    return state
