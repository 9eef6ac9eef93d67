"""What each layer, function and method of PyTorch becomes on a page."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.playground._nodes import ROWS, Builder, Node, Ref, refusal


def _pair(value: int | Sequence[int]) -> list[int]:
    return [int(value)] * 2 if isinstance(value, int) else [int(v) for v in value]


def _kept(weights: Tensor | None) -> Tensor | None:
    return None if weights is None else weights.detach().to("cpu", torch.float32).clone()


def _per_channel(build: Builder, x: Ref, constant: Any) -> Tensor | float | None:
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


def _conv2d(build: Builder, m: nn.Conv2d, x: Ref) -> Ref:
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


def _linear(build: Builder, m: nn.Linear, x: Ref) -> Ref:
    if len(build.shape_of(x)) != 1:
        raise refusal(f"{build.name} (Linear)", "it takes maps that were not flattened")
    return build.add("linear", x, tensors={"weight": _kept(m.weight), "bias": _kept(m.bias)})


def _batch_norm(build: Builder, m: nn.BatchNorm2d | nn.BatchNorm1d, x: Ref) -> Ref:
    if m.running_mean is None or m.running_var is None:
        raise refusal(f"{build.name} ({type(m).__name__})", "statistics of the batch itself")
    mean, var = m.running_mean.double(), m.running_var.double()
    scale = (var + m.eps).rsqrt() * (1 if m.weight is None else m.weight.detach().double())
    shift = (0 if m.bias is None else m.bias.detach().double()) - mean * scale
    before = build.nodes[x.index]
    # The node itself, not another name for it, and read by nobody else.
    only = x.traced is not None and build.makers[x.index] is x.traced and len(x.traced.users) == 1
    if before.op in ("conv2d", "linear") and only and not before.folded:
        weight, bias = before.tensors["weight"], before.tensors["bias"]
        assert weight is not None
        before.tensors["weight"] = (
            weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))
        ).float()
        before.tensors["bias"] = (shift + (0 if bias is None else bias.double() * scale)).float()
        before.folded = True
        return Ref(x.index, build.current)
    return build.add("affine", x, tensors={"scale": scale.float(), "shift": shift.float()})


# ---- Functions of single numbers -------------------------------------------------------------


def _function(op: str) -> Callable[..., Ref]:
    def rule(build: Builder, x: Ref, inplace: bool = False) -> Ref:
        return build.add(op, x)

    return rule


def _leaky_relu(build: Builder, x: Ref, negative_slope: float = 0.01, inplace: bool = False) -> Ref:
    return build.add("leaky_relu", x, slope=float(negative_slope))


def _elu(build: Builder, x: Ref, alpha: float = 1.0, inplace: bool = False) -> Ref:
    return build.add("elu", x, alpha=float(alpha))


def _gelu(build: Builder, x: Ref, approximate: str = "none") -> Ref:
    return build.add("gelu" if approximate == "none" else "gelu_tanh", x)


def _hardtanh(
    build: Builder, x: Ref, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Ref:
    return build.add("clamp", x, min=float(min_val), max=float(max_val), inclusive=False)


def _clamp(build: Builder, x: Ref, min: Any = None, max: Any = None) -> Ref:
    low, high = (-3e38 if min is None else min), (3e38 if max is None else max)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise refusal(build.name, "bounds that are no numbers")
    return build.add("clamp", x, min=float(low), max=float(high), inclusive=True)


def _softmax(op: str) -> Callable[..., Ref]:
    def rule(build: Builder, x: Ref, dim: int | None = None, **rest: Any) -> Ref:
        if len(build.shape_of(x)) != 1 or dim not in (1, -1, None):
            raise refusal(build.name, "a softmax over something else than the classes")
        return build.add(op, x)

    return rule


def _same(build: Builder, x: Ref, *rest: Any, **options: Any) -> Ref:
    return Ref(x.index, build.current)


# ---- Pooling ---------------------------------------------------------------------------------


def _pooling(
    build: Builder, x: Ref, op: str, kernel: Any, stride: Any, padding: Any, **more: Any
) -> Ref:
    build.maps(x)
    sides = _pair(kernel)
    return build.add(
        op, x, kernel=sides, stride=sides if not stride else _pair(stride), padding=_pair(padding),
        **more,
    )  # fmt: skip


def _max_pool(
    build: Builder, x: Ref, kernel_size: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Ref:  # fmt: skip
    return _pooling(build, x, "max_pool", kernel_size, stride, padding, dilation=_pair(dilation))


def _avg_pool(
    build: Builder, x: Ref, kernel_size: Any, stride: Any = None, padding: Any = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Ref:  # fmt: skip
    more = {"countPadding": bool(count_include_pad), "divisor": int(divisor_override or 0)}
    return _pooling(build, x, "average_pool", kernel_size, stride, padding, **more)


def _adaptive(op: str) -> Callable[..., Ref]:
    def rule(build: Builder, x: Ref, output_size: Any = 1, return_indices: bool = False) -> Ref:
        build.maps(x)
        return build.add(op, x, adaptive=True)

    return rule


def _mean(build: Builder, x: Ref, dim: Any = None, keepdim: bool = False, **rest: Any) -> Ref:
    axes = sorted(
        d % (len(build.shape_of(x)) + 1) for d in ([dim] if isinstance(dim, int) else dim)
    )
    if len(build.shape_of(x)) != 3 or axes != [2, 3]:
        raise refusal(f"{build.name} (mean)", "a mean over something else than the places")
    channels = build.shape_of(x)[0]
    pooled = build.put(
        Node("average_pool", (x.index,), (channels, 1, 1), build.name, {"adaptive": True})
    )
    return pooled if keepdim else build.add("reshape", pooled, name="")


# ---- Several values, and other shapes --------------------------------------------------------


def _arithmetic(op: str, sign: float = 1.0) -> Callable[..., Ref]:
    def rule(build: Builder, a: Any, b: Any, alpha: float = 1) -> Ref:
        if isinstance(a, Ref) and isinstance(b, Ref):
            return _of_two(build, op, a, b, sign * alpha)
        x, constant = (a, b) if isinstance(a, Ref) else (b, a)
        flipped = not isinstance(a, Ref)
        number = _per_channel(build, x, constant)
        if number is None:
            raise refusal(build.name, "a constant that differs from place to place")
        if op == "add":
            factor = sign * alpha if flipped else 1.0
            return _affine(build, x, factor, number if flipped else sign * alpha * number)
        return _affine(build, x, number, 0.0)

    return rule


def _of_two(build: Builder, op: str, a: Ref, b: Ref, factor: float) -> Ref:
    shapes = build.shape_of(a), build.shape_of(b)
    small = min(shapes, key=math.prod)
    whole = build.out_shape()
    if whole not in shapes or not (
        small == whole or (len(whole) == 3 and small == (whole[0], 1, 1))
    ):
        raise refusal(build.name, f"shapes {shapes[0]} and {shapes[1]}")
    if op == "add" and factor != 1:
        b = build.put(
            Node("scale", (b.index,), shapes[1], "", {"factor": float(factor), "offset": 0.0})
        )
    return build.add(op, a, b)


def _affine(build: Builder, x: Ref, factor: Any, offset: Any) -> Ref:
    if isinstance(factor, float) and isinstance(offset, float):
        return build.add("scale", x, factor=factor, offset=offset)
    channels = build.shape_of(x)[0]
    scale, shift = (torch.as_tensor(v).expand(channels).clone() for v in (factor, offset))
    return build.add("affine", x, tensors={"scale": scale, "shift": shift})


def _divide(build: Builder, a: Any, b: Any) -> Ref:
    number = _per_channel(build, a, b) if isinstance(a, Ref) else None
    if number is None:
        raise refusal(build.name, "a division by something else than a constant")
    return _affine(build, a, 1 / number, 0.0)


def _concatenate(build: Builder, tensors: Sequence[Any], dim: int = 0) -> Ref:
    if (
        not all(isinstance(each, Ref) for each in tensors)
        or dim % (len(build.out_shape()) + 1) != 1
    ):
        raise refusal(build.name, "a concatenation of something else than channels")
    return build.add("concatenate", *tensors)


def _reshape(build: Builder, x: Ref, *rest: Any, **options: Any) -> Ref:
    if math.prod(build.out_shape()) != math.prod(build.shape_of(x)):
        raise refusal(build.name, "a reshaping that mixes images")
    if build.out_shape() == build.shape_of(x):
        return Ref(x.index, build.current)
    return build.add("reshape", x, name="")


def _pad(
    build: Builder, x: Ref, pad: Sequence[int], mode: str = "constant", value: float | None = 0
) -> Ref:
    build.maps(x)
    if mode != "constant" or len(pad) > 6:
        raise refusal(f"{build.name} (pad)", f"padding of the kind {mode!r}")
    # torch names the last axis first, both of its sides; shapes tell what comes behind.
    left, top, front = [*map(int, pad[::2]), 0, 0][:3]
    return build.add("pad", x, before=[front, top, left], value=float(value or 0))


def _zero_pad(build: Builder, m: nn.ZeroPad2d, x: Ref) -> Ref:
    return _pad(build, x, list(m.padding))


def _getitem(build: Builder, x: Ref, index: Any) -> Ref:
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


def _settings(rule: Callable[..., Ref], *names: str) -> Callable[..., Ref]:
    """The rule for a module that holds in attributes what the function takes as arguments."""

    def of_module(build: Builder, m: nn.Module, x: Ref) -> Ref:
        return rule(build, x, **{name: getattr(m, name) for name in names})

    return of_module


_POOL = ("kernel_size", "stride", "padding", "ceil_mode")

MODULE_RULES: dict[Any, Callable[..., Any]] = {
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

FUNCTION_RULES: dict[Any, Callable[..., Any]] = {
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

METHOD_RULES: dict[Any, Callable[..., Any]] = {
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
