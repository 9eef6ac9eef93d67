"""How the parts of a network are copied: modules, tensors, containers, functions, objects.

Each kind of object has a rule. What cannot change is itself; what can is rebuilt around copies of
what it holds; a function that captured a part of the network is rebuilt to capture its copy.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence, Sized
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.overrides import TorchFunctionMode

from convscope._network.black_box import BlackBox
from convscope.devices import WITHOUT_STORAGE
from convscope.errors import ModelContractError

_ATOMIC = frozenset((
    type(None), bool, int, float, complex, str, bytes, type, range, type(...), type(NotImplemented),
    torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, slice,
    types.ModuleType, types.CodeType, property, staticmethod, classmethod,
))  # fmt: skip
_IMMUTABLE = (type, np.generic)
_CONTAINERS = frozenset((dict, OrderedDict, set, list))
_LAZY = (UninitializedParameter, UninitializedBuffer)
_PLAIN_TENSORS = (Tensor, nn.Parameter)
_MODULE_STATE = frozenset(vars(nn.Module()))

HEAP_TYPE = 1 << 9
"""Flag of classes written in Python."""

LARGE = 2**30
"""Bytes of a memory that is not copied for the sake of a small view of it."""


class Eager(nn.Module):
    """Stands in for a module made by ``torch.compile``: runs what was compiled, as written."""

    _orig_mod: nn.Module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The original network's output."""
        return self._orig_mod(*args, **kwargs)


