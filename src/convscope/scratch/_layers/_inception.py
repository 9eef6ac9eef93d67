"""The inception block: four looks at the same image, side by side."""

import numpy as np

from convscope.scratch._geometry import Array
from convscope.scratch._layers._convolution import Convolution
from convscope.scratch._layers._layer import Layer
from convscope.scratch._layers._pooling import MaxPool
from convscope.scratch._layers._relu import ReLU
from convscope.scratch._layers._sequential import Sequential, join


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
