"""The operators of ONNX that image classifiers use, each as PyTorch has it.

A translation gets the `Step` and the operator's inputs, and gives what it puts out. Where PyTorch
has a layer for it, the graph gets that layer; else a function of torch, or one from here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.models._onnx_functions import (
    bounded,
    by_factors,
    divided,
    expanded,
    filled,
    flattened,
    gathered,
    joined,
    padded,
    reshaped,
    resized,
    shape_of,
    sliced,
    softmax_of_rest,
)
from convscope.models._onnx_graph import NotImported, Step, Value

OPERATORS: dict[str, Callable[..., Any]] = {}
"""Name of an operator to its translation."""


def _translates(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


# ---------------------------------------------------------------------- convolutions and pooling


def _empty(kind: Any, *sizes: Any, **settings: Any) -> nn.Module:
    """A layer whose weights are still to come."""
    layer: nn.Module = nn.utils.skip_init(kind, *sizes, **settings)  # type: ignore[no-untyped-call]
    return layer


def _sides(s: Step, x: Value, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Margins before and after each axis of maps."""
    count = len(kernel)
    stride, dilation = s.get("strides", [1] * count), s.get("dilations", [1] * count)
    auto = s.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, k, step, spread in zip(s.shape(x)[2:], kernel, stride, dilation, strict=True):
            total = max((math.ceil(size / step) - 1) * step + (k - 1) * spread + 1 - size, 0)
            low, high = total // 2, total - total // 2
            before.append(low if auto == "SAME_UPPER" else high)
            after.append(high if auto == "SAME_UPPER" else low)
        return before, after
    pads = [0] * 2 * count if auto == "VALID" else s.get("pads", [0] * 2 * count)
    return pads[:count], pads[count:]


def _margins(
    s: Step, x: Value, kernel: list[int], value: float, *, half: bool
) -> tuple[Value, Any]:
    """What a layer cannot pad by itself is padded before it: uneven margins, or wide ones."""
    before, after = _sides(s, x, kernel)
    wide = half and any(2 * pad > k for pad, k in zip(before, kernel, strict=True))
    if before == after and not wide:
        return x, tuple(before)
    sides = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return s.call(F.pad, x, sides, "constant", value), (0,) * len(kernel)


@_translates("Conv", "ConvTranspose")
def _convolution(s: Step, x: Value, weight: Value, bias: Value = None) -> Value:
    w, b = s.known(weight, "weights"), None if bias is None else s.known(bias, "biases")
    count, groups = w.ndim - 2, s.get("group", 1)
    if count not in (1, 2, 3):
        raise NotImported(f"{s.node.op_type} of {count} axes")
    stride = tuple(s.get("strides", [1] * count))
    dilation = tuple(s.get("dilations", [1] * count))
    kernel = list(w.shape[2:])
    if s.node.op_type == "Conv":
        x, padding = _margins(s, x, kernel, 0.0, half=False)
        kind: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[count - 1]
        channels, more = (w.shape[1] * groups, w.shape[0]), {}
    else:
        before, after = _sides(s, x, kernel)
        if (
            before != after
            or "output_shape" in s.settings
            or s.get("auto_pad", "NOTSET") != "NOTSET"
        ):
            raise NotImported("ConvTranspose with uneven margins")
        padding = tuple(before)
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[count - 1]
        channels = (w.shape[0], w.shape[1] * groups)
        more = {"output_padding": tuple(s.get("output_padding", [0] * count))}
    layer = _empty(
        kind, *channels, tuple(kernel), stride=stride, padding=padding, dilation=dilation,
        groups=groups, bias=b is not None, dtype=w.dtype, **more,
    )  # fmt: skip
    _give(s, layer, weight=w, bias=b)
    return s.layer(layer, x, weight=weight)


def _give(s: Step, layer: nn.Module, **weights: Tensor | None) -> None:
    for name, value in weights.items():
        if value is not None:
            if getattr(layer, name).shape != value.shape:
                raise NotImported(f"{s.node.op_type} with a {name} of {tuple(value.shape)}")
            layer.register_parameter(name, s.parameter(value))


@_translates("MaxPool")
def _max_pool(s: Step, x: Value) -> Value:
    kernel = s.get("kernel_shape")
    x, padding = _margins(s, x, kernel, -math.inf, half=True)
    kind: Any = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[len(kernel) - 1]
    ones = [1] * len(kernel)
    return s.layer(
        kind(
            tuple(kernel), stride=tuple(s.get("strides", ones)), padding=padding,
            dilation=tuple(s.get("dilations", ones)), ceil_mode=bool(s.get("ceil_mode", 0)),
        ),
        x,
    )  # fmt: skip


