"""Reading the pickles of CIFAR-10's python layout without running anything from them.

Two independent fences. The opcodes are looked at before the first one runs: only those that build
plain values and arrays may occur, and none may declare more than the file holds. Then the unpickler
finds, instead of NumPy's functions, inert stand-ins that only note what they were given; the array
is made from those notes, after its size has been compared with the bytes that are there.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError

PLAIN_OPCODES = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK"),
        *("EMPTY_DICT", "DICT", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    )
)
MOST_OPCODES = 400_000
MOST_TUPLES = 20_000  # hashing a few hundred thousand nested ones would overflow the C stack


@dataclass
class _DataType:
    """What a pickle says about an element type."""

    name: str

    def __setstate__(self, state: object) -> None:
        """Byte order and flags: without meaning for single bytes."""


class _Array:
    """What a pickle says about an array."""

    shape: tuple[int, ...] = ()
    kind: object = None
    fortran: object = False
    raw: object = b""

    def __setstate__(self, state: object) -> None:
        """Note shape, element type, order and bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("array state is not of the usual form")
        _, self.shape, self.kind, self.fortran, self.raw = state


def _reconstruct(*_arguments: object) -> _Array:
    return _Array()


def _frombuffer(raw: object, kind: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", raw))
    return array


def _datatype(name: object, *_flags: object) -> _DataType:
    return _DataType(name.decode("ascii") if isinstance(name, bytes) else str(name))


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("only text as latin1 is expected")
    return text.encode("latin1")


def _empty_bytes(*arguments: object) -> bytes:
    if arguments:
        raise pickle.UnpicklingError("only empty byte strings are made by a call")
    return b""


class _StandIn:
    """A callable that a pickle cannot alter: no dictionary, no assignment."""

    __slots__ = ("make",)
    make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "make", make)

    def __call__(self, *arguments: object) -> Any:
        """What stands for the call of the real thing."""
        return self.make(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a pickle can ask for it."""
        raise pickle.UnpicklingError("stand-ins do not change")


STAND_INS: dict[tuple[str, str], _StandIn] = {
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_frombuffer),
    ("numpy._core.numeric", "_frombuffer"): _StandIn(_frombuffer),
    ("numpy", "ndarray"): _StandIn(_reconstruct),
    ("numpy", "dtype"): _StandIn(_datatype),
    ("_codecs", "encode"): _StandIn(_encode),
    ("__builtin__", "bytes"): _StandIn(_empty_bytes),
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, where: Path) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, never the real thing."""
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise _hostile(f"pickle asks for {module}.{name}", self.where) from None

    def persistent_load(self, pid: object) -> Any:
        """Nothing is loaded from elsewhere."""
        raise _hostile("pickle asks for an outside object", self.where)


def read_pickle(data: bytes, *, where: Path) -> dict[str, Any]:
    """The dictionary in a pickle of plain values and byte arrays.

    Args:
        data: The whole file.
        where: For the error texts.

    Returns:
        Values by name; arrays as NumPy bytes, byte strings as they are.

    Raises:
        DataError: ``D17`` when the pickle asks for anything else than a byte array, ``D18`` when
            it declares more than it holds, ``D13`` when it is damaged.

    Example:
        >>> content = pickle.dumps({"labels": [1, 2], "data": np.zeros((1, 2), np.uint8)})
        >>> read_pickle(content, where=Path("batch"))["data"].shape
        (1, 2)
    """
    try:
        _inspect(data, where)
        content = _Unpickler(data, where).load()
        if not isinstance(content, dict):
            raise DataError(
                f"pickle holds a {type(content).__name__}",
                code="D17",
                where=where,
                expected="a dictionary with data and labels",
            )
        return {_text(key): _array(value, where) for key, value in content.items()}
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"pickle is damaged ({type(error).__name__})",
            code="D13",
            where=where,
            hint="download it again",
        ) from None


def _inspect(data: bytes, where: Path) -> None:
    """Look at every opcode before one runs."""
    tuples = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name not in PLAIN_OPCODES:
            raise _hostile(f"pickle uses the instruction {name}", where)
        if name == "GLOBAL":
            module, _, function = str(argument).partition(" ")
            if (module, function) not in STAND_INS:
                raise _hostile(f"pickle asks for {module}.{function}", where)
        elif name in ("LONG_BINPUT", "PUT", "FRAME") and int(argument or 0) > len(data):
            raise _exaggerated(f"declares {int(argument or 0):,} entries", data, where)
        tuples += name.startswith("TUPLE")
        if count > MOST_OPCODES or tuples > MOST_TUPLES:
            raise _exaggerated("has too many instructions", data, where)


def _exaggerated(what: str, data: bytes, where: Path) -> DataError:
    return DataError(f"pickle of {len(data):,} bytes {what}", code="D18", where=where)


def _array(value: object, where: Path) -> Any:
    """The array that a stand-in describes; other values as they are."""
    if not isinstance(value, _Array):
        return value
    shape, raw = value.shape, value.raw
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise DataError("array in the pickle has no shape", code="D18", where=where)
    kind = value.kind.name if isinstance(value.kind, _DataType) else "?"
    if kind not in ("u1", "|u1", "uint8"):
        raise DataError(f"array of type {kind}", code="D17", where=where, expected="bytes (u1)")
    if not isinstance(raw, bytes | bytearray) or math.prod(shape) != len(raw):
        held = len(raw) if isinstance(raw, bytes | bytearray) else 0
        raise DataError(
            f"pickle declares an array of {'x'.join(map(str, shape))} bytes and holds {held:,}",
            code="D18",
            where=where,
        )
    flat: NDArray[np.uint8] = np.frombuffer(raw, np.uint8)
    return flat.reshape(shape, order="F" if value.fortran else "C")


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _hostile(what: str, where: Path) -> DataError:
    return DataError(
        f"{what}; nothing was run",
        code="D17",
        where=where,
        expected="a CIFAR-10 batch: numbers, names and one byte array",
        hint="do not open this file with Python; get the data set again from its official page",
    )