class Copier:
    """Copies each object once, so that what is shared inside the network stays shared."""

    def __init__(self, root: nn.Module, extras: Sequence[Any]) -> None:
        self.copying = False
        self.memo: dict[int, Any] = {}
        self.alive: list[Any] = []  # Objects whose identities are keys of `memo`.
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.slots: dict[type, list[str]] = {}
        self.inside: set[int] = set()
        self.originals: dict[int, str] = {}
        self.parts: dict[int, str] = {}
        roots = [(root, "")] + [(x, "") for x in extras if isinstance(x, nn.Module)]
        for start, _ in roots:
            for name, child in nn.Module.named_modules(start):
                self._collect(name, child)

    def _collect(self, name: str, module: nn.Module) -> None:
        """Everything that is an attribute of a module belongs to the network."""
        self.inside.add(id(module))
        self.parts[id(module)] = name or type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            return
        for kind in ("_parameters", "_buffers"):
            for key, value in list(module.__dict__.get(kind, {}).items()):
                if value is not None:
                    self.inside.add(id(value))
                    self.originals[id(value)] = f"{name}.{key}".lstrip(".")
        for key, value in _items(module.__dict__):
            if key not in _MODULE_STATE and type(value) not in _ATOMIC:
                self.inside.add(id(value))
                if isinstance(value, nn.Module):
                    self.originals.update(
                        (id(t), f"{name}.{key}".lstrip("."))
                        for t in (*nn.Module.parameters(value), *nn.Module.buffers(value))
                    )

    # ------------------------------------------------------------------ modules and tensors

    def module(self, module: nn.Module) -> nn.Module:
        known = self.memo.get(id(module))
        if known is not None:
            return cast(nn.Module, known)
        if isinstance(module, BlackBox):
            return cast(nn.Module, self._remember(module, module.alike()))
        if isinstance(module, torch.jit.ScriptModule):
            made = cast(nn.Module, copy.deepcopy(module))
            for parameter in made.parameters():
                parameter.requires_grad_(False)
            return cast(nn.Module, self._remember(module, made))
        compiled = module.__dict__.get("_modules", {}).get("_orig_mod")
        if compiled is not None and type(module).__name__ == "OptimizedModule":
            eager = Eager()
            self._remember(module, eager)
            eager._modules["_orig_mod"] = self.module(compiled)
            return eager
        made = object.__new__(type(module))
        self._remember(module, made)
        target = made.__dict__
        program = isinstance(module, torch.fx.GraphModule)
        for name, value in _items(module.__dict__):
            kind = type(value)
            if name == "_compiled_call_impl":
                target[name] = None
            elif kind in _ATOMIC:
                target[name] = value
            elif name in _MODULE_STATE and kind in _CONTAINERS and not value:
                target[name] = kind()
            elif program and name.startswith("_") and name not in _MODULE_STATE:
                target[name] = value  # The graph and its code, which a run only reads.
            else:
                target[name] = self.value(value)
        self._slots(module, made)
        return made

    def _slots(self, original: Any, made: Any) -> None:
        kind = type(original)
        names = self.slots.get(kind)
        if names is None:
            names = self.slots[kind] = _slots_of(kind)
        for name in names:
            with contextlib.suppress(AttributeError):  # A slot that was never set.
                value = object.__getattribute__(original, name)
                object.__setattr__(made, name, self.value(value))

    def tensor(self, tensor: Tensor) -> Tensor:
        known = self.memo.get(id(tensor))
        if known is not None:
            return cast(Tensor, known)
        kind = type(tensor)
        if kind not in _PLAIN_TENSORS and isinstance(tensor, _LAZY):
            raise ModelContractError(
                "the network has lazy layers that have never been run",
                code="M23",
                expected="parameters with a shape",
                hint="run it once on a batch of images: module(torch.zeros(1, ...))",
            )
        plain = tensor.detach()
        parameter = kind is nn.Parameter or (
            kind is not Tensor and isinstance(tensor, nn.Parameter)
        )
        made: Tensor
        if kind not in _PLAIN_TENSORS:
            try:
                made = copy.deepcopy(plain)
            except Exception:
                made = plain.clone()
        elif (
            tensor.layout != torch.strided
            or tensor.device.type in WITHOUT_STORAGE
            or tensor.is_quantized
            or tensor.is_conj()
            or tensor.is_neg()
            or tensor.is_nested
        ):
            made = plain.clone()
        else:
            made = self._with_own_memory(plain)
        if parameter and (type(made) is Tensor or not isinstance(made, nn.Parameter)):
            made = nn.Parameter(made, requires_grad=False)
        self._remember(tensor, made)
        for name, value in list(getattr(tensor, "__dict__", {}).items()):
            made.__dict__[name] = self.value(value)
        return made

    def _with_own_memory(self, tensor: Tensor) -> Tensor:
        """A copy; tensors that are views of one memory stay views of one memory."""
        old = tensor.untyped_storage()
        size = tensor.numel() * tensor.element_size()
        if old.nbytes() > max(LARGE, 2 * size):
            return tensor.clone()  # A small view of something large, such as a data set.
        new = self.storages.get(old._cdata)
        if new is None:
            self.alive.append(old)
            if old.nbytes() == size and tensor.is_contiguous():
                made = tensor.clone()
                self.storages[old._cdata] = made.untyped_storage()
                return made
            new = self.storages[old._cdata] = old.clone()  # type: ignore[no-untyped-call]
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return made.set_(new, tensor.storage_offset(), tensor.size(), tensor.stride())

    # ------------------------------------------------------------------ everything else

    def value(self, value: Any) -> Any:
        """A copy of any attribute; what cannot change is itself."""
        kind = type(value)
        if kind in _PLAIN_TENSORS:
            return self.tensor(value)
        if kind in _ATOMIC or isinstance(value, _IMMUTABLE):
            return value
        if kind in (weakref.ProxyType, weakref.CallableProxyType):
            return value  # Cannot be looked into; `trial_run._Watch` sees what it leads to.
        known = self.memo.get(id(value), self)
        if known is not self:
            return known
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, weakref.ReferenceType):
            target = value()
            return value if target is None else self._weak(value, self.value(target))
        copier = _KINDS.get(kind)
        if copier is not None:
            return copier(self, value)
        return self._object(value)

    def _weak(self, value: Any, target: Any) -> Any:
        if type(value) is not weakref.ReferenceType:  # That of a container of weak references.
            return value
        self.alive.append(target)
        return self._remember(value, weakref.ref(target))

    def mapping(self, value: Any) -> Any:
        made = self._remember(value, type(value)())
        for key, item in _items(value):
            mine = item if type(item) in _ATOMIC else self.value(item)
            made[key if type(key) in _ATOMIC else self.value(key)] = mine
        return made

    def row(self, value: list[Any]) -> Any:
        made: list[Any] = self._remember(value, [])
        made.extend(self.value(item) for item in list(value))
        return made

    def rows(self, value: tuple[Any, ...]) -> Any:
        if _ATOMIC.issuperset(map(type, value)):
            return value
        made = tuple(self.value(item) for item in value)
        same = all(a is b for a, b in zip(made, value, strict=True))
        return value if same else self._remember(value, made)

    def group(self, value: set[Any]) -> Any:
        return self._remember(value, type(value)(self.value(item) for item in list(value)))

    def method(self, value: types.MethodType) -> Any:
        return types.MethodType(self.function(value.__func__), self.value(value.__self__))

    def builtin(self, value: Any) -> Any:
        """``some_dict.get`` becomes that of the copied dict; functions stay themselves."""
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType | type):
            return value
        mine = self.value(owner)
        return value if mine is owner else getattr(mine, value.__name__)

    def partial(self, value: functools.partial[Any]) -> Any:
        return functools.partial(
            self.value(value.func),
            *(self.captured(item) for item in value.args),
            **{key: self.captured(item) for key, item in value.keywords.items()},
        )

    def generator(self, value: torch.Generator) -> Any:
        return self._remember(value, value.clone_state())

    def _object(self, value: Any) -> Any:
        """An object of somebody's class, attribute by attribute; a deep copy of a library's."""
        kind = type(value)
        slots = any(vars(base).get("__slots__") for base in kind.__mro__)
        empty = not slots and not getattr(value, "__dict__", None) and not isinstance(value, Sized)
        if empty and (kind.__flags__ & HEAP_TYPE or kind is object):
            return self._remember(value, value)  # Nothing but itself: compared by `is`.
        new: Any = kind.__new__
        made: Any = None
        if new is object.__new__ and kind.__flags__ & HEAP_TYPE:
            with contextlib.suppress(TypeError):  # Locks and other types written in C.
                made = object.__new__(kind)
        if made is not None:
            self._remember(value, made)
            for name, item in _items(getattr(value, "__dict__", {})):
                made.__dict__[name] = self.value(item)
            self._slots(value, made)
            return made
        try:
            with _OwnTensors(self):
                return self._remember(value, copy.deepcopy(value, _Memo(self)))
        except RecursionError:
            raise
        except Exception:
            if isinstance(value, dict):  # As configurations whose keys are attributes.
                table: Any = self._remember(value, dict.__new__(kind))
                dict.update(table, ((self.value(k), self.value(v)) for k, v in _items(value)))
                return table
            # Locks, files, sockets: nothing that a copy could be made of.
            return self._remember(value, value)

    def function(self, function: Any) -> Any:
        """`function`, or one that captured copies where it captured a part of the network."""
        if type(function) is not types.FunctionType:
            return self.value(function)
        known = self.memo.get(id(function))
        if known is not None:
            return known
        self._remember(function, function)  # A function may capture itself.
        cells, changed = [], False
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # Not filled yet.
                cells.append(cell)
                continue
            mine = self.captured(content)
            changed |= mine is not content
            cells.append(cell if mine is content else types.CellType(mine))
        defaults = tuple(self.captured(item) for item in function.__defaults__ or ())
        named = {k: self.captured(v) for k, v in (function.__kwdefaults__ or {}).items()}
        changed |= any(
            a is not b
            for a, b in zip(
                (*defaults, *named.values()),
                (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()),
                strict=True,
            )
        )
        world = self._world(function)
        changed |= world is not function.__globals__
        if not changed:
            return function
        made = types.FunctionType(
            function.__code__, world, function.__name__, defaults or None, tuple(cells)
        )
        made.__kwdefaults__ = named or None
        made.__dict__.update(function.__dict__)
        self.memo[id(function)] = made
        for cell in cells:  # A function that captured itself goes on with its copy.
            with contextlib.suppress(ValueError):
                if cell.cell_contents is function:
                    cells[cells.index(cell)].cell_contents = made
        return made

    def _world(self, function: types.FunctionType) -> dict[str, Any]:
        """The function's globals, with copies where they are parts of the network."""
        world = function.__globals__
        names = [n for n in _names(function.__code__) if id(world.get(n)) in self.inside]
        if not names:
            return world
        return {**world, **{name: self.value(world[name]) for name in names}}

    def captured(self, value: Any) -> Any:
        """A copy if `value` leads to the network; else itself: a hook's list is its owner's."""
        if type(value) is types.FunctionType:
            return self.function(value)
        return self.value(value) if self._leads_inside(value, set(), 0) else value

    def outside(self, value: Any) -> Any:
        """What was given beside the network: modules are copied, functions rebound."""
        return self.value(value) if isinstance(value, nn.Module) else self.captured(value)

    def _leads_inside(self, value: Any, seen: set[int], depth: int) -> bool:
        if type(value) in _ATOMIC or id(value) in seen or depth > 20:
            return False
        if id(value) in self.inside:
            return True
        seen.add(id(value))
        again = functools.partial(self._leads_inside, seen=seen, depth=depth + 1)
        if isinstance(value, dict):
            return any(again(x) for pair in _items(value) for x in pair)
        if isinstance(value, list | tuple | set | frozenset):
            return any(map(again, list(value)))
        if isinstance(value, functools.partial):
            return any(map(again, (value.func, *value.args, *value.keywords.values())))
        if isinstance(value, types.MethodType):
            return again(value.__self__) or again(value.__func__)
        if isinstance(value, types.FunctionType):
            cells = [c.cell_contents for c in value.__closure__ or () if _filled(c)]
            world = value.__globals__
            used = [world[n] for n in _names(value.__code__) if id(world.get(n)) in self.inside]
            return any(map(again, (*cells, *(value.__defaults__ or ()), *used)))
        if isinstance(value, weakref.ReferenceType):
            return again(value())
        if isinstance(value, nn.Module | Tensor | types.ModuleType | type):
            return False
        return any(map(again, list(getattr(value, "__dict__", {}).values())))

    def _remember(self, original: Any, made: Any) -> Any:
        self.memo[id(original)] = made
        self.alive.append(original)
        return made


