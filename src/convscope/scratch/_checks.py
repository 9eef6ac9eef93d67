"""What `convscope scratch check` goes through: every layer, the inception block, whole networks."""

from collections.abc import Callable, Mapping

import numpy as np

from convscope.scratch._geometry import Padding
from convscope.scratch._gradient_check import (
    GradientCheck,
    apart,
    check_layer,
    compare_with_differences,
)
from convscope.scratch._layers._batch_norm import BatchNorm
from convscope.scratch._layers._convolution import Convolution
from convscope.scratch._layers._dense import Dense
from convscope.scratch._layers._inception import Inception
from convscope.scratch._layers._layer import Layer
from convscope.scratch._layers._normalize import Normalize
from convscope.scratch._layers._pooling import AveragePool, MaxPool
from convscope.scratch._layers._relu import ReLU
from convscope.scratch._layers._sequential import Sequential
from convscope.scratch._networks import build_network
from convscope.scratch._softmax import cross_entropy, cross_entropy_gradient


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
    found: list[GradientCheck] = []
    for name, build in CASES.items():
        generator = np.random.default_rng(seed)
        layer, shape = build(generator)
        found += check_layer(name, layer, apart(shape, generator), generator)
    return (*found, _check_loss(np.random.default_rng(seed)))


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
