"""Write any result to a folder and read it back: numbers to JSON, arrays to one .npz.

Nothing in the files is executed: arrays are read without pickle, and the caller says which
dataclass to build.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from convscope.errors import ConvscopeError, DataError, UsageError, printable
from convscope.files import (
    RESULT,
    checked_path,
    most_inflated,
    parse_json,
    read_arrays,
    read_bytes,
    usable_path,
    whole_folder,
)

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
        >>> import tempfile
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
    folder = checked_path(folder)
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        raise UsageError(f"expected a result dataclass, got {type(result).__name__}")
    if folder.exists() and not (force and (folder / "result.json").is_file()):
        raise UsageError(
            "already exists", code="U13", where=folder, hint="choose another folder, or force"
        )
    arrays: dict[str, np.ndarray] = {}
    tree = _pack(result, "", arrays)
    text = json.dumps({"schema": SCHEMA, **tree}, indent=1, ensure_ascii=False, allow_nan=False)
    with whole_folder(folder, force=False) as draft:
        file = draft / "arrays.npz"
        np.savez_compressed(file, **typing.cast(Any, arrays))
        # What `load` would take for a bomb (many zeros, say) is kept as it is.
        inflated = sum(array.nbytes + 4096 for array in arrays.values())
        if inflated > most_inflated(file.stat().st_size):
            np.savez(file, **typing.cast(Any, arrays))
        (draft / "result.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        if folder.exists():
            shutil.rmtree(folder)
    return folder


def load(kind: type[Result], folder: Path | str) -> Result:
    """Read back a result of type `kind` that `save` wrote.

    Raises:
        DataError: If the folder holds no result, a damaged one, or one of another type.
    """
    folder = usable_path(folder, DataError)
    if not (folder / "result.json").exists() or not (folder / "arrays.npz").exists():
        raise DataError("holds no result", where=folder, code="U02")
    try:
        text = read_bytes(folder / "result.json", RESULT).decode("utf-8", "surrogatepass")
        tree = parse_json(text, RESULT, where=folder / "result.json")
        arrays = read_arrays(folder / "arrays.npz")
    except UnicodeDecodeError:
        raise DataError("is damaged: not UTF-8 text", where=folder / "result.json") from None
    if not isinstance(tree, dict) or tree.get("type") != kind.__name__:
        found = str(tree.get("type") if isinstance(tree, dict) else type(tree).__name__)
        raise DataError(f"holds a {found}, not a {kind.__name__}", where=folder)
    schema = tree.get("schema", 0)
    if type(schema) is not int:
        raise DataError(f"is damaged: its schema is {schema!r}", where=folder)
    if schema > SCHEMA:
        raise DataError("was written by a newer convscope", where=folder, hint="update convscope")
    try:
        return typing.cast(Result, _unpack(tree, kind, arrays))
    except ConvscopeError:
        raise
    except Exception as error:  # the class that is built may check its values in any way
        reason = printable(f"{type(error).__name__}: {error}")
        raise DataError(f"is damaged: {reason}", where=folder) from error


def packed_result(result: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A result as a tree that JSON can hold, and its arrays by name.

    Args:
        result: As `save` takes it.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Pair:
        ...     name: str
        ...     values: Tensor
        >>> tree, arrays = packed_result(Pair("a", torch.ones(2)))
        >>> tree["type"], arrays["values"].tolist()
        ('Pair', [1.0, 1.0])
    """
    arrays: dict[str, np.ndarray] = {}
    return _pack(result, "", arrays), arrays


def unpacked_result(
    kind: type[Result], tree: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Result:
    """What `packed_result` was given.

    Args:
        kind: Its type.
        tree: The tree.
        arrays: Its arrays.

    Raises:
        ValueError: It is not what `packed_result` made of that type.
    """
    if tree.get("type") != kind.__name__:
        raise ValueError(f"{tree.get('type')!r} where a {kind.__name__} belongs")
    return typing.cast(Result, _unpack(dict(tree), kind, dict(arrays)))


def packed_images(images: Tensor) -> np.ndarray:
    """Images as an array to keep: as bytes where that loses nothing, which is a quarter.

    Args:
        images: ``(batch, channel, height, width)``, float32 in [0, 1].
    """
    levels = (images * 255).round().clamp(0, 255).to(torch.uint8)
    exact = torch.equal(levels.to(torch.float32).div_(255), images)
    return (levels if exact else images).cpu().numpy()


def unpacked_images(array: np.ndarray) -> Tensor:
    """The images of `packed_images`, to the bit.

    Example:
        >>> images = torch.tensor([0, 51, 255]).view(1, 1, 1, 3) / 255
        >>> packed_images(images).dtype.name, torch.equal(
        ...     unpacked_images(packed_images(images)), images)
        ('uint8', True)
    """
    tensor = torch.from_numpy(array)
    return tensor.to(torch.float32).div_(255) if tensor.dtype == torch.uint8 else tensor


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
        plain = {bool: bool, int: int, str: str, float: float | int}.get(kind, object)
        if not isinstance(tree, plain) or (isinstance(tree, bool) and kind in (int, float)):
            raise ValueError(f"{tree!r} where a {kind.__name__} belongs")
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
