"""torchscript:FILE and export:FILE: whole programs, for those who trust them and say so."""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope._network.row_by_row import RowByRow
from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.files import loads_json, usable_path
from convscope.models._description import Description
from convscope.models._factory import with_log_probabilities
from convscope.models._safetensors import read_whole, refuse_impostors
from convscope.models._torch_file import check_stored, check_tensor_archive

NOTHING = Description()

OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge)"
    r"|torch\.(sym_int|sym_float|sym_max|sym_min|sym_not|sym_sqrt)"
)
"""What a program of torch.export may call."""

FORBIDDEN = ("from_file", "save", "load", "_print")
"""Operators of aten that are no arithmetic."""

MOST_INFLATED = 20
"""How many times its size an archive may unpack to: TorchScript's source text is compressed."""

WORDS = frozenset((
    "Symbol", "positive", "integer", "True", "False", "Integer", "Float", "Max", "Min", "Mod",
    "FloorDiv", "PythonMod", "ModularIndexing", "CleanDiv", "CeilDiv", "Eq", "Ne", "Lt", "Le", "Gt",
    "Ge",
))  # fmt: skip
"""Names in a formula of sizes, beside symbols such as ``s0``."""

EXPRESSIONS = ("expr_str",)
FOLDERS = ("data/weights/", "data/constants/", "data/sample_inputs/", "models/", ".data/")
FILES = ("archive_format", "archive_version", "byteorder", "version")


