"""Batch normalization of channels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from convscope.errors import UsageError
from convscope.scratch._geometry import Array, need_dimensions, need_shape

_OVER = (0, 2, 3)


class BatchNormGradients(NamedTuple):
    """The gradient of a number with respect to everything that `batch_norm` reads.

    Attributes:
        images: (N, C, H, W).
        scale: (C,).
        shift: (C,).
    """

    images: Array
    scale: Array
    shift: Array


class Moments(NamedTuple):
    """Mean and (biased) variance of every channel, both (C,)."""

    mean: Array
    variance: Array


def moments(images: Array) -> Moments:
    """Mean and variance of every channel over batch, height and width: mu and sigma^2.

    Args:
        images: (N, C, H, W).

    Returns:
        Two arrays (C,). The variance divides by the number of values, not by one less.

    Raises:
        UsageError: Not four axes.

    Example:
        >>> moments(np.array([[[[1.0, 3.0]]]]))
        Moments(mean=array([2.]), variance=array([1.]))
    """
    need_dimensions("images", images, "(N, C, H, W)")
    mean = images.mean(axis=_OVER)
    centered = images - _over(mean)
    return Moments(mean, np.mean(centered * centered, axis=_OVER))


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
        statistics: mu and sigma^2. None takes those of the batch, as in training; a trained
            network uses running averages instead.
        epsilon: Keeps the root away from zero, in units of the variance; 1e-5 as in PyTorch.

    Returns:
        y (N, C, H, W).

    Raises:
        UsageError: Shapes that do not fit together, or the statistics of a single number.

    Example:
        >>> x = np.array([[[[1.0, 3.0]]]])
        >>> batch_norm(x, np.ones(1), np.zeros(1), epsilon=0.0)
        array([[[[-1.,  1.]]]])

    Source:
        Ioffe and Szegedy, "Batch normalization" (2015), algorithm 1.
    """
    mean, variance = _statistics(images, scale, statistics)
    need_shape("shifts", shift, scale.shape)
    factor = scale / np.sqrt(variance + np.asarray(epsilon, variance.dtype))
    return images * _over(factor) + _over(shift - mean * factor)


def batch_norm_gradients(
    images: Array,
    scale: Array,
    output_gradient: Array,
    *,
    statistics: Moments | None = None,
    epsilon: float = 1e-5,
) -> BatchNormGradients:
    """The gradients of `batch_norm`.

    With z = (x - mu) / sqrt(sigma^2 + epsilon) and means over batch, height and width:

        d beta  = sum dy
        d gamma = sum dy z
        dx = gamma / sqrt(sigma^2 + epsilon) * (dy - mean(dy) - z mean(dy z))

    The two means are there because every x also moves mu and sigma. With fixed statistics it
    does not, and they drop out.

    Args:
        images: x (N, C, H, W), as given to `batch_norm`.
        scale: gamma (C,), as given to `batch_norm`.
        output_gradient: dy (N, C, H, W).
        statistics: As given to `batch_norm`.
        epsilon: As given to `batch_norm`.

    Returns:
        The gradients of images, scale and shift, each of the shape of what it belongs to.

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> x, dy = np.array([[[[1.0, 3.0]]]]), np.array([[[[0.0, 1.0]]]])
        >>> batch_norm_gradients(x, np.ones(1), dy, epsilon=0.0).images
        array([[[[0., 0.]]]])
    """
    mean, variance = _statistics(images, scale, statistics)
    need_shape("output gradients", output_gradient, images.shape)
    deviation = np.sqrt(variance + np.asarray(epsilon, variance.dtype))
    normalized = (images - _over(mean)) / _over(deviation)
    shift = output_gradient.sum(axis=_OVER)
    gain = (output_gradient * normalized).sum(axis=_OVER)
    gradient = output_gradient
    if statistics is None:
        count = np.asarray(images.size // images.shape[1], images.dtype)
        gradient = gradient - _over(shift / count) - normalized * _over(gain / count)
    return BatchNormGradients(gradient * _over(scale / deviation), gain, shift)


def _over(channels: Array) -> Array:
    """(C,) as (C, 1, 1), which stretches over height and width."""
    return channels[:, None, None]


def _statistics(images: Array, scale: Array, statistics: Moments | None) -> Moments:
    need_dimensions("images", images, "(N, C, H, W)")
    need_shape("scales", scale, images.shape[1:2])
    if statistics is not None:
        return statistics
    if images.size == images.shape[1]:
        raise UsageError(
            f"images of shape {images.shape} have one number per channel: no variance",
            hint="normalize more than one image, or give the statistics",
        )
    return moments(images)