@_translates("AveragePool")
def _average_pool(s: Step, x: Value) -> Value:
    kernel = s.get("kernel_shape")
    ones, counts = [1] * len(kernel), bool(s.get("count_include_pad", 0))
    before, after = _sides(s, x, kernel)
    if s.get("dilations", ones) != ones or (before != after and not counts):
        raise NotImported("AveragePool with dilations or uneven margins")
    x, padding = _margins(s, x, kernel, 0.0, half=counts)
    kind: Any = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[len(kernel) - 1]
    layer = kind(
        tuple(kernel), stride=tuple(s.get("strides", ones)), padding=padding,
        ceil_mode=bool(s.get("ceil_mode", 0)), count_include_pad=counts,
    )  # fmt: skip
    return s.layer(layer, x)


@_translates("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(s: Step, x: Value) -> Value:
    kinds: Any = (
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
        if s.node.op_type == "GlobalAveragePool"
        else (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
    )
    return s.layer(kinds[len(s.shape(x)) - 3](1), x)


# ---------------------------------------------------------------------- normalization and dense


@_translates("BatchNormalization")
def _batch_norm(s: Step, x: Value, weight: Value, bias: Value, mean: Value, var: Value) -> Value:
    values = [s.known(value, "statistics") for value in (weight, bias, mean, var)]
    if s.get("training_mode", 0):
        raise NotImported("BatchNormalization in training mode")
    kind: Any = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[
        len(s.shape(x))
    ]
    layer = kind(len(values[0]), eps=s.get("epsilon", 1e-5), dtype=values[0].dtype)
    _give(s, layer, weight=values[0], bias=values[1])
    layer.running_mean, layer.running_var = values[2].clone(), values[3].clone()
    return s.layer(layer, x, weight=weight)


@_translates("InstanceNormalization")
def _instance_norm(s: Step, x: Value, weight: Value, bias: Value) -> Value:
    w, b = s.known(weight, "weights"), s.known(bias, "biases")
    kind: Any = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}[len(s.shape(x))]
    layer = kind(len(w), eps=s.get("epsilon", 1e-5), affine=True, dtype=w.dtype)
    _give(s, layer, weight=w, bias=b)
    return s.layer(layer, x, weight=weight)


@_translates("LayerNormalization")
def _layer_norm(s: Step, x: Value, weight: Value, bias: Value = None) -> Value:
    w = s.known(weight, "weights")
    shape = s.shape(x)
    sizes = shape[s.get("axis", -1) % len(shape) :]
    layer = nn.LayerNorm(sizes, eps=s.get("epsilon", 1e-5), bias=bias is not None, dtype=w.dtype)
    _give(s, layer, weight=w, bias=None if bias is None else s.known(bias, "biases"))
    return s.layer(layer, x, weight=weight)


@_translates("GroupNormalization")
def _group_norm(s: Step, x: Value, weight: Value, bias: Value) -> Value:
    w, b = s.known(weight, "weights"), s.known(bias, "biases")
    layer = nn.GroupNorm(s.get("num_groups"), s.shape(x)[1], eps=s.get("epsilon", 1e-5))
    _give(s, layer, weight=w, bias=b)
    return s.layer(layer, x, weight=weight)


@_translates("LRN")
def _local_response(s: Step, x: Value) -> Value:
    return s.layer(
        nn.LocalResponseNorm(
            s.get("size"), s.get("alpha", 1e-4), s.get("beta", 0.75), s.get("bias", 1.0)
        ),
        x,
    )


@_translates("Gemm")
def _gemm(s: Step, a: Value, b: Value, c: Value = None) -> Value:
    alpha, beta = s.get("alpha", 1.0), s.get("beta", 1.0)
    w = s.known(b, "weights")
    w = w if s.get("transB", 0) else w.t().contiguous()
    if alpha != 1:
        w = w * alpha
    bias = None if c is None else s.known(c, "biases")
    if s.get("transA", 0) or (bias is not None and bias.numel() not in (1, len(w))):
        raise NotImported("Gemm of another form than a dense layer")
    layer = _empty(nn.Linear, w.shape[1], len(w), bias=c is not None, dtype=w.dtype)
    if bias is not None and (beta != 1 or bias.shape != (len(w),)):
        bias = (bias * beta).reshape(-1).expand(len(w)).contiguous()
    _give(s, layer, weight=w, bias=bias)
    return s.layer(layer, a, weight=b)


@_translates("MatMul")
def _matmul(s: Step, a: Value, b: Value) -> Value:
    if not isinstance(b, Tensor) or b.ndim != 2:
        return s.call(torch.matmul, a, b)
    layer = _empty(nn.Linear, b.shape[0], b.shape[1], bias=False, dtype=b.dtype)
    _give(s, layer, weight=b.t().contiguous())
    return s.layer(layer, a, weight=b)


@_translates("Einsum")
def _einsum(s: Step, *inputs: Value) -> Value:
    return s.call(torch.einsum, s.get("equation"), *inputs)


# ---------------------------------------------------------------------- activations

LAYERS: dict[str, Callable[[Step], nn.Module]] = {
    "Relu": lambda s: nn.ReLU(),
    "LeakyRelu": lambda s: nn.LeakyReLU(s.get("alpha", 0.01)),
    "Elu": lambda s: nn.ELU(s.get("alpha", 1.0)),
    "Celu": lambda s: nn.CELU(s.get("alpha", 1.0)),
    "Selu": lambda s: nn.SELU(),
    "Sigmoid": lambda s: nn.Sigmoid(),
    "HardSwish": lambda s: nn.Hardswish(),
    "Tanh": lambda s: nn.Tanh(),
    "Softplus": lambda s: nn.Softplus(),
    "Softsign": lambda s: nn.Softsign(),
    "Mish": lambda s: nn.Mish(),
    "Gelu": lambda s: nn.GELU(approximate=s.get("approximate", "none")),
}
"""Operators of one input that are a layer of torch."""


@_translates(*LAYERS)
def _activation(s: Step, x: Value) -> Value:
    return s.layer(LAYERS[s.node.op_type](s), x)


@_translates("Identity", "Dropout")
def _identity(s: Step, x: Value, *settings: Value) -> Value:
    return x


@_translates("HardSigmoid")
def _hard_sigmoid(s: Step, x: Value) -> Value:
    alpha, beta = s.get("alpha", 0.2), s.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return s.layer(nn.Hardsigmoid(), x)
    return s.call(torch.clamp, s.call(torch.add, s.call(torch.mul, x, alpha), beta), 0.0, 1.0)


@_translates("PRelu")
def _prelu(s: Step, x: Value, slope: Value) -> Value:
    w = s.known(slope, "slopes").reshape(-1)
    layer = nn.PReLU(len(w))
    _give(s, layer, weight=w)
    return s.layer(layer, x, weight=slope)


@_translates("Clip")
def _clip(s: Step, x: Value, low: Value = None, high: Value = None) -> Value:
    least = s.get("min") if low is None else float(s.known(low, "limits"))
    most = s.get("max") if high is None else float(s.known(high, "limits"))
    if (least, most) == (0, 6):
        return s.layer(nn.ReLU6(), x)
    return s.call(torch.clamp, x, least, most)


@_translates("Softmax", "LogSoftmax")
def _softmax(s: Step, x: Value) -> Value:
    log = s.node.op_type == "LogSoftmax" or (s.builder.log_softmax and s.is_last)
    rank = len(s.shape(x))
    axis = s.get("axis", -1 if s.opset >= 13 else 1) % rank
    if s.opset < 13 and axis != rank - 1:
        return s.call(softmax_of_rest, x, axis, log)
    return s.layer((nn.LogSoftmax if log else nn.Softmax)(dim=axis), x)


# ---------------------------------------------------------------------- element by element

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": divided,
    "Pow": torch.pow, "Sqrt": torch.sqrt, "Exp": torch.exp, "Log": torch.log, "Neg": torch.neg,
    "Abs": torch.abs, "Reciprocal": torch.reciprocal, "Floor": torch.floor, "Ceil": torch.ceil,
    "Round": torch.round, "Erf": torch.erf, "Sin": torch.sin, "Cos": torch.cos,
    "Sign": torch.sign, "Not": torch.logical_not, "Shape": shape_of, "IsNaN": torch.isnan,
}  # fmt: skip
"""Operators that are one function."""