def load_torchscript(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier from a file of ``torch.jit.save``.

    Such a file is a program in TorchScript's own language: it computes with tensors, may print,
    and may run for ever, but imports no Python. It is loaded only where this prefix says so.

    Args:
        name: The file.
        about: Size of its images, which it does not say; class names, mean and std.
        allow_nonfinite: For compatibility with other adapters; its weights are not looked at.

    Raises:
        CheckpointError: C07, C08, C18, C19 for a damaged file, C03 for another kind of archive.
        UsageError: U11 if weights are given.
        ModelContractError: M22 without a size; see `Classifier.wrap` for what it returns.
    """
    where = f"torchscript:{name}"
    data = _program(name, about, where, "code/", "torch.jit.save")
    if about.input_shape is None:
        raise ModelContractError(
            "a TorchScript program does not say the size of its images",
            code="M22",
            where=where,
            hint="add --input-shape 3,224,224 with your sizes",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
        except Exception as error:
            raise _unreadable(error, where) from error
    return _wrapped(module.eval(), about, about.input_shape, where)


def load_exported(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier from a file of ``torch.export.save``, with the layers that it was made of.

    torch's own reader would unpickle, evaluate formulas and look up functions by name. So the file
    is checked before: no pickles but of plain tensors, no compiled code, formulas of symbols and
    numbers only, and calls of arithmetic on tensors only.

    Args:
        name: The file.
        about: Class names, mean and std.
        allow_nonfinite: For compatibility with other adapters; its weights are not looked at.

    Raises:
        CheckpointError: C01, C02, C03, C07, C08, C19, C21 for a file that is damaged, hostile, or
            does more than arithmetic.
        UsageError: U11 if weights are given.
        ModelContractError: See `Classifier.wrap`.
    """
    where = f"export:{name}"
    data = _program(name, about, where, "models/", "torch.export.save")
    _check_exported(data, where)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of torch's own functions
        try:
            program = torch.export.load(io.BytesIO(data))
            sizes = next(
                node.meta["val"].shape
                for node in program.graph.nodes
                if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
            )
            module: nn.Module = torch.export.unflatten(program)
            plain = program.module()
        except Exception as error:
            raise _unreadable(error, where) from error
    for child in module.modules():
        child.training = False
    if len(sizes) != 4:
        raise CheckpointError(
            f"its input has {len(sizes)} axes, not those of a batch of images", code="C21",
            where=where,
        )  # fmt: skip
    given = about.input_shape or (0, 0, 0)
    own = tuple(int(size) if isinstance(size, int) else None for size in sizes[1:])
    shape = tuple(size or other for size, other in zip(own, given, strict=True))
    if 0 in shape or (about.input_shape and shape != about.input_shape):
        raise ModelContractError(
            f"the program takes images of {' x '.join('?' if s is None else str(s) for s in own)}",
            code="M22" if 0 in shape else "M14",
            where=where,
            hint="--input-shape gives the sizes that are open",
        )
    channels, height, width = (int(size) for size in shape)
    flags: tuple[str, ...] = ()
    if isinstance(sizes[0], int):
        if sizes[0] != 1:
            raise CheckpointError(
                f"it was exported for batches of exactly {sizes[0]} images", code="C21",
                where=where, hint="export it with dynamic_shapes={0: torch.export.Dim('batch')}",
            )  # fmt: skip
        module = RowByRow(module).eval()
        flags = ("row-by-row: it was exported for one image; layers cannot be seen",)
    else:
        _same(module, plain, (channels, height, width), where)
    found = _wrapped(module, about, (channels, height, width), where)
    return replace(found, flags=(*found.flags, *flags)) if flags else found


def _same(module: nn.Module, plain: nn.Module, shape: tuple[int, int, int], where: str) -> None:
    images = random_images(2, shape)
    with torch.no_grad():
        ours, theirs = module(images), plain(images)
    if not torch.allclose(ours, theirs, rtol=0, atol=1e-6 * float(theirs.abs().max())):
        raise CheckpointError("its layers do not give what the program gives", code="C21",
                              where=where)  # fmt: skip


def _wrapped(
    module: nn.Module, about: Description, shape: tuple[int, int, int], where: str
) -> Classifier:
    found = Classifier.wrap(
        module,
        input_shape=shape,
        class_names=about.class_names,
        mean=about.mean,
        std=about.std,
        source=where,
    )
    return with_log_probabilities(found)


def _program(name: str, about: Description, where: str, folder: str, maker: str) -> bytes:
    """The bytes of an archive that holds such a program."""
    if about.weights is not None:
        raise UsageError(f"{where} has its own weights", code="U11", expected="no --weights")
    path = usable_path(name, CheckpointError)
    data = read_whole(path)
    refuse_impostors(data, path)
    names = check_stored(data, path, inflated=MOST_INFLATED)
    if not any(f"/{folder}" in name for name in names):
        raise CheckpointError(
            f"no file of {maker}", code="C03", where=path,
            hint=f"weights alone: package.module:factory --weights {path.name}",
        )  # fmt: skip
    return data


def _check_exported(data: bytes, where: str) -> None:
    """Refuse whatever would make torch run or look up more than arithmetic on tensors."""

    def refuse(what: str, code: str = "C21") -> CheckpointError:
        return CheckpointError(f"{what}: not loaded", code=code, where=where)

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.namelist():
            place = entry.partition("/")[2]
            if place not in FILES and not place.startswith(FOLDERS):
                raise refuse(f"the archive holds {place}, such as compiled code", "C03")
            content = archive.read(entry)
            if place.startswith("data/sample_inputs/") and content:
                check_tensor_archive(content, Path(where))
            if not place.endswith(".json"):
                continue
            try:
                tree = loads_json(content, deepest=200, not_finite=True)
            except (ValueError, json.JSONDecodeError) as error:
                raise refuse(f"{place} is damaged", "C08") from error
            for key, value in _leaves(tree):
                if key == "use_pickle" and value is not False:
                    raise refuse(f"{place} asks for a pickle", "C01")
                if key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value)):
                    raise refuse(f"{place} holds an object of the kind {value}", "C01")
                if key == "target" and (
                    not OPERATORS.fullmatch(str(value)) or str(value).split(".")[-2] in FORBIDDEN
                ):
                    raise refuse(f"the program calls {value}")
                if key in EXPRESSIONS and not is_formula(str(value)):
                    raise refuse(f"a size of {value!r:.80}")


def is_formula(text: str) -> bool:
    """Whether a text is made of numbers, symbols of sizes and the functions that join them.

    Example:
        >>> is_formula("2*s0 + Max(1, s1)"), is_formula("__import__('os')"), is_formula("s0.x")
        (True, False, False)
    """
    if len(text) > 10_000 or not re.fullmatch(r"[\w\s+\-*/(),.=<>']*", text):
        return False
    if re.search(r"\.\s*[A-Za-z_]|\*\*\s*\d{3}", text):
        return False
    words = re.findall(r"[A-Za-z_]\w*", text)
    return all(word in WORDS or re.fullmatch(r"(zuf|[suz])\d+", word) for word in words)


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    waiting = [(key, tree)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, item) for item in value]
        else:
            yield key, value


def _unreadable(error: Exception, where: str) -> CheckpointError:
    words = str(error).strip().splitlines()
    return CheckpointError(
        f"torch cannot read the program: {words[0][:200] if words else type(error).__name__}",
        code="C07",
        where=where,
        hint="save it again with this version of torch",
    )
