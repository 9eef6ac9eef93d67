"""The pooling layers."""

from convscope.scratch._geometry import Array, Padding, Pair
from convscope.scratch._layers._layer import Layer
from convscope.scratch._pooling import (
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)


class MaxPool(Layer):
    """The largest number of every window: see `max_pool`.

    Args:
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size.
        padding: "same", "valid" or that many pixels on each side, which never win.

    Example:
        >>> import numpy as np
        >>> MaxPool(2).forward(np.zeros((5, 32, 28, 28))).shape
        (5, 32, 14, 14)
    """

    def __init__(self, size: Pair = 2, *, stride: Pair | None = None, padding: Padding = 0) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images (N, C, H', W')."""
        self._remember(inputs)
        self._outputs = max_pool(inputs, size=self.size, stride=self.stride, padding=self.padding)
        return self._outputs

    def backward(self, output_gradient: Array) -> Array:
        """The gradient of the images (N, C, H, W)."""
        return max_pool_gradient(
            self._inputs,
            self._outputs,
            output_gradient,
            size=self.size,
            stride=self.stride,
            padding=self.padding,
        )


class AveragePool(Layer):
    """The mean of every window: see `average_pool`. With the size of the image: global pooling.

    Args:
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size.
        padding: "same", "valid" or that many zeros on each side, which count in the mean.

    Example:
        >>> import numpy as np
        >>> AveragePool(7).forward(np.zeros((5, 32, 7, 7))).shape
        (5, 32, 1, 1)
    """

    def __init__(self, size: Pair = 2, *, stride: Pair | None = None, padding: Padding = 0) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images (N, C, H', W')."""
        self._remember(inputs)
        return average_pool(inputs, size=self.size, stride=self.stride, padding=self.padding)

    def backward(self, output_gradient: Array) -> Array:
        """The gradient of the images (N, C, H, W)."""
        return average_pool_gradient(
            self._inputs.shape,
            output_gradient,
            size=self.size,
            stride=self.stride,
            padding=self.padding,
        )
