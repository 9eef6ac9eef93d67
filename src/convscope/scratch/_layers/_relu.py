"""The rectifier layer."""

from convscope.scratch._geometry import Array
from convscope.scratch._layers._layer import Layer
from convscope.scratch._relu import relu, relu_gradient


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