PAIRS: dict[str, Callable[..., Any]] = {
    "Max": torch.maximum, "Min": torch.minimum, "Sum": operator.add, "Mean": operator.add,
    "Equal": torch.eq, "Less": torch.lt, "Greater": torch.gt, "LessOrEqual": torch.le,
    "GreaterOrEqual": torch.ge, "And": torch.logical_and, "Or": torch.logical_or,
}  # fmt: skip
"""Operators that join two or more."""


@_translates(*FUNCTIONS)
def _function(s: Step, *inputs: Value) -> Value:
    if s.get("start", 0) or "end" in s.settings:
        whole = s.call(shape_of, *inputs)
        return s.call(operator.getitem, whole, slice(s.get("start", 0), s.get("end")))
    if s.node.op_type == "Shape" and isinstance(inputs[0], Tensor):
        return shape_of(inputs[0])
    if s.node.op_type == "Pow" and isinstance(inputs[0], Tensor) and inputs[0].ndim == 0:
        return s.call(operator.pow, *inputs)
    return s.call(FUNCTIONS[s.node.op_type], *inputs)


@_translates(*PAIRS)
def _pairs(s: Step, first: Value, *others: Value) -> Value:
    found = first
    for other in others:
        pair = [
            x.reshape(1) if isinstance(x, Tensor) and x.ndim == 0 else x for x in (found, other)
        ]
        found = s.call(PAIRS[s.node.op_type], *pair)
    return s.call(divided, found, 1 + len(others)) if s.node.op_type == "Mean" else found


