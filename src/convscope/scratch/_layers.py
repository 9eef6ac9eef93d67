"""Layers: objects with parameters, `forward` and `backward`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from convscope.errors import UsageError
from convscope.scratch._batch_norm import Moments, batch_norm, batch_norm_gradients, moments
from convscope.scratch._convolution import (
    convolve,
    convolve_input_gradient,
    convolve_kernel_gradient,
)
from convscope.scratch._dense import dense, dense_gradients, relu, relu_gradient
from convscope.scratch._geometry import Array, Padding, Pair, pair
from convscope.scratch._pooling import (
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)


def he_normal(
    shape: tuple[int, ...], generator: np.random.Generator, dtype: type[np.floating] = np.float32
) -> Array:
    """Normal numbers with variance 2 / fan-in, which keeps the size of signals through ReLUs.

    Args:
        shape: (outputs, inputs, ...); the fan-in is the product of all but the first.
        generator: Source of the numbers.
        dtype: Type of the result.

    Returns:
        An array of that shape.

    Example:
        >>> weights = he_normal((100, 50, 2, 2), np.random.default_rng(0))
        >>> round(float(weights.std()), 2)  # the root of 2 / 200
        0.1

    Source:
        He et al., "Delving deep into rectifiers" (2015), equation 10.
    """
    fan_in = int(np.prod(shape[1:]))
    return (generator.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(dtype)


class Layer(ABC):
    """A function with parameters that can be run forwards and then backwards.

    `forward` keeps what the backward pass needs. `backward` takes the gradient of a loss with
    respect to the layer's outputs, fills `gradients`, and returns the gradient of the inputs.

    Attributes:
        parameters: What is learned, by name. Optimizers change these arrays in place.
        gradients: The gradient of each parameter, by the same names, after a backward pass.
        constants: What belongs to the layer but is not learned, such as running averages.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}
        self._seen: Array | None = None

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(array.size for array in self.parameters.values())

    @abstractmethod
    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """The layer's outputs; `training` matters to layers that behave otherwise then."""

    @abstractmethod
    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the inputs of the last forward pass."""

    def backward_to_parameters(self, output_gradient: Array) -> None:
        """Fill `gradients` only: all that training needs of a network's first layer."""
        self.backward(output_gradient)

    def _remember(self, inputs: Array) -> None:
        self._seen = inputs

    @property
    def _inputs(self) -> Array:
        """The inputs of the last forward pass."""
        if self._seen is None:
            raise UsageError(
                f"backward pass of {type(self).__name__} before any forward pass",
                hint="call forward(images) first",
            )
        return self._seen


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


class BatchNorm(Layer):
    """Channels with mean 0 and variance 1, scaled and shifted by what is learned: `batch_norm`.

    In training the mean and variance are those of the batch, and running averages of them are
    kept: average += momentum * (batch - average), with the variance that divides by one less
    than the number of values. Otherwise the running averages are used.

    Args:
        channels: Channels of the images (C).
        momentum: Share of the newest batch in the running averages; 0.1 as in PyTorch.
        epsilon: Keeps the root away from zero; 1e-5 as in PyTorch.
        dtype: Type of the parameters.

    Example:
        >>> layer = BatchNorm(1, dtype=np.float64)
        >>> layer.forward(np.array([[[[1.0, 3.0]]]]), training=True).round(3)
        array([[[[-1.,  1.]]]])
        >>> layer.constants["running_mean"]  # 0 + 0.1 * (2 - 0)
        array([0.2])

    Source:
        Ioffe and Szegedy, "Batch normalization" (2015).
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.parameters = {"weight": np.ones(channels, dtype), "bias": np.zeros(channels, dtype)}
        self.constants = {
            "running_mean": np.zeros(channels, dtype),
            "running_var": np.ones(channels, dtype),
        }

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images of the same shape."""
        self._remember(inputs)
        if training:
            self._statistics = None
            self._update(moments(inputs), inputs.size // inputs.shape[1])
        else:
            self._statistics = Moments(
                self.constants["running_mean"].copy(), self.constants["running_var"].copy()
            )
        return batch_norm(
            inputs,
            self.parameters["weight"],
            self.parameters["bias"],
            statistics=self._statistics,
            epsilon=self.epsilon,
        )

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` (gamma is `weight`, beta is `bias`); return that of the images."""
        gradients = batch_norm_gradients(
            self._inputs,
            self.parameters["weight"],
            output_gradient,
            statistics=self._statistics,
            epsilon=self.epsilon,
        )
        self.gradients = {"weight": gradients.scale, "bias": gradients.shift}
        return gradients.images

    def _update(self, batch: Moments, values: int) -> None:
        unbiased = batch.variance * (values / (values - 1)) if values > 1 else batch.variance
        for name, newest in (("running_mean", batch.mean), ("running_var", unbiased)):
            average = self.constants[name]
            average += self.momentum * (newest - average)


class Dense(Layer):
    """A fully connected layer: see `dense`. Images are read as one row of numbers each.

    Args:
        in_features: Numbers that come in per image (D); of images C * H * W, in that order.
        out_features: Numbers that go out per image (K).
        generator: Source of the first weights, normal with variance 2 / D.
        dtype: Type of the parameters.

    Example:
        >>> layer = Dense(1568, 10, generator=np.random.default_rng(0))
        >>> layer.forward(np.zeros((5, 32, 7, 7), np.float32)).shape
        (5, 10)

    Source:
        He et al., "Delving deep into rectifiers" (2015), for the first weights.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        generator: np.random.Generator,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        super().__init__()
        self.parameters = {
            "weight": he_normal((out_features, in_features), generator, dtype),
            "bias": np.zeros(out_features, dtype),
        }

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Rows (N, D), or images (N, C, H, W) with C * H * W = D, to rows (N, K)."""
        self._shape = inputs.shape
        rows = inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))
        self._remember(rows)
        return dense(rows, self.parameters["weight"], self.parameters["bias"])

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the inputs, in the shape they came in."""
        gradients = dense_gradients(self._inputs, self.parameters["weight"], output_gradient)
        self.gradients = {"weight": gradients.weights, "bias": gradients.bias}
        return gradients.inputs.reshape(self._shape)


class ReLU(Layer):
    """max(x, 0), number by number.

    Example:
        >>> import numpy as np
        >>> ReLU().forward(np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
    """

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Any shape to the same shape."""
        self._remember(inputs)
        return relu(inputs)

    def backward(self, output_gradient: Array) -> Array:
        """The gradient of the inputs."""
        return relu_gradient(self._inputs, output_gradient)


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
