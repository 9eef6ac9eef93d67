"""A private copy of a network for methods to run, so that the user's own module is never touched.

Freezing a module in place means undoing every change afterwards, whatever happened in between: an
exception, a signal, a second thread. A copy needs no undoing. The copy made here shares nothing
that can be written to: parameters and buffers have memory of their own, submodules, containers,
hooks and bound methods are rebuilt around the copies, and functions that captured one of the
network's modules are rebuilt to capture its copy.
"""

from __future__ import annotations

import copy
import functools
import random
import types
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.overrides import TorchFunctionMode

from convscope.errors import ModelContractError

_ATOMIC = (
    type(None), bool, int, float, complex, str, bytes, type, range, type(...), type(NotImplemented),
    torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format,
    types.BuiltinFunctionType, types.ModuleType, np.dtype,
)  # fmt: skip
_ATOMIC_TYPES = frozenset(_ATOMIC)
_CONTAINERS = frozenset((dict, OrderedDict, set))


class Eager(nn.Module):
    """Stands in for a module made by ``torch.compile``: runs what was compiled, as written."""

    _orig_mod: nn.Module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The original network's output."""
        return self._orig_mod(*args, **kwargs)


def shadow(module: nn.Module) -> nn.Module:
    """A frozen copy of `module` in evaluation mode that can be run without leaving a trace.

    Args:
        module: The network; it is only read.

    Returns:
        The same structure and classes under the same names, with parameters that require no
        gradient. Modules made by ``torch.compile`` run uncompiled.

    Raises:
        ModelContractError: M23 for a lazy network that has never been run.
    """
    with torch.inference_mode(False), torch.no_grad():
        copier = _Copier(module)
        root = copier.module(module)
        _evaluate(root)
    return root


def _evaluate(root: nn.Module) -> None:
    """Evaluation mode by the network's own ``eval``, which may drop what it keeps for training."""
    try:
        root.eval()
    except NotImplementedError:  # Exported programs: their mode is part of the program.
        for child in root.modules():
            if not isinstance(child, torch.jit.ScriptModule):
                child.training = False


