"""Layers put together: `Sequential`, the inception block, and networks by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from convscope.errors import UsageError, choose
from convscope.scratch._geometry import Array
from convscope.scratch._layers import (
    BatchNorm,
    Convolution,
    Dense,
    Layer,
    MaxPool,
    Normalize,
    ReLU,
)


class Sequential(Layer):
    """Layers one after the other. Backwards they run in the opposite order: the chain rule.

    The names of the layers become the first part of the names of their parameters:
    ``conv1.weight``. A `Sequential` is itself a layer.

    Args:
        layers: The layers by name, in order.

    Raises:
        UsageError: No layers.

    Example:
        >>> import numpy as np
        >>> from convscope.scratch import Dense, ReLU
        >>> generator = np.random.default_rng(0)
        >>> network = Sequential({"fc1": Dense(4, 3, generator=generator), "relu1": ReLU()})
        >>> network.forward(np.ones((2, 4), np.float32)).shape
        (2, 3)
        >>> list(network.parameters)
        ['fc1.weight', 'fc1.bias']
        >>> network.parameter_count
        15
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        if not layers:
            raise UsageError("a network without layers", expected="at least one")
        self.layers = dict(layers)
        self.parameters = join({name: layer.parameters for name, layer in layers.items()})
        self.constants = join({name: layer.constants for name, layer in layers.items()})

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """The last layer's outputs."""
        self._remember(inputs)
        for layer in self.layers.values():
            inputs = layer.forward(inputs, training=training)
        return inputs

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the inputs."""
        for layer in reversed(self.layers.values()):
            output_gradient = layer.backward(output_gradient)
        self._collect()
        return output_gradient

    def backward_to_parameters(self, output_gradient: Array) -> None:
        """Fill `gradients`, and stop at the first layer that has parameters."""
        layers = list(self.layers.values())
        first = next((i for i, layer in enumerate(layers) if layer.parameters), 0)
        for layer in layers[:first:-1]:
            output_gradient = layer.backward(output_gradient)
        layers[first].backward_to_parameters(output_gradient)
        self._collect()

    def _collect(self) -> None:
        self.gradients = join({name: layer.gradients for name, layer in self.layers.items()})


def join(parts: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """{"conv1": {"weight": w}} as {"conv1.weight": w}."""
    return {
        f"{layer}.{name}": array for layer, part in parts.items() for name, array in part.items()
    }


class Inception(Layer):
    """1x1, 3x3 and 5x5 convolutions and a 3x3 max-pool of the same images, channels joined.

    A 5x5 kernel over many channels is dear: 25 C weights for every output channel. So a 1x1
    convolution first reduces C channels to a few. The block's outputs are as before, at a
    fraction of the parameters:

        branch   with reduction             without
        ones     1x1                        1x1
        threes   1x1 to `reduce3`, 3x3      3x3
        fives    1x1 to `reduce5`, 5x5      5x5
        pool     3x3 max-pool, 1x1          3x3 max-pool, 1x1

    Every convolution is followed by a ReLU, has stride 1 and padding "same".

    Args:
        in_channels: Channels of the images that come in.
        ones: Channels of the 1x1 branch.
        threes: Channels of the 3x3 branch.
        fives: Channels of the 5x5 branch.
        pool: Channels of the pool branch, made by the 1x1 convolution after the max-pool.
        reduce3: Channels that the 3x3 kernels read; None: all of them, no reduction.
        reduce5: Channels that the 5x5 kernels read; None: all of them, no reduction.
        generator: Source of the first weights.
        dtype: Type of the parameters.

    Example:
        >>> sizes = dict(in_channels=192, ones=64, threes=128, fives=32, pool=32)
        >>> generator = np.random.default_rng(0)
        >>> block = Inception(**sizes, reduce3=96, reduce5=16, generator=generator)
        >>> plain = Inception(**sizes, generator=generator)
        >>> block.parameter_count, plain.parameter_count  # the first block of GoogLeNet
        (163696, 393472)
        >>> block.forward(np.zeros((1, 192, 7, 7), np.float32)).shape
        (1, 256, 7, 7)

    Source:
        Szegedy et al., "Going deeper with convolutions" (2014), figure 2. Their plain block (2a)
        has no convolution after the pool; ours keeps it, so that both put out the same shape.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        ones: int,
        threes: int,
        fives: int,
        pool: int,
        reduce3: int | None = None,
        reduce5: int | None = None,
        generator: np.random.Generator,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        super().__init__()

        def convolution(channels: int, count: int, kernel: int) -> dict[str, Layer]:
            layer = Convolution(
                channels, count, kernel, padding="same", generator=generator, dtype=dtype
            )
            return {f"conv{kernel}": layer, f"relu{kernel}": ReLU()}

        def reduced(count: int, kernel: int, channels: int | None) -> Sequential:
            if channels is None:
                return Sequential(convolution(in_channels, count, kernel))
            return Sequential(
                convolution(in_channels, channels, 1) | convolution(channels, count, kernel)
            )

        self.branches = {
            "ones": Sequential(convolution(in_channels, ones, 1)),
            "threes": reduced(threes, 3, reduce3),
            "fives": reduced(fives, 5, reduce5),
            "pool": Sequential(
                {"maxpool": MaxPool(3, stride=1, padding="same")}
                | convolution(in_channels, pool, 1)
            ),
        }
        self._borders = np.cumsum([ones, threes, fives])
        self.parameters = join({name: layer.parameters for name, layer in self.branches.items()})

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images (N, ones + threes + fives + pool, H, W)."""
        self._remember(inputs)
        branches = self.branches.values()
        return np.concatenate(
            [branch.forward(inputs, training=training) for branch in branches], axis=1
        )

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients`; every branch read the inputs, so their input gradients add up."""
        parts = np.split(output_gradient, self._borders, axis=1)
        total = sum(
            branch.backward(part)
            for branch, part in zip(self.branches.values(), parts, strict=True)
        )
        self.gradients = join({name: layer.gradients for name, layer in self.branches.items()})
        return np.asarray(total)


