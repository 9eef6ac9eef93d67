"""The rectifier."""

import numpy as np

from convscope.scratch._geometry import Array, need_shape


def relu(inputs: Array) -> Array:
    """The rectifier: y = max(x, 0).

    Args:
        inputs: x, of any shape.

    Returns:
        y, of the same shape.

    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """
    return np.maximum(inputs, 0)


def relu_gradient(inputs: Array, output_gradient: Array) -> Array:
    """The gradient of `relu`: dx = dy where x > 0, else 0; also 0 at the kink, as in PyTorch.

    Args:
        inputs: x, as given to `relu`.
        output_gradient: dy, of the same shape.

    Returns:
        dx, of the same shape.

    Raises:
        UsageError: Two different shapes.

    Example:
        >>> relu_gradient(np.array([-1.0, 0.0, 2.0]), np.ones(3))
        array([0., 0., 1.])
    """
    need_shape("output gradients", output_gradient, inputs.shape)
    return output_gradient * (inputs > 0)