class _Copier:
    """Copies each object once, so that what is shared inside the network stays shared."""

    def __init__(self, root: nn.Module) -> None:
        self.memo: dict[int, Any] = {}
        self.alive: list[Any] = []  # Objects whose ids are keys of `memo`.
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.inside = {id(child) for child in root.modules()}
        self.inside |= {id(p) for p in root.parameters()} | {id(b) for b in root.buffers()}

    # ------------------------------------------------------------------ modules and tensors

    def module(self, module: nn.Module) -> nn.Module:
        known = self.memo.get(id(module))
        if known is not None:
            return cast(nn.Module, known)
        if isinstance(module, torch.jit.ScriptModule):
            made = cast(nn.Module, copy.deepcopy(module))
            for parameter in made.parameters():
                parameter.requires_grad_(False)
            return cast(nn.Module, self._remember(module, made))
        compiled = vars(module).get("_modules", {}).get("_orig_mod")
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
            elif kind in _ATOMIC_TYPES:
                target[name] = value
            elif name in _MODULE_STATE and kind in _CONTAINERS and not value:
                target[name] = kind()
            elif program and name.startswith("_") and name not in _MODULE_STATE:
                target[name] = value  # The graph and its code, which a run only reads.
            else:
                target[name] = self.value(value)
        return made

    def tensor(self, tensor: Tensor) -> Tensor:
        known = self.memo.get(id(tensor))
        if known is not None:
            return cast(Tensor, known)
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise ModelContractError(
                "the network has lazy layers that have never been run",
                code="M23",
                expected="parameters with a shape",
                hint="run it once on a batch of images: module(torch.zeros(1, ...))",
            )
        parameter = isinstance(tensor, nn.Parameter)
        made: Tensor
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided:
            with _DetachedCopies(self):
                made = copy.deepcopy(tensor.detach())
        elif tensor.device.type == "meta":
            made = tensor.detach()
        else:
            made = self._with_own_memory(tensor.detach())
        if parameter and not isinstance(made, nn.Parameter):
            made = nn.Parameter(made, requires_grad=False)
        return cast(Tensor, self._remember(tensor, made))

    def _with_own_memory(self, tensor: Tensor) -> Tensor:
        """A copy; tensors that are views of one memory stay views of one memory."""
        old = tensor.untyped_storage()
        if old.nbytes() > max(LARGE, 2 * tensor.numel() * tensor.element_size()):
            return tensor.clone()  # A small view of something large, such as a data set.
        new = self.storages.get(old._cdata)
        if new is None:
            new = self.storages[old._cdata] = old.clone()  # type: ignore[no-untyped-call]
            self.alive.append(old)
        made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return made.set_(new, tensor.storage_offset(), tensor.size(), tensor.stride())

    # ------------------------------------------------------------------ everything else

    def value(self, value: Any) -> Any:
        """A copy of any attribute; what cannot change is itself."""
        if type(value) in _ATOMIC_TYPES:
            return value
        known = self.memo.get(id(value), self)
        if known is not self:
            return known
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self.tensor(value)
        kind = type(value)
        if isinstance(value, _ATOMIC):
            return value
        if kind is dict or kind is OrderedDict:
            mapping = self._remember(value, kind())
            for key, item in _items(value):
                mapping[key] = self.value(item)
            return mapping
        if kind is list:
            row = self._remember(value, [])
            row.extend(self.value(item) for item in list(value))
            return row
        if kind is tuple:
            return self._remember(value, tuple(self.value(item) for item in value))
        if kind is set:
            return self._remember(value, {self.value(item) for item in list(value)})
        if kind is types.FunctionType:
            return self.function(value)
        if kind is types.MethodType:
            return types.MethodType(self.function(value.__func__), self.value(value.__self__))
        if kind is functools.partial:
            return functools.partial(
                self.value(value.func),
                *(self.captured(item) for item in value.args),
                **{key: self.captured(item) for key, item in value.keywords.items()},
            )
        if kind is torch.Generator:
            return self._remember(value, value.clone_state())
        return self._remember(value, self._whatever(value))

    def _whatever(self, value: Any) -> Any:
        """A deep copy, or the object itself if it is none that can be copied (locks, files)."""
        memo = dict(self.memo)
        try:
            with _DetachedCopies(self):
                return copy.deepcopy(value, memo)
        except Exception:
            return value

    def function(self, function: Any) -> Any:
        """`function`, or one that captured copies where it captured a part of the network."""
        if type(function) is not types.FunctionType:
            return function
        known = self.memo.get(id(function))
        if known is not None:
            return known
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
        changed |= any(
            a is not b for a, b in zip(defaults, function.__defaults__ or (), strict=True)
        )
        if not changed:
            return function
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, defaults or None,
            tuple(cells),
        )  # fmt: skip
        made.__kwdefaults__ = function.__kwdefaults__
        made.__dict__.update(function.__dict__)
        return self._remember(function, made)

    def captured(self, value: Any) -> Any:
        """A copy if `value` belongs to the network; else itself: a hook's list is its owner's."""
        if id(value) in self.inside or id(value) in self.memo:
            return self.value(value)
        if type(value) is types.FunctionType:
            return self.function(value)
        if type(value) is types.MethodType and id(value.__self__) in self.inside:
            return self.value(value)
        if type(value) in (list, tuple) and any(id(item) in self.inside for item in value):
            return self.value(value)
        if type(value) is dict and any(id(item) in self.inside for item in value.values()):
            return self.value(value)
        return value

    def _remember(self, original: Any, made: Any) -> Any:
        self.memo[id(original)] = made
        self.alive.append(original)
        return made


class _DetachedCopies(TorchFunctionMode):
    """While something is deep-copied, its tensors are copied by `copier`, results included."""

    def __init__(self, copier: _Copier) -> None:
        super().__init__()
        self.copier = copier

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__ or func is nn.Parameter.__deepcopy__:
            tensor = args[0]
            if type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided:
                return self.copier.tensor(tensor)
        return func(*args, **(kwargs or {}))


LARGE = 2**26
"""Bytes of a memory that is not copied for the sake of a small view of it."""

_MODULE_STATE = frozenset(vars(nn.Module()))


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    """The items, also while another thread adds one."""
    for _ in range(8):
        try:
            return list(mapping.items())
        except RuntimeError:
            continue
    return list(mapping.copy().items())


class RandomStates:
    """The global random states of torch, NumPy and Python, to be put back where they moved."""

    def __init__(self) -> None:
        self.torch = torch.get_rng_state()
        self.numpy: Any = np.random.get_state()  # noqa: NPY002 - users' networks draw from it
        self.python = random.getstate()
        self.devices = [(d, torch.cuda.get_rng_state(d)) for d in _cuda_devices()]

    def moved(self) -> bool:
        """Whether anybody has drawn since."""
        now: Any = np.random.get_state()  # noqa: NPY002
        return not (
            torch.equal(self.torch, torch.get_rng_state())
            and self.numpy[2] == now[2]
            and np.array_equal(self.numpy[1], now[1])
            and self.numpy[3:] == now[3:]
            and self.python == random.getstate()
            and all(torch.equal(s, torch.cuda.get_rng_state(d)) for d, s in self.devices)
        )

    def rewind(self) -> None:
        """Put all of them back."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)
        for device, state in self.devices:
            torch.cuda.set_rng_state(state, device)


def _cuda_devices() -> Iterator[torch.device]:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield from (torch.device("cuda", i) for i in range(torch.cuda.device_count()))