FILTERS = 32
HIDDEN = 500

NETWORKS = {
    "mnist-conv1": (1, False, False),
    "mnist-conv1-bn": (1, False, True),
    "mnist-conv2": (2, False, False),
    "mnist-conv2-bn": (2, False, True),
    "mnist-conv2-fc": (2, True, False),
    "mnist-conv2-fc-bn": (2, True, True),
}
"""Name: number of convolutions, whether there is a hidden dense layer, batch normalization."""


def build_network(
    name: str,
    *,
    generator: np.random.Generator,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    filters: int = FILTERS,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    dtype: type[np.floating] = np.float32,
) -> Sequential:
    """A digit network with first weights, its layers named as in `convscope.models`.

    Each block is 32 3x3 filters ("same" padding), perhaps batch normalization, ReLU, 2x2
    max-pool; then perhaps 500 hidden units with ReLU; then the logits.

    Args:
        name: One of `NETWORKS`, such as ``"mnist-conv2"``.
        generator: Source of the first weights.
        num_classes: Number of logits.
        input_shape: Channels, height and width of the images.
        filters: Kernels of each convolution; 32 in the networks of `convscope.models`.
        mean: Mean pixel per channel, subtracted from images in [0, 1]; None: nothing is.
        std: Standard deviation per channel, which divides after that.
        dtype: Type of the parameters.

    Returns:
        A network from images (N, C, H, W) to logits (N, num_classes).

    Raises:
        UsageError: An unknown name, or images too small to be pooled.

    Example:
        >>> network = build_network("mnist-conv2", generator=np.random.default_rng(0))
        >>> list(network.layers)
        ['conv1', 'relu1', 'pool1', 'conv2', 'relu2', 'pool2', 'fc1']
        >>> network.parameter_count
        25258
    """
    convolutions, has_hidden, normalized = NETWORKS[choose("network", name, NETWORKS)]
    channels, height, width = input_shape
    layers: dict[str, Layer] = {}
    if mean is not None and std is not None:
        layers["normalize"] = Normalize(mean, std)
    for block in range(1, convolutions + 1):
        layers[f"conv{block}"] = Convolution(
            channels, filters, 3, padding="same", generator=generator, dtype=dtype
        )
        if normalized:
            layers[f"bn{block}"] = BatchNorm(filters, dtype=dtype)
        layers[f"relu{block}"] = ReLU()
        layers[f"pool{block}"] = MaxPool(2)
        channels, height, width = filters, height // 2, width // 2
    features = channels * height * width
    if not features:
        raise UsageError(
            f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for {name}",
            code="U10",
            expected=f"at least {2**convolutions}x{2**convolutions}",
        )
    if has_hidden:
        layers["fc1"] = Dense(features, HIDDEN, generator=generator, dtype=dtype)
        layers[f"relu{convolutions + 1}"] = ReLU()
        layers["fc2"] = Dense(HIDDEN, num_classes, generator=generator, dtype=dtype)
    else:
        layers["fc1"] = Dense(features, num_classes, generator=generator, dtype=dtype)
    return Sequential(layers)
