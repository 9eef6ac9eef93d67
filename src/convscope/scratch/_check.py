"""Check layers against naive loops and numerical gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from convscope.scratch._dense import cross_entropy, cross_entropy_gradient
from convscope.scratch._geometry import Array, Padding
from convscope.scratch._layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Layer,
    MaxPool,
    Normalize,
    ReLU,
)
from convscope.scratch._networks import Inception, Sequential, build_network

GRADIENT_TOLERANCE = 1e-7
"""Largest relative error that central differences in float64 may show."""

VISIBLE = 1e-2
"""Smaller gradients are noise to central differences: the rounding error of a sum around 10,
divided by the step, is 1e-10. A bias before batch normalization, for one, has the gradient 0."""


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """One comparison.

    Attributes:
        name: Which layer, with its settings.
        quantity: Whose gradient: "inputs", "weight", "bias", "conv1.weight", ...
        numbers: How many numbers are compared.
        error: max |found - differences| / max |either|; see `relative_error`.
    """

    name: str
    quantity: str
    numbers: int
    error: float

    @property
    def passed(self) -> bool:
        """Whether the error is small enough; NaN is not."""
        return self.error <= GRADIENT_TOLERANCE


def numerical_gradient(
    function: Callable[[], float], variable: Array, *, step: float = 1e-5
) -> Array:
    """The gradient of a function by central differences: (f(x + h) - f(x - h)) / 2h.

    The error is of the order h^2 times the third derivative, plus the rounding error of f divided
    by h; in float64 with h = 1e-5 and numbers around 1, about 1e-10.

    Args:
        function: Reads `variable` whenever it is called.
        variable: A float64 array that is changed one number at a time, and restored.
        step: h, in units of the variable.

    Returns:
        An array of the variable's shape.

    Example:
        >>> x = np.array([3.0, 5.0])
        >>> numerical_gradient(lambda: float(x[0] * x[1]), x).round(6)
        array([5., 3.])

    Source:
        Nocedal and Wright, "Numerical Optimization" (2006), chapter 8.1.
    """
    gradient = np.zeros_like(variable)
    for index in np.ndindex(variable.shape):
        middle = variable[index]
        variable[index] = middle + step
        above = function()
        variable[index] = middle - step
        below = function()
        variable[index] = middle
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(found: Array, expected: Array, *, floor: float = 0.0) -> float:
    """The largest difference, relative to the largest number: max |a - b| / max(|a|, |b|, floor).

    Args:
        found: Any shape.
        expected: The same shape.
        floor: Numbers that are all smaller than this are compared as if they were this large.

    Returns:
        0 for equal arrays (also if both are zero or empty), NaN if either holds NaN.

    Example:
        >>> relative_error(np.array([1.0, 0.0]), np.array([1.0, 0.001]))
        0.001
    """
    scale = max(np.abs(found).max(initial=0.0), np.abs(expected).max(initial=0.0), floor)
    difference = np.abs(found - expected).max(initial=0.0)
    return float(difference / scale) if scale != 0 else float(difference)


def compare_with_differences(
    name: str, quantity: str, gradient: Array, function: Callable[[], float], variable: Array
) -> GradientCheck:
    """One line of a table: a gradient against that of central differences.

    A step of 1e-5 may cross the kink of a ReLU deep inside a network, where no difference quotient
    means anything. So where the two disagree, a second quotient of a tenth of the step is asked.
    A wrong gradient disagrees with both.

    Args:
        name: Of the layer, for the result.
        quantity: Of the variable, for the result.
        gradient: To check.
        function: Reads `variable` whenever it is called.
        variable: A float64 array.

    Returns:
        The largest relative error, with its names.
    """
    differences = numerical_gradient(function, variable)
    error = relative_error(gradient, differences, floor=VISIBLE)
    if not error <= GRADIENT_TOLERANCE:
        finer = numerical_gradient(function, variable, step=1e-6)
        nearer = np.abs(gradient - finer) < np.abs(gradient - differences)
        error = relative_error(gradient, np.where(nearer, finer, differences), floor=VISIBLE)
    return GradientCheck(name=name, quantity=quantity, numbers=variable.size, error=error)


def check_layer(
    name: str, layer: Layer, inputs: Array, generator: np.random.Generator
) -> list[GradientCheck]:
    """Compare a layer's backward pass with central differences.

    The number that is differentiated is a random weighted sum of the layer's outputs.

    Args:
        name: For the result.
        layer: With float64 parameters.
        inputs: float64, not within 1e-5 of a kink.
        generator: Source of the weights of the sum.

    Returns:
        A line for the inputs and one per parameter.
    """
    weights = generator.standard_normal(layer.forward(inputs, training=True).shape)

    def weighted_sum() -> float:
        return float((layer.forward(inputs, training=True) * weights).sum())

    layer.forward(inputs, training=True)
    gradients = {"inputs": layer.backward(weights), **layer.gradients}
    variables = {"inputs": inputs, **layer.parameters}
    return [
        compare_with_differences(name, quantity, gradients[quantity], weighted_sum, variable)
        for quantity, variable in variables.items()
    ]


def apart(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Numbers between -1 and 1 in random order, no two closer than 1 / size, and none near 0.

    So no step of a difference quotient crosses the kink of a ReLU or changes the winner of a
    max-pool.

    Args:
        shape: Of the result.
        generator: Source of the order.

    Returns:
        float64 numbers.

    Example:
        >>> np.sort(apart((4,), np.random.default_rng(0)))
        array([-0.75, -0.25,  0.25,  0.75])
    """
    size = int(np.prod(shape))
    odd = 2 * generator.permutation(size) + 1 - size + (size % 2)
    return (odd / (size + 1 if size % 2 else size)).reshape(shape)


