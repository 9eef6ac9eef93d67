"""Batch normalization, one channel at a time, with one step of the chain rule per line."""

import numpy as np

from convscope.scratch._batch_norm import BatchNormGradients, Moments
from convscope.scratch._geometry import Array


def batch_norm(
    images: Array,
    scale: Array,
    shift: Array,
    *,
    statistics: Moments | None = None,
    epsilon: float = 1e-5,
) -> Array:
    """Normalize channels: y = gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta.

    Args:
        images: x (N, C, H, W).
        scale: gamma (C,).
        shift: beta (C,).
        statistics: mu and sigma^2; None takes those of the batch.
        epsilon: Keeps the root away from zero.

    Returns:
        y (N, C, H, W).

    Example:
        >>> batch_norm(np.array([[[[1.0, 3.0]]]]), np.ones(1), np.zeros(1), epsilon=0.0)
        array([[[[-1.,  1.]]]])

    Source:
        Ioffe and Szegedy, "Batch normalization" (2015), algorithm 1.
    """
    outputs = np.zeros_like(images)
    for c in range(images.shape[1]):
        x = images[:, c]
        mu, variance = _moments(x, c, statistics)
        outputs[:, c] = scale[c] * (x - mu) / np.sqrt(variance + epsilon) + shift[c]
    return outputs


def batch_norm_gradients(
    images: Array,
    scale: Array,
    output_gradient: Array,
    *,
    statistics: Moments | None = None,
    epsilon: float = 1e-5,
) -> BatchNormGradients:
    """The chain rule step by step: from y to z, from z to the variance, the mean and x.

    Args:
        images: x (N, C, H, W), as given to `batch_norm`.
        scale: gamma (C,), as given to `batch_norm`.
        output_gradient: dy (N, C, H, W).
        statistics: As given to `batch_norm`.
        epsilon: As given to `batch_norm`.

    Returns:
        The gradients of images, scale and shift, each of the shape of what it belongs to.

    Example:
        >>> x, dy = np.array([[[[1.0, 3.0]]]]), np.array([[[[0.0, 1.0]]]])
        >>> batch_norm_gradients(x, np.ones(1), dy, epsilon=0.0).shift
        array([1.])

    Source:
        Ioffe and Szegedy (2015), section 3.
    """
    of_images, of_scale, of_shift = (
        np.zeros_like(images),
        np.zeros_like(scale),
        np.zeros_like(scale),
    )
    for c in range(images.shape[1]):
        x, dy = images[:, c], output_gradient[:, c]
        mu, variance = _moments(x, c, statistics)
        z = (x - mu) * (variance + epsilon) ** -0.5
        of_shift[c] = dy.sum()
        of_scale[c] = (dy * z).sum()
        dz = dy * scale[c]
        dx = dz * (variance + epsilon) ** -0.5
        if statistics is None:
            d_variance = (dz * (x - mu)).sum() * -0.5 * (variance + epsilon) ** -1.5
            d_mu = -dx.sum() - d_variance * 2 * (x - mu).mean()
            dx = dx + d_variance * 2 * (x - mu) / x.size + d_mu / x.size
        of_images[:, c] = dx
    return BatchNormGradients(of_images, of_scale, of_shift)


def _moments(x: Array, channel: int, statistics: Moments | None) -> tuple[float, float]:
    """Mean and variance of one channel: those of the batch, or those that were given."""
    if statistics is not None:
        return float(statistics.mean[channel]), float(statistics.variance[channel])
    mu = x.mean()
    return float(mu), float(((x - mu) ** 2).mean())