_KINDS: dict[type, Callable[[Copier, Any], Any]] = {
    dict: Copier.mapping, OrderedDict: Copier.mapping, list: Copier.row, tuple: Copier.rows,
    set: Copier.group, frozenset: Copier.group, types.FunctionType: Copier.function,
    types.MethodType: Copier.method, types.BuiltinFunctionType: Copier.builtin,
    functools.partial: Copier.partial, torch.Generator: Copier.generator,
}  # fmt: skip


def _slots_of(kind: type) -> list[str]:
    """Names under which objects of a class keep what is not in their ``__dict__``."""
    found = []
    for base in kind.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{base.__name__.lstrip('_')}{name}"
            if name not in ("__dict__", "__weakref__"):
                found.append(name)
    return found


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _names(code: types.CodeType) -> set[str]:
    """Global names that a function and the functions inside it may use."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


class _Memo(dict[int, Any]):
    """What `copy.deepcopy` asks for objects that were copied before: the one memo."""

    def __init__(self, copier: Copier) -> None:
        super().__init__()
        self.copier = copier

    def get(self, key: int, default: Any = None) -> Any:
        """The copy of the object with this identity."""
        found = self.copier.memo.get(key, self)
        return super().get(key, default) if found is self else found

    def __setitem__(self, key: int, value: Any) -> None:
        if key == id(self):
            # The list of what a deep copy made for a moment: its identities are in our memo, so
            # it has to live as long as that.
            self.copier.alive.append(value)
        else:
            self.copier.memo.setdefault(key, value)
        super().__setitem__(key, value)


class _OwnTensors(TorchFunctionMode):
    """While something is deep-copied, its tensors are copied by `copier`, results included."""

    def __init__(self, copier: Copier) -> None:
        super().__init__()
        self.copier = copier

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__ or func is nn.Parameter.__deepcopy__:
            tensor = args[0]
            if self.copier.copying and type(tensor) in (Tensor, nn.Parameter):
                return self.copier.tensor(tensor)
        return func(*args, **(kwargs or {}))


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    """The items, also while another thread adds one."""
    for _ in range(8):
        try:
            return list(mapping.items())
        except RuntimeError:
            continue
    return list(mapping.copy().items())
