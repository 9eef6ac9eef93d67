"""Layers from scratch, computed once more by torch and by plain loops: two other opinions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from convscope.scratch import (
    BatchNorm,
    Convolution,
    Dense,
    Inception,
    Layer,
    MaxPool,
    ReLU,
    Sequential,
    naive,
)

Array = NDArray[Any]
OUTPUTS = "outputs"
"""Name of what comes out, beside "inputs" and the names of the parameters, whose gradients are."""


def by_layer(layer: Layer, inputs: Array, output_gradient: Array) -> dict[str, Array]:
    """What the layer itself says: outputs, and the gradients of inputs and parameters by name."""
    outputs = layer.forward(inputs, training=True)
    return {OUTPUTS: outputs, "inputs": layer.backward(output_gradient), **layer.gradients}


def by_torch(layer: Layer, inputs: Array, output_gradient: Array) -> dict[str, Array]:
    """The same from torch's functions and its automatic differentiation.

    Args:
        layer: Of `convscope.scratch`; its parameters are copied.
        inputs: float64.
        output_gradient: Of the shape of the outputs.

    Returns:
        By the names of `by_layer`.

    Example:
        >>> found = by_torch(ReLU(), np.array([[-1.0, 2.0]]), np.ones((1, 2)))
        >>> found["outputs"].tolist(), found["inputs"].tolist()
        ([[0.0, 2.0]], [[0.0, 1.0]])
    """
    x = torch.tensor(inputs, requires_grad=True)
    parameters = {
        name: torch.tensor(array, requires_grad=True) for name, array in layer.parameters.items()
    }
    y = _forward(layer, x, parameters)
    gradients = torch.autograd.grad(y, (x, *parameters.values()), torch.tensor(output_gradient))
    names = ("inputs", *parameters)
    found = {name: g.numpy() for name, g in zip(names, gradients, strict=True)}
    return {OUTPUTS: y.detach().numpy(), **found}


def by_loops(layer: Layer, inputs: Array, output_gradient: Array) -> dict[str, Array] | None:
    """The same from the definitions in plain loops; `None` for layers that are made of others."""
    of, dy = layer.parameters, output_gradient
    if isinstance(layer, Convolution):
        how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "flip": layer.flip}
        g = naive.convolve_gradients(inputs, of["weight"], dy, **how)
        outputs = naive.convolve(inputs, of["weight"], of["bias"], **how)
        return {OUTPUTS: outputs, "inputs": g.images, "weight": g.kernels, "bias": g.bias}
    if isinstance(layer, MaxPool):
        how = {"size": layer.size, "stride": layer.stride, "padding": layer.padding}
        outputs = naive.max_pool(inputs, **how)
        return {OUTPUTS: outputs, "inputs": naive.max_pool_gradient(inputs, outputs, dy, **how)}
    if isinstance(layer, ReLU):
        return {OUTPUTS: naive.relu(inputs), "inputs": naive.relu_gradient(inputs, dy)}
    if isinstance(layer, Dense):
        d = naive.dense_gradients(inputs, of["weight"], dy)
        outputs = naive.dense(inputs, of["weight"], of["bias"])
        return {OUTPUTS: outputs, "inputs": d.inputs, "weight": d.weights, "bias": d.bias}
    if isinstance(layer, BatchNorm):
        b = naive.batch_norm_gradients(inputs, of["weight"], dy)
        outputs = naive.batch_norm(inputs, of["weight"], of["bias"])
        return {OUTPUTS: outputs, "inputs": b.images, "weight": b.scale, "bias": b.shift}
    return None


def same_by_torch(size: int, kernel: int) -> tuple[int, int]:
    """Zeros that torch's ``padding="same"`` puts left and right, read off what it computes.

    A kernel whose first weight alone is 1 copies its input, shifted to the right by the zeros on
    the left.

    Args:
        size: Length of the axis; longer than the kernel.
        kernel: Length of the kernel.

    Returns:
        Zeros left, zeros right.

    Example:
        >>> same_by_torch(28, 3), same_by_torch(28, 4)
        ((1, 1), (1, 2))
    """
    numbers = torch.arange(1.0, size + 1).reshape(1, 1, size)
    weight = torch.zeros(1, 1, kernel)
    weight[0, 0, 0] = 1.0
    with _without_warning():
        shifted = functional.conv1d(numbers, weight, padding="same")
    left = size - int(shifted[0, 0, -1])
    # As many numbers come out as went in: what is not left is right.
    return left, shifted.shape[2] - size + kernel - 1 - left


def _forward(layer: Layer, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    if isinstance(layer, Convolution):
        weight = parameters["weight"]
        used = weight.flip(2, 3) if layer.flip else weight
        with _without_warning():
            return functional.conv2d(x, used, parameters["bias"], layer.stride, layer.padding)
    if isinstance(layer, MaxPool):
        around = layer.padding
        if isinstance(around, str):
            assert isinstance(layer.size, int)
            around = layer.size // 2 if around == "same" else 0
        return functional.max_pool2d(x, layer.size, layer.stride, around)
    if isinstance(layer, ReLU):
        return x.relu()
    if isinstance(layer, Dense):
        return functional.linear(x.flatten(1), parameters["weight"], parameters["bias"])
    if isinstance(layer, BatchNorm):
        weight, bias = parameters["weight"], parameters["bias"]
        return functional.batch_norm(
            x, None, None, weight, bias, training=True, eps=layer.epsilon
        )  # fmt: skip
    if isinstance(layer, Sequential):
        for name, inner in layer.layers.items():
            x = _forward(inner, x, _of(parameters, name))
        return x
    if isinstance(layer, Inception):
        parts = [_forward(one, x, _of(parameters, name)) for name, one in layer.branches.items()]
        return torch.cat(parts, dim=1)
    raise TypeError(f"{type(layer).__name__} has no twin in torch")


def _of(parameters: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {
        key.removeprefix(start): value for key, value in parameters.items() if key.startswith(start)
    }


def _without_warning() -> warnings.catch_warnings[None]:
    """Torch warns that "same" for even kernels copies the image; here that is no matter."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def rounded(error: float) -> float:
    """Two digits: the others are noise.

    Example:
        >>> rounded(1.23456e-10), rounded(0.0)
        (1.2e-10, 0.0)
    """
    return float(f"{error:.1e}")


def enlarged(tile: Array, side: int) -> Array:
    """Pixels repeated, so that small pictures stand beside large ones.

    Args:
        tile: ``(height, width[, color])``.
        side: About the height of the result; never less than that of the tile.

    Example:
        >>> enlarged(np.array([[0, 1]]), 2).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    factor = max(1, round(side / tile.shape[0]))
    return tile.repeat(factor, axis=0).repeat(factor, axis=1)


def precisely(error: float) -> str:
    """How nearly two things are the same, in words.

    Example:
        >>> precisely(0.0), precisely(3e-16)
        ('to the last bit', 'to 3e-16')
    """
    return f"to {error:.0e}" if error else "to the last bit"


def largest(errors: list[float | None]) -> float:
    """The largest of what was compared."""
    return max((error for error in errors if error is not None), default=float(np.nan))
