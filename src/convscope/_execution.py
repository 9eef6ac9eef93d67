"""On which path a network runs: plainly, or with speed tricks that were proven on it.

Three tricks change how a network runs and not what it computes: channels-last layout, exchanging
a ReLU and the max-pooling that alone sees it, and a faster gradient of convolutions of few
channels. They need two proofs. The structure must show that nothing can notice: either every
module is one whose forward is known (torch's own, or this package's), or the network's traced
graph consists of known operations only. And logits and gradients of a small batch must be those of
plain execution. Every other network runs as it is, in torch's default layout.
"""

from __future__ import annotations

import dis
import os
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from convscope._narrow import is_narrow, narrow_convolution
from convscope._reuse import keep, prepared, structure_of, take
from convscope._shadow import RandomStates, shadow

if TYPE_CHECKING:
    from convscope.classifier import Classifier

IN_ORDER = "applies_children_in_order"
"""Class attribute of sequences with a forward of their own that still is a plain sequence."""

SWITCH = "CONVSCOPE_FAST_PATHS"
"""Environment variable: ``0`` or ``off`` runs every network plainly."""

_allowed: ContextVar[bool | None] = ContextVar("fast paths", default=None)


@contextmanager
def fast_paths(on: bool) -> Iterator[None]:
    """Within this context (and thread), allow or forbid every speed trick.

    Args:
        on: ``False`` runs all networks plainly; ``True`` overrules the environment variable
            ``CONVSCOPE_FAST_PATHS=0``.

    Example:
        >>> import convscope
        >>> with convscope.fast_paths(False):
        ...     convscope.load("mnist-conv1").describe()["execution"]
        'plain (fast paths are switched off)'
    """
    token = _allowed.set(on)
    try:
        yield
    finally:
        _allowed.reset(token)


def fast_paths_allowed() -> bool:
    """Whether speed tricks may be used at all."""
    chosen = _allowed.get()
    if chosen is not None:
        return chosen
    return os.environ.get(SWITCH, "").strip().lower() not in ("0", "off", "no", "false")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a `Probe` runs one network.

    Attributes:
        reason: Why it may run fast, or why it runs plainly.
        channels_last: Images and convolution weights are laid out channels-last.
        exchanges: Pairs of module names, a ReLU and the max-pooling after it, that change places.
        narrow: Names of convolutions with the faster gradient.
        draws: Whether the network draws random numbers in evaluation mode.
    """

    reason: str
    channels_last: bool = False
    exchanges: tuple[tuple[str, str], ...] = ()
    narrow: tuple[str, ...] = ()
    draws: bool = True

    @property
    def fast(self) -> bool:
        """Whether any trick is used."""
        return bool(self.channels_last or self.exchanges or self.narrow)

    def __str__(self) -> str:
        """Such as ``"fast: channels-last, 2 exchanged ReLUs (every module is a known one)"``."""
        if not self.fast:
            return f"plain ({self.reason})"
        tricks = ["channels-last"] if self.channels_last else []
        if self.exchanges:
            tricks.append(f"{len(self.exchanges)} x ReLU after max-pooling")
        if self.narrow:
            tricks.append(f"{len(self.narrow)} x fast gradient of a narrow convolution")
        return f"fast: {', '.join(tricks)} ({self.reason})"


class Runner:
    """A private copy of a classifier's network, and how to run it.

    Attributes:
        module: The copy; it may be hooked, and dies with the runner.
        execution: The path it runs on.
    """

    def __init__(
        self, classifier: Classifier, execution: Execution, *, reusable: bool = False
    ) -> None:
        self.classifier = classifier
        self.execution = execution
        origin = structure_of(classifier.module) if reusable else None
        self.module = shadow(classifier.module)
        self._whole = _Switch()
        with torch.inference_mode(False), torch.no_grad():
            _install(self.module, execution, self._whole)
            self._kept = prepared(
                origin, classifier, self.module, self._whole, execution, fast_paths_allowed()
            )

    @classmethod
    def opened(cls, classifier: Classifier) -> Runner:
        """The copy that an earlier Probe has left, if it still is the network, or a fresh one."""
        kept = take(classifier, fast_paths_allowed())
        if kept is None:
            return cls(classifier, execution_of(classifier), reusable=True)
        runner = cls.__new__(cls)
        runner.classifier, runner.execution = classifier, kept.execution
        runner.module, runner._whole, runner._kept = kept.module, kept.whole, kept
        return runner

    def close(self) -> None:
        """Leave the copy to the next Probe, if it can be used again. It must not run any more."""
        kept, self._kept = self._kept, None
        keep(self.classifier, kept)

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels to the network's input, in memory that the network may write to."""
        if self.execution.channels_last and images.ndim == 4:
            images = channels_last(images)
        return self.classifier.prepare(images)

    def __call__(self, prepared: Tensor) -> object:
        """What the whole network returns."""
        self._whole.on = True
        try:
            return self.module(prepared)
        finally:
            self._whole.on = False