@_translates("Mod")
def _mod(s: Step, x: Value, y: Value) -> Value:
    return s.call(torch.fmod if s.get("fmod", 0) else torch.remainder, x, y)


@_translates("Where")
def _where(s: Step, condition: Value, x: Value, y: Value) -> Value:
    return s.call(torch.where, condition, x, y)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceMean": torch.mean, "ReduceSum": torch.sum, "ReduceMax": torch.amax,
    "ReduceMin": torch.amin, "ReduceL2": torch.linalg.vector_norm,
}  # fmt: skip


@_translates(*REDUCTIONS)
def _reduction(s: Step, x: Value, axes: Value = None) -> Value:
    chosen = s.get("axes") if axes is None else s.ints(s.known(axes, "axes"))
    if not chosen:
        if s.get("noop_with_empty_axes", 0):
            return x
        chosen = list(range(len(s.shape(x))))
    keep = bool(s.get("keepdims", 1))
    return s.call(REDUCTIONS[s.node.op_type], x, dim=tuple(chosen), keepdim=keep)


# ---------------------------------------------------------------------- shapes


@_translates("Constant")
def _constant(s: Step) -> Value:
    for name, value in s.settings.items():
        if name == "value":
            return value
        if name.startswith("value_"):
            kind = torch.float32 if "float" in name else torch.int64
            return torch.tensor(value, dtype=kind)
    raise NotImported("a Constant without a value")


@_translates("ConstantOfShape")
def _constant_of_shape(s: Step, sizes: Value) -> Value:
    value = s.get("value", torch.zeros(1))
    return s.call(filled, s.ints(sizes), value.item(), value.dtype)


@_translates("Flatten")
def _flatten(s: Step, x: Value) -> Value:
    axis = s.get("axis", 1)
    if axis == 1:
        return s.layer(nn.Flatten(1), x)
    return s.call(flattened, x, axis)


@_translates("Reshape")
def _reshape(s: Step, x: Value, sizes: Value = None) -> Value:
    wanted = s.get("shape") if sizes is None else s.ints(sizes)
    rows, keep_zero = s.fixed and not isinstance(x, Tensor), bool(s.get("allowzero", 0))
    if isinstance(wanted, list) and len(wanted) == 2 and not keep_zero:
        shape = s.shape(x)
        images = wanted[0] in (0, -1) or (rows and wanted[0] == 1)
        if images and wanted[1] in (-1, math.prod(shape[1:])) and len(shape) > 1:
            return s.layer(nn.Flatten(1), x)
    return s.call(reshaped, x, wanted, keep_zero, rows)


@_translates("Transpose")
def _transpose(s: Step, x: Value) -> Value:
    return s.call(torch.permute, x, tuple(s.get("perm", range(len(s.shape(x)))[::-1])))


@_translates("Concat")
def _concat(s: Step, *parts: Value) -> Value:
    return s.call(joined, list(parts), s.get("axis"))


@_translates("Split")
def _split(s: Step, x: Value, sizes: Value = None) -> Any:
    axis, count = s.get("axis", 0), len(s.node.output)
    lengths = s.get("split") if sizes is None else s.ints(s.known(sizes, "sizes"))
    if not lengths:
        each = math.ceil(s.shape(x)[axis] / count)
        lengths = [each] * (count - 1) + [s.shape(x)[axis] - each * (count - 1)]
    parts = s.call(torch.split, x, lengths, axis)
    return [s.call(operator.getitem, parts, i) for i in range(count)]


