"""Softmax and the cross-entropy of its probabilities."""

import numpy as np

from convscope.errors import UsageError
from convscope.scratch._geometry import Array, need_dimensions, need_shape


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