class _Switch:
    """Whether the network runs as a whole; with a listener inside, nothing is exchanged."""

    on = False


def channels_last(x: Tensor) -> Tensor:
    """`x` in channels-last layout, also where it has one channel; differentiable.

    With one channel both layouts are the same bytes, and torch takes the strides of the other:
    a network of gray images would then run its first layers, and pools ten times slower. So the
    strides are spelled out.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] != 1:
        return x
    _, _, height, width = x.shape
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def _install(root: nn.Module, execution: Execution, whole: _Switch) -> None:
    """Give the copy's modules the forward methods of the fast path."""
    if execution.channels_last:
        for child in root.modules():
            for name, value in child._parameters.items():
                if value is not None and value.ndim == 4:
                    child._parameters[name] = nn.Parameter(
                        channels_last(value.detach()), requires_grad=False
                    )
    for before, after in execution.exchanges:
        relu, pool = root.get_submodule(before), root.get_submodule(after)
        relu.__dict__["forward"] = _skipped(relu, whole)
        pool.__dict__["forward"] = _rectified(pool, whole)
    for name in execution.narrow:
        layer = root.get_submodule(name)
        layer.__dict__["forward"] = lambda input, layer=layer: narrow_convolution(input, layer)


def _skipped(relu: nn.Module, whole: _Switch) -> Any:
    def forward(input: Tensor) -> Tensor:
        return input if whole.on else nn.ReLU.forward(relu, input)  # type: ignore[arg-type]

    return forward


def _rectified(pool: nn.Module, whole: _Switch) -> Any:
    def forward(input: Tensor) -> Tensor:
        pooled: Tensor = nn.MaxPool2d.forward(pool, input)  # type: ignore[arg-type]
        return torch.relu_(pooled) if whole.on else pooled

    return forward


# ---------------------------------------------------------------------- deciding


def execution_of(classifier: Classifier) -> Execution:
    """The path of this classifier's network as it is now; proven once for each structure."""
    if not fast_paths_allowed():
        return Execution(reason="fast paths are switched off")
    known = classifier._executions
    key = fingerprint(classifier.module)
    if key is None:
        return Execution(reason="TorchScript cannot be looked into")
    execution = known.get(key)
    if execution is None:
        execution = known[key] = _decide(classifier)
    return execution


def _decide(classifier: Classifier) -> Execution:
    module = classifier.module
    if classifier.device.type != "cpu" or classifier.dtype != torch.float32:
        proposed = Execution(reason=f"{classifier.dtype} on {classifier.device.type}")
    elif _all_known(module):
        proposed = Execution(
            reason="every module is a known one",
            channels_last=True,
            exchanges=_pairs_in_sequences(module),
            narrow=_narrow_layers(module),
        )
    else:
        proposed = _traced(module)
    return _checked(classifier, proposed)


def _checked(classifier: Classifier, proposed: Execution) -> Execution:
    """`proposed` if a small batch shows the same logits and gradients, else plain execution.

    Where channels-last is what fails, as in networks that flatten by ``view``, the other tricks
    are tried without it.
    """
    states = RandomStates()
    try:
        expected = _sample(classifier, Execution(reason=""))
        if states.moved():
            return Execution(reason="it draws random numbers")
        why = proposed.reason
        for attempt in (proposed, replace(proposed, channels_last=False)):
            if not attempt.fast:
                continue
            try:
                found = _sample(classifier, attempt)
            except Exception as error:
                why = f"a trial on the fast path failed: {type(error).__name__}"
                continue
            if all(map(_same, found, expected)):
                return replace(attempt, draws=False)
            why = "the fast path gave other numbers"
        return Execution(reason=why, draws=False)
    except Exception as error:
        return Execution(reason=f"it could not be tried: {type(error).__name__}")
    finally:
        if states.moved():
            states.rewind()


