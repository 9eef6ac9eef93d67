"""The rectifier as it is defined."""

import numpy as np

from convscope.scratch._geometry import Array


def relu(inputs: Array) -> Array:
    """The rectifier: y = x if x > 0, else 0.

    Args:
        inputs: x, of any shape.

    Returns:
        y, of the same shape.

    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """
    outputs = np.zeros_like(inputs)
    for index in np.ndindex(inputs.shape):
        if inputs[index] > 0:
            outputs[index] = inputs[index]
    return outputs


def relu_gradient(inputs: Array, output_gradient: Array) -> Array:
    """The gradient of `relu`: dx = dy if x > 0, else 0.

    Args:
        inputs: x, as given to `relu`.
        output_gradient: dy, of the same shape.

    Returns:
        dx, of the same shape.

    Example:
        >>> relu_gradient(np.array([-1.0, 0.0, 2.0]), np.ones(3))
        array([0., 0., 1.])
    """
    gradient = np.zeros_like(output_gradient)
    for index in np.ndindex(inputs.shape):
        if inputs[index] > 0:
            gradient[index] = output_gradient[index]
    return gradient
