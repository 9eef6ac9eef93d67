"""The fully connected layer as it is defined."""

import numpy as np

from convscope.scratch._dense import DenseGradients
from convscope.scratch._geometry import Array


def dense(inputs: Array, weights: Array, bias: Array) -> Array:
    """y(n, k) = b_k + sum_d x(n, d) W(k, d).

    Args:
        inputs: x (N, D).
        weights: W (K, D), one row per output.
        bias: b (K,).

    Returns:
        y (N, K).

    Example:
        >>> dense(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([0.5]))
        array([[11.5]])
    """
    outputs = np.zeros((len(inputs), len(weights)), np.result_type(inputs, weights))
    for n, k in np.ndindex(outputs.shape):
        outputs[n, k] = bias[k] + sum(x * w for x, w in zip(inputs[n], weights[k], strict=True))
    return outputs


def dense_gradients(inputs: Array, weights: Array, output_gradient: Array) -> DenseGradients:
    """Every product x W of the definition, read backwards: dx += dy W, dW += dy x, db += dy.

    Args:
        inputs: x (N, D), as given to `dense`.
        weights: W (K, D), as given to `dense`.
        output_gradient: dy (N, K).

    Returns:
        The gradients of inputs, weights and bias, each of the shape of what it belongs to.

    Example:
        >>> dense_gradients(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.ones((1, 1))).weights
        array([[1., 2.]])
    """
    of_inputs, of_weights = np.zeros_like(inputs), np.zeros_like(weights)
    of_bias = np.zeros(len(weights), output_gradient.dtype)
    for n, k in np.ndindex(output_gradient.shape):
        given = output_gradient[n, k]
        of_bias[k] += given
        for d in range(inputs.shape[1]):
            of_inputs[n, d] += given * weights[k, d]
            of_weights[k, d] += given * inputs[n, d]
    return DenseGradients(of_inputs, of_weights, of_bias)