def _same(found: Tensor, expected: Tensor) -> bool:
    size = max(float(expected.abs().max()), 1e-30)
    return torch.allclose(found, expected, rtol=0, atol=TOLERANCE * size)


TOLERANCE = 2e-5
"""How far fast and plain numbers may differ, as a share of the largest: rounding in other order."""


def _sample(classifier: Classifier, execution: Execution) -> tuple[Tensor, Tensor]:
    """Logits of two random images, and the gradient of a random mix of them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, *classifier.input_shape, generator=generator)
    runner = Runner(classifier, execution)
    with torch.inference_mode(False), torch.enable_grad():
        x = images.requires_grad_(True)
        logits = classifier.read(runner(runner.prepare(x)), 2)
        mix = torch.randn(logits.shape, generator=generator, dtype=logits.dtype)
        (gradient,) = torch.autograd.grad((logits * mix.to(logits.device)).sum(), x)
    return logits.detach(), gradient


def fingerprint(module: nn.Module) -> tuple[Any, ...] | None:
    """Everything plain that a forward may branch on: classes, settings, hooks, names."""
    rows: list[Any] = []
    for path, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            return None
        rows.append((path, type(child)))
        for name, value in list(vars(child).items()):
            if name == "training":
                continue
            kind = type(value)
            if kind in _PLAIN:
                rows.append((name, value))
            elif kind is tuple:
                rows.append((name, repr(value)))
            elif name in _HOOKS:
                if value:
                    rows.append((name, tuple(map(id, list(value.values())))))
            elif name not in _STATE and not isinstance(value, nn.Module | Tensor):
                rows.append((name, id(value)))
        rows.append(tuple((n, p.dtype) for n, p in child._parameters.items() if p is not None))
        rows.append(next((p.device for p in child._parameters.values() if p is not None), None))
    return tuple(rows)


_PLAIN = frozenset((bool, int, float, str, type(None), type))
_HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith("_hooks"))
_STATE = frozenset(vars(nn.Module()))

# ---------------------------------------------------------------------- structure: known modules


def _is_known(module: nn.Module) -> bool:
    home = type(module).__module__
    return home.startswith(("torch.nn.modules.", "convscope.models.")) and not (
        "forward" in vars(module) or "_modules" not in vars(module)
    )


def _all_known(module: nn.Module) -> bool:
    """Whether every module's forward is torch's own or ours, and nobody listens."""
    return all(_is_known(child) and not _hooked(child) for child in module.modules())


def _hooked(module: nn.Module) -> bool:
    return any(bool(vars(module).get(name)) for name in _HOOKS if "state_dict" not in name)


def _narrow_layers(module: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, child in module.named_modules() if is_narrow(child))


def _pairs_in_sequences(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """Neighbors ReLU and max-pooling in sequences, each used in one place only."""
    uses = Counter(
        id(item) for child in module.modules() for item in child._modules.values() if item
    )
    pairs = []
    for path, chain in module.named_modules():
        plain = type(chain) is nn.Sequential or IN_ORDER in type(chain).__dict__
        if not plain or uses[id(chain)] > 1:
            continue
        items = list(chain._modules.items())
        for (one, relu), (two, pool) in pairwise(items):
            if _exchangeable(relu, pool) and uses[id(relu)] == uses[id(pool)] == 1:
                pairs.append((f"{path}.{one}".lstrip("."), f"{path}.{two}".lstrip(".")))
    return tuple(pairs)


def _exchangeable(relu: nn.Module | None, pool: nn.Module | None) -> bool:
    return type(relu) is nn.ReLU and type(pool) is nn.MaxPool2d and not pool.return_indices


# ---------------------------------------------------------------------- structure: traced graphs

_MODULES = (
    nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.GroupNorm, nn.LocalResponseNorm,
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.PReLU,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample,
    nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.Dropout, nn.Dropout2d,
    nn.Identity, nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
_FUNCTIONS = frozenset((
    "relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "hardtanh", "sigmoid", "tanh", "softplus", "flatten", "cat", "concat", "add",
    "iadd", "sub", "mul", "imul", "truediv", "getitem", "getattr", "mean", "max_pool2d",
    "boolean_dispatch", "avg_pool2d", "adaptive_avg_pool2d", "dropout", "softmax", "log_softmax",
    "interpolate", "pad", "reshape", "clamp", "size", "neg", "abs", "floordiv", "_adaptive_avg",
))  # fmt: skip
_METHODS = frozenset((
    "relu", "relu_", "sigmoid", "tanh", "flatten", "view", "reshape", "mean", "size", "add",
    "add_", "mul", "mul_", "sub", "div", "clamp", "squeeze", "unsqueeze", "softmax",
    "log_softmax", "contiguous", "dim", "sum", "amax",
))  # fmt: skip


def _traced(module: nn.Module) -> Execution:
    """What the graph of a network allows; plain execution if it shows anything unknown."""
    doubt = next((words for words in map(_doubt, module.modules()) if words), None)
    if doubt is not None:
        return Execution(reason=doubt)
    copy = shadow(module)
    try:
        graph = torch.fx.Tracer().trace(copy)
    except Exception:
        return Execution(reason="its forward cannot be traced")
    modules = dict(copy.named_modules())
    calls: Counter[str] = Counter()
    for node in graph.nodes:
        name = getattr(node.target, "__name__", str(node.target))
        if node.op == "call_module":
            calls[str(node.target)] += 1
            if type(modules[str(node.target)]) not in _MODULES:
                kind = type(modules[str(node.target)]).__name__
                return Execution(reason=f"{kind} is not known to allow it")
        elif node.op == "call_function" and name not in _FUNCTIONS:
            return Execution(reason=f"the function {name} is not known to allow it")
        elif node.op == "call_method" and name not in _METHODS:
            return Execution(reason=f"the method {name} is not known to allow it")
        elif node.op == "placeholder" and node.prev.op == "placeholder":
            return Execution(reason="it takes more than one input")
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or len(node.users) != 1:
            continue
        user = next(iter(node.users))
        if user.op != "call_module" or calls[str(node.target)] + calls[str(user.target)] != 2:
            continue
        relu, pool = modules[str(node.target)], modules[str(user.target)]
        if not _exchangeable(relu, pool) or user.args[0] is not node:
            continue
        alone = len(node.args[0].users) == 1  # An in-place ReLU overwrites what others may read.
        if alone or not relu.inplace:
            pairs.append((str(node.target), str(user.target)))
    narrow = tuple(name for name, child in modules.items() if calls[name] and is_narrow(child))
    return Execution(
        reason="its traced graph has known operations only",
        channels_last=True,
        exchanges=tuple(pairs),
        narrow=narrow,
    )


def _doubt(module: nn.Module) -> str | None:
    """Why a module of somebody's own may compute something else than its trace, or ``None``."""
    kind = type(module).__name__
    if _hooked(module):
        return f"{kind} has hooks"
    if "forward" in vars(module):
        return f"{kind} has a forward of its own"
    if _is_known(module):
        return None
    if type(module).__module__.startswith("torch.nn.utils"):
        return f"{kind} computes its parameters"
    for name, value in vars(module).items():
        if name in _STATE or type(value) in _PLAIN or isinstance(value, nn.Module):
            continue
        if type(value) is tuple and all(type(item) in _PLAIN for item in value):
            continue
        return f"{kind}.{name} can change from call to call"
    forward = type(module).forward
    if type(forward) is not types.FunctionType or forward.__closure__:
        return f"{kind}.forward cannot be looked into"
    for instruction in dis.get_instructions(forward):
        if instruction.opname in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL"):
            return f"{kind}.forward keeps state"
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            name = str(instruction.argval)
            if name in forward.__globals__ and not _is_library(forward.__globals__[name]):
                return f"{kind}.forward depends on {instruction.argval}"
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            helper = getattr(type(module), str(instruction.argval), None)
            if type(helper) is types.FunctionType and not _is_library(helper):
                return f"{kind}.forward calls {instruction.argval}"
    return None


def _is_library(value: object) -> bool:
    """A builtin, or something of torch: nothing of the user's that could change."""
    if isinstance(value, types.BuiltinFunctionType):
        return True
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0] in ("torch", "math")
    home = getattr(value, "__module__", None) or ""
    return isinstance(value, type | types.FunctionType) and home.partition(".")[0] in (
        "torch", "math",
    )  # fmt: skip
