"""What the objects hold that a network carries beside its tensors, to tell whether it changed.

A survey of a network stays true as long as nothing changes that its forward may branch on. Settings
of modules are compared by `fingerprint`. Modules of other people also carry dictionaries, lists and
configuration objects, which can change inside: those are followed here, value by value. What cannot
be seen through ends the snapshot, and the survey is made again. Out of sight by design are globals
of Python modules, class attributes of `torch.nn.Module` classes, and the values of tensors.
"""

from __future__ import annotations

import enum
import functools
import struct
import types
from typing import Any

import torch
from torch import Tensor, nn

from convscope._network.execution import HOOKS, MODULE_STATE, PLAIN, ById, global_hooks
from convscope._network.runner import ClassifierLike

MOST_VALUES = 100_000
"""How many values a snapshot follows."""
DEEPEST = 100
"""How deep it follows values into one another."""


def snapshot(classifier: ClassifierLike) -> tuple[Any, ...] | None:
    """Everything that objects of a network and its preprocessing hold, to compare.

    Returns:
        ``None`` if something in it could change unseen: hooks, functions of a user, objects with
        memory that Python does not show.
    """
    if global_hooks():
        return None
    walk = _Walk()
    rows: list[Any] = []
    if classifier.preprocess is not None:
        rows.append(walk.follow(classifier.preprocess, 0))
    for child in nn.Module.modules(classifier.module):
        if isinstance(child, torch.jit.ScriptModule):
            return None
        for name, value in list(vars(child).items()):
            if name in HOOKS:
                if value and "state_dict" not in name:
                    return None
            elif type(value) in PLAIN or _is_plain_row(value):
                continue  # `fingerprint` has them.
            elif name not in MODULE_STATE and not isinstance(value, nn.Module | Tensor):
                rows.append(walk.follow(value, 0))
                if walk.blind:
                    return None
    return None if walk.blind else tuple(rows)


class _Walk:
    """Follows values; each object once.

    Attributes:
        blind: Something was met that could change unseen.
    """

    def __init__(self) -> None:
        self.blind = False
        self._met: set[int] = set()
        self._classes: set[type] = set()
        self._left = MOST_VALUES

    def follow(self, value: Any, depth: int) -> Any:
        """What a value holds; of one that was met before, only which it was."""
        kind = type(value)
        self._left -= 1
        if kind in PLAIN or _is_plain_row(value):
            return kind, value
        if kind is ById:
            return value
        if id(value) in self._met:
            return kind, ById(value)
        if self.blind or self._left < 0 or depth > DEEPEST:
            self.blind = True
            return None
        self._met.add(id(value))
        parts = self._parts(value, kind)
        if parts is None:
            self.blind = True
            return None
        self._left -= len(parts)
        inside = [
            (type(part), part) if type(part) in PLAIN else self.follow(part, depth + 1)
            for part in parts
        ]
        return (kind, ById(value), *inside)

    def _parts(self, value: Any, kind: type) -> list[Any] | None:
        """The values inside a value; ``None`` if there may be more than one can see."""
        if kind in _FIXED:
            return []
        if kind is types.BuiltinFunctionType:  # Also what a method of a dictionary is.
            owner = value.__self__
            return [] if owner is None or type(owner) is types.ModuleType else None
        if kind is types.FunctionType:
            if value.__closure__:
                return None
            own = (value.__defaults__, value.__kwdefaults__, value.__dict__)
            return [ById(value.__code__), *own]
        if kind is types.MethodType:
            return [value.__func__, value.__self__]
        if kind is functools.partial:
            return [value.func, value.args, value.keywords, vars(value)]
        if kind in (list, tuple, set, frozenset):
            return list(value)
        if kind is dict:
            return [item for pair in list(value.items()) for item in pair]
        if issubclass(kind, enum.Enum):
            return [vars(value)["_value_"]] if set(vars(value)) <= _OF_ENUM else None
        if issubclass(kind, nn.Module | Tensor | type) or not _all_in_dict(kind):
            return None
        mine = [item for pair in list(vars(value).items()) for item in pair]
        if kind in self._classes:
            return mine
        self._classes.add(kind)
        return mine + _of_class(kind)


def _is_plain_row(value: Any) -> bool:
    """Whether a value is a tuple of numbers and names, which cannot change."""
    return type(value) is tuple and PLAIN.issuperset(map(type, value))


def _of_class(kind: type) -> list[Any]:
    """Values and functions that objects of a class have from it."""
    parts: list[Any] = []
    for base in kind.__mro__[:-1]:
        for name, value in list(vars(base).items()):
            if isinstance(value, _CODE):
                parts += [name, ById(value)]
            elif not name.startswith("__"):
                parts += [name, value]
    return parts


def _all_in_dict(kind: type) -> bool:
    """Whether objects of a class keep all that they are in their ``__dict__``.

    Not if it has slots or comes from a class written in C with memory of its own.
    """
    pointers = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    own = kind.__basicsize__ - object.__basicsize__ - pointers * struct.calcsize("P")
    return kind.__dictoffset__ != 0 and kind.__itemsize__ == 0 and own <= 0


_FIXED = frozenset((torch.dtype, torch.device, torch.Size))
_CODE = (types.FunctionType, staticmethod, classmethod, property)
_OF_ENUM = frozenset(("_value_", "_name_", "__objclass__", "_sort_order_"))