@_translates("Slice")
def _slice(
    s: Step, x: Value, starts: Value = None, ends: Value = None, axes: Value = None,
    steps: Value = None,
) -> Value:  # fmt: skip
    if starts is None:
        return s.call(sliced, x, s.get("starts"), s.get("ends"), s.get("axes"), None)
    return s.call(sliced, x, *(v if v is None else s.ints(v) for v in (starts, ends, axes, steps)))


@_translates("Gather")
def _gather(s: Step, x: Value, index: Value) -> Value:
    axis = s.get("axis", 0)
    if isinstance(index, Tensor) and index.ndim == 0:
        return s.call(torch.select, x, axis, int(index))
    return s.call(gathered, x, index, axis)


@_translates("Squeeze")
def _squeeze(s: Step, x: Value, axes: Value = None) -> Value:
    chosen = s.get("axes") if axes is None else s.ints(s.known(axes, "axes"))
    return s.call(torch.squeeze, x) if chosen is None else s.call(torch.squeeze, x, tuple(chosen))


@_translates("Unsqueeze")
def _unsqueeze(s: Step, x: Value, axes: Value = None) -> Value:
    chosen = s.get("axes") if axes is None else s.ints(s.known(axes, "axes"))
    rank = len(s.shape(x)) + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = s.call(torch.unsqueeze, x, axis)
    return x


@_translates("Expand")
def _expand(s: Step, x: Value, sizes: Value) -> Value:
    return s.call(expanded, x, s.ints(sizes))


@_translates("Tile")
def _tile(s: Step, x: Value, repeats: Value) -> Value:
    times = s.ints(s.known(repeats, "repeats"))
    bounded([a * b for a, b in zip(s.shape(x), times, strict=True)])
    return s.call(torch.tile, x, tuple(times))


@_translates("Range")
def _range(s: Step, start: Value, end: Value, step: Value) -> Value:
    ends = [s.known(value, "limits") for value in (start, end, step)]
    low, high, by = (value.item() for value in ends)
    bounded([max(0, math.ceil((high - low) / by))])
    return torch.arange(low, high, by, dtype=ends[0].dtype)


@_translates("Pad")
def _pad(s: Step, x: Value, pads: Value = None, value: Value = None, axes: Value = None) -> Value:
    if axes is not None:
        raise NotImported("Pad with axes")
    wanted = s.get("pads") if pads is None else s.ints(s.known(pads, "margins"))
    fill = s.get("value", 0.0) if value is None else float(s.known(value, "values"))
    if not any(wanted):
        return x
    mode = s.get("mode", "constant")
    if mode not in ("constant", "edge", "reflect"):
        raise NotImported(f"Pad in the mode {mode}")
    return s.call(padded, x, wanted, fill, mode)


@_translates("Cast", "CastLike")
def _cast(s: Step, x: Value, like: Value = None) -> Value:
    import onnx

    if like is not None:
        kind = s.builder.example(like).dtype
    else:
        array = onnx.helper.tensor_dtype_to_np_dtype(s.get("to"))
        try:
            kind = torch.from_numpy(np.zeros(1, array)).dtype
        except TypeError as error:
            raise NotImported(f"Cast to {array}") from error
    if s.builder.example(x).dtype == kind:
        return x
    return s.call(torch.Tensor.to, x, kind)


@_translates("Resize", "Upsample")
def _resize(s: Step, x: Value, *inputs: Value) -> Value:
    mode, way = s.get("mode", "nearest"), s.get("coordinate_transformation_mode", "half_pixel")
    old = s.node.op_type == "Upsample" or s.opset < 11
    usual = (mode == "nearest" and (way == "asymmetric" or old) and
             s.get("nearest_mode", "floor") == "floor")  # fmt: skip
    smooth = mode == "linear" and way in ("half_pixel", "pytorch_half_pixel", "align_corners")
    if not usual and not (smooth and not old):
        raise NotImported(f"{s.node.op_type} in the mode {mode}, {way}")
    named = dict(zip(("roi", "scales", "sizes") if not old else ("scales",), inputs, strict=False))
    sizes, scales = named.get("sizes"), named.get("scales")
    if sizes is None:
        factors = s.get("scales") if scales is None else s.known(scales, "factors").tolist()
        sizes = s.call(by_factors, s.call(shape_of, x), factors)
    corners = way == "align_corners" if smooth else None
    return s.call(resized, x, s.ints(sizes), mode, corners)


@_translates("DepthToSpace")
def _depth_to_space(s: Step, x: Value) -> Value:
    if s.get("mode", "DCR") != "CRD":
        raise NotImported("DepthToSpace in the mode DCR")
    return s.layer(nn.PixelShuffle(s.get("blocksize")), x)
