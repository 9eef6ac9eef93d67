"""Write any result to a folder and read it back: numbers to JSON, arrays to one .npz.

Nothing in the files is executed: arrays are read without pickle, and the caller says which
dataclass to build.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import tempfile
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from convscope.errors import DataError, ResourceError, UsageError

Result = TypeVar("Result")

SCHEMA = 1


def save(result: Any, folder: Path | str, *, force: bool = False) -> Path:
    """Write `result`, an instance of a result dataclass, to `folder`.

    The folder appears whole or not at all.

    Args:
        result: A dataclass of tensors, numbers, texts, tuples, dicts and further dataclasses.
        folder: Where to; it must not exist yet unless `force`.
        force: Replace what is there, if it is a result.

    Raises:
        UsageError: U13 if the folder exists; or if `result` is not a dataclass instance.
        ResourceError: If the disk refuses.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Pair:
        ...     name: str
        ...     values: Tensor
        >>> folder = Path(tempfile.mkdtemp()) / "pair"
        >>> _ = save(Pair("a", torch.ones(2)), folder)
        >>> load(Pair, folder).values
        tensor([1., 1.])
    """
    folder = Path(folder)
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        raise UsageError(f"expected a result dataclass, got {type(result).__name__}")
    if folder.exists() and not (force and (folder / "result.json").is_file()):
        raise UsageError(
            "already exists", code="U13", where=folder, hint="choose another folder, or force"
        )
    arrays: dict[str, np.ndarray] = {}
    tree = _pack(result, "", arrays)
    text = json.dumps({"schema": SCHEMA, **tree}, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
        try:
            np.savez_compressed(temporary / "arrays.npz", **typing.cast(Any, arrays))
            (temporary / "result.json").write_text(text, encoding="utf-8", errors="surrogatepass")
            temporary.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", where=folder) from error
    return folder


def load(kind: type[Result], folder: Path | str) -> Result:
    """Read back a result of type `kind` that `save` wrote.

    Raises:
        DataError: If the folder holds no result, a damaged one, or one of another type.
    """
    folder = Path(folder)
    try:
        tree = json.loads(
            (folder / "result.json").read_text(encoding="utf-8", errors="surrogatepass")
        )
        with (folder / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except FileNotFoundError as error:
        raise DataError("holds no result", where=folder, code="U02") from error
    except Exception as error:  # zipfile and zlib raise their own kinds
        raise DataError(f"is damaged: {error}", where=folder) from error
    if not isinstance(tree, dict) or tree.get("type") != kind.__name__:
        found = tree.get("type") if isinstance(tree, dict) else type(tree).__name__
        raise DataError(f"holds a {found}, not a {kind.__name__}", where=folder)
    if tree.get("schema", 0) > SCHEMA:
        raise DataError("was written by a newer convscope", where=folder, hint="update convscope")
    try:
        return typing.cast(Result, _unpack(tree, kind, arrays))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"is damaged: {error}", where=folder) from error


def row(result: Any) -> dict[str, float | int | str | bool | None]:
    """The plain numbers and texts of a result: its row in a table."""
    if not dataclasses.is_dataclass(result):
        raise UsageError(f"expected a result dataclass, got {type(result).__name__}")
    values = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    return {k: v for k, v in values.items() if v is None or isinstance(v, bool | int | float | str)}


def finite_json(value: Any) -> Any:
    """`value` with tensors as lists and NaN or infinity as ``None``: always valid JSON."""
    if isinstance(value, Tensor):
        return finite_json(value.tolist())
    if isinstance(value, np.ndarray | np.generic):
        return finite_json(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: finite_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): finite_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        content = {
            f.name: _pack(getattr(value, f.name), f"{path}/{f.name}".lstrip("/"), arrays)
            for f in dataclasses.fields(value)
        }
        return {"type": type(value).__name__, "fields": content}
    if isinstance(value, Tensor):
        data = value.detach().cpu()
        arrays[path] = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        return {"array": path}
    if isinstance(value, dict):
        return {
            "dict": [
                [_pack(k, f"{path}.k{i}", arrays), _pack(v, f"{path}.{i}", arrays)]
                for i, (k, v) in enumerate(value.items())
            ]
        }
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(v, f"{path}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise UsageError(f"cannot save a {type(value).__name__} ({path})")


def _unpack(tree: Any, kind: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return torch.from_numpy(arrays[tree["array"]])
    if "float" in tree:
        return float(tree["float"])
    if "tuple" in tree or "list" in tree:
        many = tuple if "tuple" in tree else list
        inner = [a for a in typing.get_args(kind) if a is not Ellipsis]
        items: list[Any] = tree["tuple"] if "tuple" in tree else tree["list"]
        each = inner * len(items) if len(inner) == 1 else inner
        each = each if len(each) == len(items) else [Any] * len(items)
        return many(_unpack(v, k, arrays) for v, k in zip(items, each, strict=True))
    if "dict" in tree:
        inner = list(typing.get_args(kind)) or [Any, Any]
        return {
            _unpack(k, inner[0], arrays): _unpack(v, inner[-1], arrays) for k, v in tree["dict"]
        }
    found = _class_named(tree["type"], kind)
    hints = typing.get_type_hints(found)
    fields = {f.name for f in dataclasses.fields(found)}
    unknown = set(tree["fields"]) - fields
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
    return found(**{k: _unpack(v, hints[k], arrays) for k, v in tree["fields"].items()})


def _class_named(name: str, kind: Any) -> Any:
    """The dataclass called `name` among the types that the annotation `kind` allows."""
    options = (
        typing.get_args(kind)
        if typing.get_origin(kind) in (typing.Union, types.UnionType)
        else (kind,)
    )
    for option in options:
        if dataclasses.is_dataclass(option) and getattr(option, "__name__", "") == name:
            return option
    raise ValueError(f"unexpected {name}")
