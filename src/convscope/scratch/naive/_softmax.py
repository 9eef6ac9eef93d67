"""Softmax and cross-entropy as they are defined, without care for overflow."""

from math import exp, log

import numpy as np

from convscope.scratch._geometry import Array


def softmax(logits: Array) -> Array:
    """p_k = exp(z_k) / sum_j exp(z_j), for each row.

    Args:
        logits: z (N, K), of moderate size: exp(z) must not overflow.

    Returns:
        p (N, K); every row sums to 1.

    Example:
        >>> softmax(np.zeros((1, 2)))
        array([[0.5, 0.5]])
    """
    probabilities = np.zeros_like(logits)
    for n, row in enumerate(logits):
        total = sum(exp(z) for z in row)
        for k, z in enumerate(row):
            probabilities[n, k] = exp(z) / total
    return probabilities


def cross_entropy(logits: Array, labels: Array) -> float:
    """The mean over the images of -log p(label).

    Args:
        logits: z (N, K).
        labels: The right classes (N,).

    Returns:
        The loss in nats.

    Example:
        >>> round(cross_entropy(np.zeros((1, 10)), np.array([3])), 4)
        2.3026
    """
    rows = zip(softmax(logits), labels, strict=True)
    return sum(-log(row[label]) for row, label in rows) / len(labels)


def cross_entropy_gradient(logits: Array, labels: Array) -> Array:
    """dz_k = (p_k - [k is the label]) / N.

    Args:
        logits: z (N, K).
        labels: The right classes (N,).

    Returns:
        dz (N, K); every row sums to 0.

    Example:
        >>> cross_entropy_gradient(np.zeros((1, 2)), np.array([0]))
        array([[-0.5,  0.5]])
    """
    gradient = softmax(logits)
    for n, k in np.ndindex(gradient.shape):
        gradient[n, k] = (gradient[n, k] - (1 if k == labels[n] else 0)) / len(labels)
    return gradient
