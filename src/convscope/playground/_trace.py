"""From somebody's network to a list of operations that the page's engine knows, by `torch.fx`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from convscope._network.frozen_copy import frozen_copy
from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.errors import ModelContractError

ROWS = 2
"""Images of the example: two, so that an axis of images is told from others of length one."""


@dataclass
class Node:
    """One operation on one image.

    Attributes:
        op: As in ``nn.js``.
        sources: Numbers of the nodes it takes.
        shape: Of its result, without the axis of images.
        name: Of the layer, or empty where there is nothing to look at.
        settings: Numbers and lists.
        tensors: Weights by the names that the engine has for them; None: there is none.
        folded: Whether a batch normalization became part of the weights.
    """

    op: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    folded: bool = False


@dataclass
class Traced:
    """A network as operations.

    Attributes:
        nodes: In an order in which they can be run; the first is the image, the last the logits.
        places: Names of modules, and the node that holds what each returned last.
    """

    nodes: list[Node]
    places: dict[str, int]


def trace(classifier: Classifier) -> Traced:
    """The operations from pixels in [0, 1] to logits.

    The network is copied and only the copy is traced, in evaluation mode.

    Raises:
        ModelContractError: M27 with the name of a layer that the engine cannot do, or if what
            the network does depends on the values it sees.
    """
    if classifier.preprocess is not None:
        raise refusal("the preprocessing", "a function of your own before the network")
    if classifier.output is not None:
        raise refusal("the output", "a function of your own that picks the logits")
    images = random_images(ROWS, classifier.input_shape)
    module = frozen_copy(classifier.module)
    # Tracing changes how modules of the traced copy are reached; the example runs through another.
    tracer = _Tracer(
        frozen_copy(classifier.module), classifier.prepare(images).to("cpu", torch.float32)
    )
    try:
        with torch.no_grad():
            tracer.trace(module)
    except ModelContractError:
        raise
    except Exception as error:  # whatever the network's code does with a symbol in a tensor's place
        words = " ".join(str(error).split())[:160]
        raise refusal(
            type(classifier.module).__name__, f"what it does cannot be followed: {words}"
        ) from error
    return _Builder(classifier, tracer).build()


class _Known(fx.Proxy):
    """A value in the making that knows its shape, because an example runs along."""

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            return getattr(self.tracer.seen[self.node], name)  # type: ignore[attr-defined]
        return super().__getattr__(name)

    def __len__(self) -> int:
        return len(self.tracer.seen[self.node])  # type: ignore[attr-defined]


_FACTS = (
    "shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad", "size", "dim",
    "numel", "nelement", "is_floating_point", "is_contiguous",
)  # fmt: skip
"""What code may ask of a tensor, and branch on, without looking at its numbers."""


class _Tracer(fx.Tracer):
    """Follows a network while an example runs through it.

    Attributes:
        seen: What each node returned for the example.
        live: Nodes that depend on the image.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.module, self.example = module, example
        self.seen: dict[fx.Node, Any] = {}
        self.live: set[fx.Node] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in _MODULES or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Known(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        made = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        node = made.node
        self.seen[node] = value = self._value(node)
        if kind == "placeholder" or any(n in self.live for n in node.all_input_nodes):
            self.live.add(node)
            if not isinstance(value, Tensor):
                called = getattr(target, "__name__", str(target))
                raise refusal(f"{node.name} ({called})", "it makes no tensor of the image")
            return made
        # Sizes, numbers and constants are the same for every image: code goes on with them.
        return made if isinstance(value, Tensor) else value

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.example
        if node.op == "get_attr":
            met = vars(self.root).get(str(node.target))  # a tensor that no module holds
            return met if met is not None else operator.attrgetter(str(node.target))(self.module)
        args, kwargs = (fx.node.map_arg(part, self.value_of) for part in (node.args, node.kwargs))
        if node.op == "call_module":
            return self.module.get_submodule(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def value_of(self, node: fx.Node) -> Any:
        """What a node returned; a constant that was met on the way has no proxy."""
        if node not in self.seen:
            self.seen[node] = self._value(node)
        return self.seen[node]


def refusal(layer: str, why: str) -> ModelContractError:
    """The error for what cannot be done on a page."""
    return ModelContractError(
        f"the playground cannot run {layer}: {why}",
        code="M27",
        expected="convolutions, dense layers, normalization, common activations, pooling, sums, "
        "products and concatenations",
        hint="leave --playable out; the rest of the report does not need it",
    )


class _Builder:
    """Emits nodes while an example runs through the traced program.

    Attributes:
        values: Of each traced node, the number of a node, or a plain value.
    """

    def __init__(self, classifier: Classifier, tracer: _Tracer) -> None:
        self.classifier, self.tracer = classifier, tracer
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, Any] = {}
        self.current: fx.Node | None = None
        self.name = ""

    def build(self) -> Traced:
        classifier = self.classifier
        self.nodes.append(Node("input", (), tuple(classifier.input_shape)))
        start = 0
        if classifier.mean is not None or classifier.std is not None:
            start = self._normalization()
        places: dict[str, int] = {}
        for node in self.tracer.graph.nodes:
            self.current = node
            if node.op == "placeholder":
                if self.values:
                    raise refusal("the network", "it takes more than an image")
                self.values[node] = start
            elif node.op == "output":
                return Traced(self._finished(node.args[0]), places)
            else:
                self.values[node] = self._emit(node)
                if isinstance(self.values[node], _Ref):
                    self.values[node] = int(self.values[node].index)
                    for name in (node.meta.get("nn_module_stack") or {}).values():
                        path = name[0] if isinstance(name, tuple) else ""
                        places[path] = self.values[node]
                    if node.op == "call_module":
                        places[str(node.target)] = self.values[node]
        raise AssertionError("a program without an output")

    def _normalization(self) -> int:
        channels = self.classifier.input_shape[0]
        mean = torch.tensor(self.classifier.mean or (0.0,)).expand(channels)
        std = torch.tensor(self.classifier.std or (1.0,)).expand(channels)
        self.nodes.append(
            Node(
                "affine",
                (0,),
                tuple(self.classifier.input_shape),
                tensors={"scale": 1 / std, "shift": -mean / std},
            )
        )
        return 1

    def _finished(self, returned: Any) -> list[Node]:
        if not isinstance(returned, fx.Node) or not isinstance(self.values[returned], int):
            raise refusal("the output", "the network returns something else than one tensor")
        last = self.values[returned]
        if self.classifier.probabilities:
            shape = self.nodes[last].shape
            self.nodes.append(Node("log", (last,), shape))
            last = len(self.nodes) - 1
        if self.nodes[last].shape != (self.classifier.num_classes,):
            raise refusal("the output", f"one image gives {self.nodes[last].shape}")
        return self.nodes[: last + 1]

    # ---- What the rules below use --------------------------------------------------------------

    def _emit(self, node: fx.Node) -> Any:
        if node not in self.tracer.live:
            return self.tracer.value_of(node)  # a buffer, a size: the same for every image
        arguments = fx.node.map_arg(node.args, self._argument)
        options = fx.node.map_arg(node.kwargs, self._argument)
        self.name = str(node.target) if node.op == "call_module" else node.name
        if node.op == "call_module":
            module = self.tracer.module.get_submodule(str(node.target))
            rule = _MODULES.get(type(module))
            if rule is None:
                raise refusal(f"{self.name} ({type(module).__name__})", "no such operation there")
            return rule(self, module, *arguments, **options)
        rule = (_METHODS if node.op == "call_method" else _FUNCTIONS).get(node.target)
        if rule is None:
            called = getattr(node.target, "__name__", str(node.target))
            raise refusal(f"{self.name} ({called})", "no such operation there")
        try:
            return rule(self, *arguments, **options)
        except TypeError as error:
            raise refusal(self.name, f"its arguments are not known: {error}") from error

    def _argument(self, node: fx.Node) -> Any:
        value = self.values[node]
        return _Ref(value, node) if node in self.tracer.live else value

    def out_shape(self) -> tuple[int, ...]:
        assert self.current is not None
        shape = tuple(self.tracer.value_of(self.current).shape)
        if not shape or shape[0] != ROWS:
            raise refusal(self.name, "its result has no axis of images")
        return shape[1:]

    def shape_of(self, ref: _Ref) -> tuple[int, ...]:
        return self.nodes[ref.index].shape

    def maps(self, ref: _Ref) -> tuple[int, ...]:
        """The shape of feature maps, or a refusal."""
        shape = self.shape_of(ref)
        if len(shape) != 3:
            raise refusal(self.name, f"it takes values of shape {shape}, no maps")
        return shape

    def add(self, op: str, *refs: _Ref, name: str | None = None, **settings: Any) -> _Ref:
        tensors = settings.pop("tensors", {})
        self.nodes.append(
            Node(
                op,
                tuple(ref.index for ref in refs),
                self.out_shape(),
                self.name if name is None else name,
                settings,
                tensors,
            )
        )
        return _Ref(len(self.nodes) - 1, self.current)


@dataclass(frozen=True)
class _Ref:
    """A value that depends on the image: the node that makes it, and where it was traced."""

    index: int
    traced: fx.Node | None


def _pair(value: int | Sequence[int]) -> list[int]:
    return [int(value)] * 2 if isinstance(value, int) else [int(v) for v in value]


def _kept(weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.detach().to("cpu", torch.float32).clone()


def _per_channel(build: _Builder, x: _Ref, constant: Any) -> Tensor | float | None:
    """A constant factor or summand as a number or one number per channel; None: it is neither."""
    if isinstance(constant, int | float):
        return float(constant)
    if not isinstance(constant, Tensor):
        return None
    constant = constant.detach().to("cpu", torch.float32)
    if constant.numel() == 1:
        return float(constant)
    shape = build.shape_of(x)
    wide = constant.expand(ROWS, *shape)[0] if constant.ndim <= len(shape) + 1 else constant
    first = wide.reshape(shape[0], -1)[:, :1]
    same = bool((wide.reshape(shape[0], -1) == first).all())
    return first[:, 0].clone() if same else None


# ---- Layers with weights ---------------------------------------------------------------------


def _conv2d(build: _Builder, m: nn.Conv2d, x: _Ref) -> _Ref:
    build.maps(x)
    kernel, stride, dilation = _pair(m.kernel_size), _pair(m.stride), _pair(m.dilation)
    padding = m.padding
    if m.padding_mode != "zeros":
        raise refusal(f"{build.name} (Conv2d)", f"padding of the kind {m.padding_mode!r}")
    if padding == "same":
        extra = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(e % 2 for e in extra):
            raise refusal(f"{build.name} (Conv2d)", "uneven padding")
        sides = [e // 2 for e in extra]
    else:
        sides = [0, 0] if padding == "valid" else _pair(padding)  # type: ignore[arg-type]
    return build.add(
        "conv2d",
        x,
        kernel=kernel,
        stride=stride,
        padding=sides,
        dilation=dilation,
        groups=m.groups,
        tensors={"weight": _kept(m.weight), "bias": _kept(m.bias)},
    )


def _linear(build: _Builder, m: nn.Linear, x: _Ref) -> _Ref:
    if len(build.shape_of(x)) != 1:
        raise refusal(f"{build.name} (Linear)", "it takes maps that were not flattened")
    return build.add("linear", x, tensors={"weight": _kept(m.weight), "bias": _kept(m.bias)})


def _batch_norm(build: _Builder, m: nn.BatchNorm2d | nn.BatchNorm1d, x: _Ref) -> _Ref:
    if m.running_mean is None or m.running_var is None:
        raise refusal(f"{build.name} ({type(m).__name__})", "statistics of the batch itself")
    mean, var = m.running_mean.double(), m.running_var.double()
    scale = (var + m.eps).rsqrt() * (1 if m.weight is None else m.weight.detach().double())
    shift = (0 if m.bias is None else m.bias.detach().double()) - mean * scale
    before = build.nodes[x.index]
    only = x.traced is not None and len(x.traced.users) == 1
    if before.op in ("conv2d", "linear") and only and not before.folded:
        weight, bias = before.tensors["weight"], before.tensors["bias"]
        assert weight is not None
        before.tensors["weight"] = (
            weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
        ).float()
        before.tensors["bias"] = (shift + (0 if bias is None else bias.double() * scale)).float()
        before.folded = True
        return _Ref(x.index, build.current)
    return build.add("affine", x, tensors={"scale": scale.float(), "shift": shift.float()})


# ---- Functions of single numbers -------------------------------------------------------------


def _function(op: str) -> Callable[..., _Ref]:
    def rule(build: _Builder, x: _Ref, inplace: bool = False) -> _Ref:
        return build.add(op, x)

    return rule


def _leaky_relu(
    build: _Builder, x: _Ref, negative_slope: float = 0.01, inplace: bool = False
) -> _Ref:
    return build.add("leaky_relu", x, slope=float(negative_slope))


def _elu(build: _Builder, x: _Ref, alpha: float = 1.0, inplace: bool = False) -> _Ref:
    return build.add("elu", x, alpha=float(alpha))


def _gelu(build: _Builder, x: _Ref, approximate: str = "none") -> _Ref:
    return build.add("gelu" if approximate == "none" else "gelu_tanh", x)


def _hardtanh(
    build: _Builder, x: _Ref, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> _Ref:
    return build.add("clamp", x, min=float(min_val), max=float(max_val), inclusive=False)


def _clamp(build: _Builder, x: _Ref, min: Any = None, max: Any = None) -> _Ref:
    low, high = (-3e38 if min is None else min), (3e38 if max is None else max)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise refusal(build.name, "bounds that are no numbers")
    return build.add("clamp", x, min=float(low), max=float(high), inclusive=True)


def _softmax(op: str) -> Callable[..., _Ref]:
    def rule(build: _Builder, x: _Ref, dim: int | None = None, **rest: Any) -> _Ref:
        if len(build.shape_of(x)) != 1 or dim not in (1, -1, None):
            raise refusal(build.name, "a softmax over something else than the classes")
        return build.add(op, x)

    return rule


def _same(build: _Builder, x: _Ref, *rest: Any, **options: Any) -> _Ref:
    return _Ref(x.index, build.current)


# ---- Pooling ---------------------------------------------------------------------------------


def _pooling(
    build: _Builder, x: _Ref, op: str, kernel: Any, stride: Any, padding: Any, **more: Any
) -> _Ref:
    build.maps(x)
    sides = _pair(kernel)
    return build.add(
        op, x, kernel=sides, stride=sides if not stride else _pair(stride), padding=_pair(padding),
        **more,
    )  # fmt: skip


def _max_pool(
    build: _Builder, x: _Ref, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> _Ref:  # fmt: skip
    return _pooling(build, x, "max_pool", kernel_size, stride, padding, dilation=_pair(dilation))


def _avg_pool(
    build: _Builder, x: _Ref, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> _Ref:  # fmt: skip
    more = {"countPadding": bool(count_include_pad), "divisor": int(divisor_override or 0)}
    return _pooling(build, x, "average_pool", kernel_size, stride, padding, **more)


def _adaptive(op: str) -> Callable[..., _Ref]:
    def rule(build: _Builder, x: _Ref, output_size: Any = 1, return_indices: bool = False) -> _Ref:
        build.maps(x)
        return build.add(op, x, adaptive=True)

    return rule


def _mean(build: _Builder, x: _Ref, dim: Any = None, keepdim: bool = False, **rest: Any) -> _Ref:
    axes = sorted(
        d % (len(build.shape_of(x)) + 1) for d in ([dim] if isinstance(dim, int) else dim)
    )
    if len(build.shape_of(x)) != 3 or axes != [2, 3]:
        raise refusal(f"{build.name} (mean)", "a mean over something else than the places")
    channels = build.shape_of(x)[0]
    build.nodes.append(
        Node("average_pool", (x.index,), (channels, 1, 1), build.name, {"adaptive": True})
    )
    pooled = _Ref(len(build.nodes) - 1, build.current)
    return pooled if keepdim else build.add("reshape", pooled, name="")


# ---- Several values, and other shapes --------------------------------------------------------


def _arithmetic(op: str, sign: float = 1.0) -> Callable[..., _Ref]:
    def rule(build: _Builder, a: Any, b: Any, alpha: float = 1) -> _Ref:
        if isinstance(a, _Ref) and isinstance(b, _Ref):
            return _of_two(build, op, a, b, sign * alpha)
        x, constant = (a, b) if isinstance(a, _Ref) else (b, a)
        flipped = not isinstance(a, _Ref)
        number = _per_channel(build, x, constant)
        if number is None:
            raise refusal(build.name, "a constant that differs from place to place")
        if op == "add":
            factor = sign * alpha if flipped else 1.0
            return _affine(build, x, factor, number if flipped else sign * alpha * number)
        return _affine(build, x, number, 0.0)

    return rule


def _of_two(build: _Builder, op: str, a: _Ref, b: _Ref, factor: float) -> _Ref:
    shapes = build.shape_of(a), build.shape_of(b)
    small = min(shapes, key=math.prod)
    whole = build.out_shape()
    if whole not in shapes or not (
        small == whole or (len(whole) == 3 and small == (whole[0], 1, 1))
    ):
        raise refusal(build.name, f"shapes {shapes[0]} and {shapes[1]}")
    if op == "add" and factor != 1:
        build.nodes.append(
            Node("scale", (b.index,), shapes[1], "", {"factor": float(factor), "offset": 0.0})
        )
        b = _Ref(len(build.nodes) - 1, build.current)
    return build.add(op, a, b)


def _affine(build: _Builder, x: _Ref, factor: Any, offset: Any) -> _Ref:
    if isinstance(factor, float) and isinstance(offset, float):
        return build.add("scale", x, factor=factor, offset=offset)
    channels = build.shape_of(x)[0]
    scale, shift = (torch.as_tensor(v).expand(channels).clone() for v in (factor, offset))
    return build.add("affine", x, tensors={"scale": scale, "shift": shift})


def _divide(build: _Builder, a: Any, b: Any) -> _Ref:
    number = _per_channel(build, a, b) if isinstance(a, _Ref) else None
    if number is None:
        raise refusal(build.name, "a division by something else than a constant")
    return _affine(build, a, 1 / number, 0.0)


def _concatenate(build: _Builder, tensors: Sequence[Any], dim: int = 0) -> _Ref:
    if (
        not all(isinstance(each, _Ref) for each in tensors)
        or dim % (len(build.out_shape()) + 1) != 1
    ):
        raise refusal(build.name, "a concatenation of something else than channels")
    return build.add("concatenate", *tensors)


def _reshape(build: _Builder, x: _Ref, *rest: Any, **options: Any) -> _Ref:
    if math.prod(build.out_shape()) != math.prod(build.shape_of(x)):
        raise refusal(build.name, "a reshaping that mixes images")
    if build.out_shape() == build.shape_of(x):
        return _Ref(x.index, build.current)
    return build.add("reshape", x, name="")


def _pad(
    build: _Builder, x: _Ref, pad: Sequence[int], mode: str = "constant", value: float | None = 0
) -> _Ref:
    build.maps(x)
    if mode != "constant" or len(pad) > 6:
        raise refusal(f"{build.name} (pad)", f"padding of the kind {mode!r}")
    # torch names the last axis first, both of its sides; shapes tell what comes behind.
    left, top, front = [*map(int, pad[::2]), 0, 0][:3]
    return build.add("pad", x, before=[front, top, left], value=float(value or 0))


def _zero_pad(build: _Builder, m: nn.ZeroPad2d, x: _Ref) -> _Ref:
    return _pad(build, x, list(m.padding))


def _getitem(build: _Builder, x: _Ref, index: Any) -> _Ref:
    shape = build.maps(x)
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is Ellipsis for part in parts):
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    parts += [slice(None)] * (4 - len(parts))
    if len(parts) != 4 or not all(isinstance(p, slice) for p in parts) or parts[0] != slice(None):
        raise refusal(f"{build.name} (indexing)", "something else than every n-th place or channel")
    ranges = [range(n)[part] for n, part in zip(shape, parts[1:], strict=True)]
    return build.add("slice", x, start=[r.start for r in ranges], step=[r.step for r in ranges])


def _settings(rule: Callable[..., _Ref], *names: str) -> Callable[..., _Ref]:
    """The rule for a module that holds in attributes what the function takes as arguments."""

    def of_module(build: _Builder, m: nn.Module, x: _Ref) -> _Ref:
        return rule(build, x, **{name: getattr(m, name) for name in names})

    return of_module


_POOL = ("kernel_size", "stride", "padding", "ceil_mode")

_MODULES: dict[Any, Callable[..., Any]] = {
    nn.Conv2d: _conv2d,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: _settings(_function("relu")),
    nn.ReLU6: _settings(_hardtanh, "min_val", "max_val"),
    nn.Hardtanh: _settings(_hardtanh, "min_val", "max_val"),
    nn.LeakyReLU: _settings(_leaky_relu, "negative_slope"),
    nn.ELU: _settings(_elu, "alpha"),
    nn.GELU: _settings(_gelu, "approximate"),
    nn.SiLU: _settings(_function("silu")),
    nn.Sigmoid: _settings(_function("sigmoid")),
    nn.Tanh: _settings(_function("tanh")),
    nn.Hardsigmoid: _settings(_function("hardsigmoid")),
    nn.Hardswish: _settings(_function("hardswish")),
    nn.Softmax: _settings(_softmax("softmax"), "dim"),
    nn.LogSoftmax: _settings(_softmax("log_softmax"), "dim"),
    nn.MaxPool2d: _settings(_max_pool, *_POOL, "dilation"),
    nn.AvgPool2d: _settings(_avg_pool, *_POOL, "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: _settings(_adaptive("average_pool")),
    nn.AdaptiveMaxPool2d: _settings(_adaptive("max_pool")),
    nn.ZeroPad2d: _zero_pad,
    nn.Flatten: _settings(_reshape),
    nn.Unflatten: _settings(_reshape),
    nn.Identity: _settings(_same),
    nn.Dropout: _settings(_same),
    nn.Dropout2d: _settings(_same),
}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    F.relu: _function("relu"),
    torch.relu: _function("relu"),
    torch.relu_: _function("relu"),
    F.relu6: lambda build, x, inplace=False: _hardtanh(build, x, 0.0, 6.0),
    F.hardtanh: _hardtanh,
    torch.clamp: _clamp,
    F.leaky_relu: _leaky_relu,
    F.elu: _elu,
    F.gelu: _gelu,
    F.silu: _function("silu"),
    torch.sigmoid: _function("sigmoid"),
    F.sigmoid: _function("sigmoid"),
    torch.tanh: _function("tanh"),
    F.tanh: _function("tanh"),
    F.hardsigmoid: _function("hardsigmoid"),
    F.hardswish: _function("hardswish"),
    F.softmax: _softmax("softmax"),
    torch.softmax: _softmax("softmax"),
    F.log_softmax: _softmax("log_softmax"),
    torch.log_softmax: _softmax("log_softmax"),
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _avg_pool,
    F.adaptive_avg_pool2d: _adaptive("average_pool"),
    F.adaptive_max_pool2d: _adaptive("max_pool"),
    torch.mean: _mean,
    operator.add: _arithmetic("add"),
    operator.iadd: _arithmetic("add"),
    torch.add: _arithmetic("add"),
    operator.sub: _arithmetic("add", -1.0),
    operator.isub: _arithmetic("add", -1.0),
    torch.sub: _arithmetic("add", -1.0),
    operator.mul: _arithmetic("multiply"),
    operator.imul: _arithmetic("multiply"),
    torch.mul: _arithmetic("multiply"),
    operator.truediv: _divide,
    torch.div: _divide,
    torch.cat: _concatenate,
    torch.concat: _concatenate,
    torch.flatten: _reshape,
    torch.reshape: _reshape,
    torch.squeeze: _reshape,
    F.pad: _pad,
    operator.getitem: _getitem,
    F.dropout: _same,
    F.dropout2d: _same,
}

_METHODS: dict[Any, Callable[..., Any]] = {
    "relu": _function("relu"),
    "relu_": _function("relu"),
    "sigmoid": _function("sigmoid"),
    "tanh": _function("tanh"),
    "clamp": _clamp,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "mean": _mean,
    "add": _arithmetic("add"),
    "add_": _arithmetic("add"),
    "sub": _arithmetic("add", -1.0),
    "mul": _arithmetic("multiply"),
    "mul_": _arithmetic("multiply"),
    "div": _divide,
    "flatten": _reshape,
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "contiguous": _same,
    "clone": _same,
    "detach": _same,
    "float": _same,
}

MODULES = tuple(sorted(kind.__name__ for kind in _MODULES))
"""Names of the layers that the engine can do."""
