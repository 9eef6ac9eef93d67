"""Dense layer, ReLU, softmax and cross-entropy, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from convscope.errors import UsageError
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


def softmax(logits: Array) -> Array:
    """p_k = exp(z_k) / sum_j exp(z_j), for each row.

    The largest logit is subtracted first: that changes nothing, and exp never overflows.

    Args:
        logits: z (N, K).

    Returns:
        p (N, K); every row sums to 1.

    Raises:
        UsageError: Not two axes.

    Example:
        >>> softmax(np.array([[1000.0, 1000.0]]))
        array([[0.5, 0.5]])
    """
    return np.exp(log_softmax(logits))


def log_softmax(logits: Array) -> Array:
    """Log p_k = z_k - log sum_j exp(z_j), for each row.

    Args:
        logits: z (N, K).

    Returns:
        log p (N, K), finite for all finite logits.

    Raises:
        UsageError: Not two axes.

    Example:
        >>> log_softmax(np.array([[0.0, -1000.0]]))
        array([[    0., -1000.]])
    """
    need_dimensions("logits", logits, "(N, K)")
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: Array, labels: Array) -> float:
    """The mean over the images of -log p(label).

    Args:
        logits: z (N, K).
        labels: The right classes (N,), whole numbers from 0 to K - 1.

    Returns:
        The loss in nats.

    Raises:
        UsageError: Shapes that do not fit together, or a label that is no class.

    Example:
        >>> round(cross_entropy(np.zeros((1, 10)), np.array([3])), 4)
        2.3026
    """
    chosen = np.arange(len(logits)), _classes(logits, labels)
    return float(-log_softmax(logits)[chosen].mean())


def cross_entropy_gradient(logits: Array, labels: Array) -> Array:
    """The gradient of `cross_entropy`: dz = (p - one_hot(label)) / N.

    Args:
        logits: z (N, K).
        labels: The right classes (N,).

    Returns:
        dz (N, K); every row sums to 0.

    Raises:
        UsageError: Shapes that do not fit together, or a label that is no class.

    Example:
        >>> cross_entropy_gradient(np.zeros((1, 2)), np.array([0]))
        array([[-0.5,  0.5]])
    """
    gradient = softmax(logits)
    gradient[np.arange(len(logits)), _classes(logits, labels)] -= 1
    return gradient / np.asarray(len(logits), gradient.dtype)


def _classes(logits: Array, labels: Array) -> Array:
    need_dimensions("logits", logits, "(N, K)")
    need_shape("labels", labels, (len(logits),))
    classes = logits.shape[1]
    if (
        labels.dtype.kind not in "iu"
        or labels.min(initial=0) < 0
        or labels.max(initial=0) >= classes
    ):
        raise UsageError(
            f"labels are {labels.dtype} from {labels.min()} to {labels.max()}",
            expected=f"whole numbers from 0 to {classes - 1}",
        )
    return labels
