"""Reading an ONNX file: bounded, with its external data from its own folder only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from convscope.errors import CheckpointError
from convscope.files import CLASS_NAMES, TENSORS, loads_json, opened, read_bytes
from convscope.models._libraries import require
from convscope.models._safetensors import refuse_impostors

MOST_NODES = 100_000
LARGEST = (1 << 31) - 1
"""Bytes of a file and of its weights together: what the format itself allows."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of operators. Others would need a library of custom operators, which is never loaded."""


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A checked file.

    Attributes:
        model: The ``ModelProto``, with all weights inside.
        input: Name of its only input.
        kind: Element type of the input, as `onnx.TensorProto` numbers it.
        shape: Of the input; ``None`` for a size that is open.
        opset: Version of the standard operators.
        notes: What the file says about itself.
    """

    model: Any
    input: str
    kind: int
    shape: tuple[int | None, ...]
    opset: int
    notes: Mapping[str, str]

    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, if the notes have a list or a table of them."""
        for key in ("class_names", "classes", "labels", "names"):
            found = _names(self.notes.get(key, ""))
            if found:
                return found
        return None


def read_onnx(path: Path) -> OnnxFile:
    """Read a file and check everything that its graph rests on.

    Raises:
        CheckpointError: C07 and C08 for what is cut or damaged, C18 for another kind of file, C19
            for external data outside the folder, C21 for a graph that is no image classifier's.
        UsageError: The library onnx is missing.
    """
    onnx = require("onnx")
    data = read_bytes(path, TENSORS)
    if len(data) > LARGEST:
        raise CheckpointError(f"file has {len(data):,} bytes", code="C08", where=path)
    refuse_impostors(data, path.with_suffix(""))
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise CheckpointError(
            "not an ONNX model, or cut short: it cannot be parsed", code="C07", where=path
        ) from error
    graph = model.graph
    if not graph.node or not graph.output:
        raise CheckpointError("a graph without operators", code="C07", where=path)
    if len(graph.node) > MOST_NODES:
        raise CheckpointError(f"a graph of {len(graph.node):,} operators", code="C21", where=path)
    if (
        foreign := {n.domain for n in graph.node}
        - set(DOMAINS)
        - {f.domain for f in model.functions}
    ):
        raise CheckpointError(
            f"operators of {', '.join(sorted(foreign))}, which need a library of their own",
            code="C21",
            where=path,
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
        graph = model.graph
    if loops := sorted({n.op_type for n in graph.node} & {"Loop", "Scan"}):
        raise CheckpointError(f"a graph with a {loops[0]}", code="C21", where=path)
    for tensor in _tensors(graph):
        _bring_in(tensor, path, onnx)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        raise CheckpointError(
            f"a graph with {len(inputs)} inputs"
            if len(inputs) != 1
            else f"its input {inputs[0].name!r} is no batch of images",
            code="C21",
            where=path,
            expected="one input: (batch, channel, height, width)",
            hint="call it in a function of yours: python:module:function",
        )
    kind = inputs[0].type.tensor_type
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return OnnxFile(
        model=model,
        input=inputs[0].name,
        kind=kind.elem_type,
        shape=tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim),
        opset=max(versions, default=1),
        notes={entry.key: entry.value for entry in model.metadata_props},
    )


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor that is stored in a graph."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _bring_in(tensor: Any, path: Path, onnx: Any) -> None:
    """Check that a tensor has the bytes that it claims; fetch those that lie in another file."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        said = {entry.key: entry.value for entry in tensor.external_data}
        raw = _beside(said, path)
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = raw
    if any(size < 0 for size in tensor.dims):
        raise CheckpointError(f"{tensor.name} has a negative size", code="C05", where=path)
    if not tensor.HasField("raw_data"):
        return  # onnx itself compares the number of values with the sizes.
    try:
        width = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{tensor.name} is of no known type", code="C14", where=path
        ) from error
    wanted = math.prod(tensor.dims) * width
    if tensor.data_type < 21 and wanted != len(tensor.raw_data):  # later types pack several a byte
        raise CheckpointError(
            f"{tensor.name} claims {wanted:,} bytes and has {len(tensor.raw_data):,}",
            code="C05",
            where=path,
        )


def _beside(said: Mapping[str, str], path: Path) -> bytes:
    """Bytes of a file in the folder of the model: no path leads out, no link is followed out."""
    name = PurePosixPath(said.get("location", "").replace("\\", "/"))
    folder = path.absolute().parent.resolve()
    place = (folder / name).resolve()
    if not name.parts or name.is_absolute() or ".." in name.parts or folder not in place.parents:
        raise CheckpointError(
            f"weights in {str(name)!r}, outside its folder", code="C19", where=path
        )
    try:
        offset, length = int(said.get("offset", 0)), int(said.get("length", -1))
    except ValueError as error:
        raise CheckpointError("external data at no place", code="C08", where=path) from error
    with opened(place, TENSORS) as (file, size):
        length = size - offset if length < 0 else length
        if offset < 0 or length < 0 or offset + length > size or length > LARGEST:
            raise CheckpointError(
                f"{name} has {size:,} bytes, {length:,} from {offset:,} on are asked for",
                code="C07",
                where=path,
            )
        file.seek(offset)
        return file.read(length)


def _names(text: str) -> tuple[str, ...] | None:
    """A list in JSON, a table from number to name (JSON or Python), or lines."""
    if not text or len(text) > CLASS_NAMES.largest:
        return None
    try:
        tree = loads_json(text, deepest=4)
    except (ValueError, json.JSONDecodeError):
        tree = _python_table(text)
    if isinstance(tree, Mapping):
        wanted = [str(number) for number in range(len(tree))]
        table = {str(key): value for key, value in tree.items()}
        tree = [table[number] for number in wanted] if set(table) == set(wanted) else None
    if tree is None and "\n" in text.strip():
        tree = [line.strip() for line in text.strip().splitlines()]
    if isinstance(tree, list) and tree and all(isinstance(name, str) for name in tree):
        return tuple(tree)
    return None


def _python_table(text: str) -> Any:
    """``{0: 'cat', 1: 'dog'}``, as some exporters write."""
    import ast

    if len(text) > 1_000_000 or text.strip()[:1] != "{":
        return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