def check_gradients(*, seed: int = 0) -> tuple[GradientCheck, ...]:
    """Compare the gradients of every layer and of whole networks with central differences.

    Args:
        seed: Seed of all weights and inputs.

    Returns:
        One line per layer and quantity, all in float64.

    Example:
        >>> all(check.passed for check in check_gradients())
        True
    """
    checks: list[GradientCheck] = []
    for name, build in CASES.items():
        generator = np.random.default_rng(seed)
        layer, shape = build(generator)
        checks += check_layer(name, layer, apart(shape, generator), generator)
    return (*checks, _check_loss(np.random.default_rng(seed)))


def _check_loss(generator: np.random.Generator) -> GradientCheck:
    logits, labels = generator.standard_normal((5, 10)), generator.integers(0, 10, 5)
    return compare_with_differences(
        "softmax and cross-entropy",
        "inputs",
        cross_entropy_gradient(logits, labels),
        lambda: cross_entropy(logits, labels),
        logits,
    )


def _convolution(
    g: np.random.Generator,
    kernel: tuple[int, int],
    *,
    stride: int = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> Layer:
    layer = Convolution(
        2,
        3,
        kernel,
        stride=stride,
        padding=padding,
        flip=flip,
        generator=g,
        dtype=np.float64,
    )
    return _with_biases(layer, g)


def _with_biases(layer: Layer, g: np.random.Generator) -> Layer:
    """With biases of 0, a window of zeros would lie exactly on the kink of the next ReLU."""
    for array in layer.parameters.values():
        if array.ndim == 1:
            array += 0.1 * g.standard_normal(array.shape)
    return layer


def _small_network(g: np.random.Generator, name: str) -> Layer:
    network = build_network(
        name, generator=g, num_classes=3, input_shape=(1, 8, 8), filters=4, dtype=np.float64
    )
    return _with_biases(network, g)


def _inception(g: np.random.Generator) -> Layer:
    block = Inception(
        3, ones=2, threes=3, fives=2, pool=2, reduce3=2, reduce5=2, generator=g, dtype=np.float64
    )
    return _with_biases(block, g)


Build = Callable[[np.random.Generator], tuple[Layer, tuple[int, ...]]]

CASES: Mapping[str, Build] = {
    "convolution 3x3, same": lambda g: (_convolution(g, (3, 3), padding="same"), (2, 2, 6, 5)),
    "convolution 2x3, stride 2, valid": lambda g: (_convolution(g, (2, 3), stride=2), (2, 2, 6, 7)),
    "convolution 4x4, stride 3, 2 zeros": lambda g: (
        _convolution(g, (4, 4), stride=3, padding=2),
        (2, 2, 6, 7),
    ),
    "convolution 1x1": lambda g: (_convolution(g, (1, 1)), (2, 2, 4, 4)),
    "true convolution 3x2, same": lambda g: (
        _convolution(g, (3, 2), padding="same", flip=True),
        (2, 2, 5, 5),
    ),
    "max-pool 2x2": lambda g: (MaxPool(2), (2, 3, 6, 6)),
    "max-pool 3x3, stride 2, 1 around": lambda g: (MaxPool(3, stride=2, padding=1), (2, 2, 7, 6)),
    "average pool 2x2": lambda g: (AveragePool(2), (2, 3, 6, 6)),
    "average pool 3x3, stride 2, 1 around": lambda g: (
        AveragePool(3, stride=2, padding=1),
        (2, 2, 7, 6),
    ),
    "dense": lambda g: (Dense(12, 5, generator=g, dtype=np.float64), (3, 12)),
    "relu": lambda g: (ReLU(), (3, 4, 5)),
    "batch normalization": lambda g: (BatchNorm(3, dtype=np.float64), (4, 3, 3, 2)),
    "normalization": lambda g: (Normalize((0.5, 0.4), (0.2, 0.3)), (3, 2, 3, 3)),
    "inception block": lambda g: (_inception(g), (2, 3, 4, 4)),
    "dense, relu, dense": lambda g: (
        Sequential(
            {
                "fc1": Dense(6, 8, generator=g, dtype=np.float64),
                "relu1": ReLU(),
                "fc2": Dense(8, 3, generator=g, dtype=np.float64),
            }
        ),
        (4, 6),
    ),
    "network mnist-conv2 on 8x8": lambda g: (_small_network(g, "mnist-conv2"), (2, 1, 8, 8)),
    "network mnist-conv2-bn on 8x8": lambda g: (_small_network(g, "mnist-conv2-bn"), (2, 1, 8, 8)),
}
