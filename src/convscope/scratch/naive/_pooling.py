"""Pooling as it is defined: look at every window."""

from collections.abc import Iterator

import numpy as np

from convscope.scratch._geometry import Array, Padding, Pair, axes, pair


def max_pool(
    images: Array, *, size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """The largest number of every window: y(i, j) = max_{m,n} x(i s + m, j s + n).

    Args:
        images: x (N, C, H, W).
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size.
        padding: "same", "valid" or that many pixels on each side, which never win.

    Returns:
        y (N, C, H', W').

    Example:
        >>> max_pool(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """
    outputs = np.zeros(_shape(images.shape, size, stride, padding), images.dtype)
    for n, c, i, j in np.ndindex(outputs.shape):
        window = _window(images.shape, i, j, size, stride, padding)
        outputs[n, c, i, j] = max(images[n, c, y, x] for y, x in window)
    return outputs


def max_pool_gradient(
    images: Array,
    outputs: Array,
    output_gradient: Array,
    *,
    size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """Each window hands its gradient to the first of its pixels that has the largest number.

    Args:
        images: x (N, C, H, W), as given to `max_pool`.
        outputs: y (N, C, H', W'), what `max_pool` returned.
        output_gradient: dy (N, C, H', W').
        size: As given to `max_pool`.
        stride: As given to `max_pool`.
        padding: As given to `max_pool`.

    Returns:
        dx (N, C, H, W).

    Example:
        >>> image = np.array([[[[5.0, 5.0], [0.0, 1.0]]]])
        >>> max_pool_gradient(image, max_pool(image), np.ones((1, 1, 1, 1)))[0, 0]
        array([[1., 0.],
               [0., 0.]])
    """
    gradient = np.zeros_like(images)
    for n, c, i, j in np.ndindex(output_gradient.shape):
        for y, x in _window(images.shape, i, j, size, stride, padding):
            if images[n, c, y, x] == outputs[n, c, i, j]:
                gradient[n, c, y, x] += output_gradient[n, c, i, j]
                break
    return gradient


def average_pool(
    images: Array, *, size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """The mean of every window: y(i, j) = 1 / (height width) sum_{m,n} x(i s + m, j s + n).

    Args:
        images: x (N, C, H, W).
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size.
        padding: "same", "valid" or that many zeros on each side, which count in the mean.

    Returns:
        y (N, C, H', W').

    Example:
        >>> average_pool(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """
    height, width = pair(size)
    outputs = np.zeros(_shape(images.shape, size, stride, padding), images.dtype)
    for n, c, i, j in np.ndindex(outputs.shape):
        window = _window(images.shape, i, j, size, stride, padding)
        outputs[n, c, i, j] = sum(images[n, c, y, x] for y, x in window) / (height * width)
    return outputs


def average_pool_gradient(
    image_shape: tuple[int, ...],
    output_gradient: Array,
    *,
    size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """Each window hands an equal share of its gradient to every pixel.

    Args:
        image_shape: (N, C, H, W) of what was given to `average_pool`.
        output_gradient: dy (N, C, H', W').
        size: As given to `average_pool`.
        stride: As given to `average_pool`.
        padding: As given to `average_pool`.

    Returns:
        dx (N, C, H, W).

    Example:
        >>> average_pool_gradient((1, 1, 2, 2), np.ones((1, 1, 1, 1)))[0, 0]
        array([[0.25, 0.25],
               [0.25, 0.25]])
    """
    height, width = pair(size)
    gradient = np.zeros(image_shape, output_gradient.dtype)
    for n, c, i, j in np.ndindex(output_gradient.shape):
        for y, x in _window(image_shape, i, j, size, stride, padding):
            gradient[n, c, y, x] += output_gradient[n, c, i, j] / (height * width)
    return gradient


def _shape(
    image_shape: tuple[int, ...], size: Pair, stride: Pair | None, padding: Padding
) -> tuple[int, ...]:
    vertical, horizontal = axes(image_shape, size, size if stride is None else stride, padding)
    return (*image_shape[:2], vertical.output, horizontal.output)


def _window(
    image_shape: tuple[int, ...], i: int, j: int, size: Pair, stride: Pair | None, padding: Padding
) -> Iterator[tuple[int, int]]:
    """The pixels (y, x) of window (i, j), row by row, without those of the padding."""
    stride = size if stride is None else stride
    vertical, horizontal = axes(image_shape, size, stride, padding)
    (height, width), (down, right) = pair(size), pair(stride)
    for y in range(i * down - vertical.left, i * down - vertical.left + height):
        for x in range(j * right - horizontal.left, j * right - horizontal.left + width):
            if 0 <= y < image_shape[2] and 0 <= x < image_shape[3]:
                yield y, x
