"""The fully connected layer, and the step from images to rows of numbers before it."""

import math

import numpy as np

from convscope.scratch._dense import dense, dense_gradients
from convscope.scratch._geometry import Array
from convscope.scratch._initialization import he_normal
from convscope.scratch._layers._layer import Layer


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
