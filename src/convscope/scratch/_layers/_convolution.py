"""The convolution layer."""

import numpy as np

from convscope.scratch._convolution import (
    convolve,
    convolve_input_gradient,
    convolve_kernel_gradient,
)
from convscope.scratch._geometry import Array, Padding, Pair, pair
from convscope.scratch._initialization import he_normal
from convscope.scratch._layers._layer import Layer


class Convolution(Layer):
    """A layer of kernels that slide over images: see `convolve`.

    Args:
        in_channels: Channels of the images that come in (C).
        out_channels: Number of kernels, and channels of the images that go out (F).
        kernel: Height and width of a kernel, in pixels.
        stride: How far the kernels move, in pixels.
        padding: "same", "valid" or that many zeros on each side.
        flip: Whether the kernels are turned by 180 degrees first: true convolution.
        generator: Source of the first weights, normal with variance 2 / (C height width).
        dtype: Type of the parameters.

    Example:
        >>> layer = Convolution(1, 32, 3, padding="same", generator=np.random.default_rng(0))
        >>> layer.forward(np.zeros((5, 1, 28, 28), np.float32)).shape
        (5, 32, 28, 28)
        >>> {name: array.shape for name, array in layer.parameters.items()}
        {'weight': (32, 1, 3, 3), 'bias': (32,)}

    Source:
        He et al., "Delving deep into rectifiers" (2015), for the first weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        *,
        stride: Pair = 1,
        padding: Padding = "valid",
        flip: bool = False,
        generator: np.random.Generator,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.flip = stride, padding, flip
        shape = (out_channels, in_channels, *pair(kernel))
        self.parameters = {
            "weight": he_normal(shape, generator, dtype),
            "bias": np.zeros(out_channels, dtype),
        }

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images (N, F, H', W')."""
        self._remember(inputs)
        return convolve(
            inputs,
            self.parameters["weight"],
            self.parameters["bias"],
            stride=self.stride,
            padding=self.padding,
            flip=self.flip,
        )

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the images (N, C, H, W)."""
        self.backward_to_parameters(output_gradient)
        return convolve_input_gradient(
            self._inputs.shape,
            self.parameters["weight"],
            output_gradient,
            stride=self.stride,
            padding=self.padding,
            flip=self.flip,
        )

    def backward_to_parameters(self, output_gradient: Array) -> None:
        """Fill `gradients`: those of `weight` and `bias`."""
        weight = convolve_kernel_gradient(
            self._inputs,
            self.parameters["weight"].shape,
            output_gradient,
            stride=self.stride,
            padding=self.padding,
            flip=self.flip,
        )
        self.gradients = {"weight": weight, "bias": output_gradient.sum(axis=(0, 2, 3))}
