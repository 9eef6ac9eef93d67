"""The layer that a network's preprocessing becomes."""

import numpy as np

from convscope.scratch._geometry import Array
from convscope.scratch._layers._layer import Layer


class Normalize(Layer):
    """(x - mean) / std, channel by channel, with numbers that are given and not learned.

    Args:
        mean: What is subtracted, one number per channel, in pixel units (0 to 1).
        std: What is divided by, one number per channel, in pixel units.

    Example:
        >>> Normalize((0.5,), (0.25,)).forward(np.ones((1, 1, 1, 1)))
        array([[[[2.]]]])
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) with pixels in [0, 1] to images of the same shape."""
        self._remember(inputs)
        return (inputs - self._channels(self.mean)) / self._channels(self.std)

    def backward(self, output_gradient: Array) -> Array:
        """The gradient of the images (N, C, H, W)."""
        return output_gradient / self._channels(self.std)

    def _channels(self, numbers: tuple[float, ...]) -> Array:
        return np.array(numbers, self._inputs.dtype)[:, None, None]
