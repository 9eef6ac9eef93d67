"""The fully connected layer: every output is a weighted sum of all inputs."""

from typing import NamedTuple

from convscope.scratch._geometry import Array, need_dimensions, need_shape


class DenseGradients(NamedTuple):
    """The gradient of a number with respect to everything that `dense` reads.

    Attributes:
        inputs: (N, D).
        weights: (K, D).
        bias: (K,).
    """

    inputs: Array
    weights: Array
    bias: Array


def dense(inputs: Array, weights: Array, bias: Array) -> Array:
    """Weighted sums of all inputs: y = x W^T + b, that is y(n, k) = b_k + sum_d x(n, d) W(k, d).

    Args:
        inputs: x (N, D).
        weights: W (K, D), one row per output.
        bias: b (K,).

    Returns:
        y (N, K).

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> import numpy as np
        >>> dense(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([0.5]))
        array([[11.5]])
    """
    need_dimensions("inputs", inputs, "(N, D)")
    need_shape("weights", weights, (len(weights), inputs.shape[1]))
    need_shape("biases", bias, (len(weights),))
    return inputs @ weights.T + bias


def dense_gradients(inputs: Array, weights: Array, output_gradient: Array) -> DenseGradients:
    """The gradients of `dense`: dx = dy W, dW = dy^T x, db = sum_n dy.

    Args:
        inputs: x (N, D), as given to `dense`.
        weights: W (K, D), as given to `dense`.
        output_gradient: dy (N, K).

    Returns:
        The gradients of inputs, weights and bias, each of the shape of what it belongs to.

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> import numpy as np
        >>> dense_gradients(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.ones((1, 1))).weights
        array([[1., 2.]])
    """
    need_shape("output gradients", output_gradient, (len(inputs), len(weights)))
    return DenseGradients(
        inputs=output_gradient @ weights,
        weights=output_gradient.T @ inputs,
        bias=output_gradient.sum(axis=0),
    )
