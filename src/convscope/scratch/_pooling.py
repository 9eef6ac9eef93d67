"""Pooling, fast: the k-th number of every window at once, for k = 1, 2, ...

A window of 2 x 2 numbers has four places. All numbers at the first place of their window form a
strided view of the images, and so do those at the second, third and fourth. Pooling is then the
maximum (or the mean) of four whole arrays, and needs no window to be copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from convscope.scratch._geometry import (
    Array,
    Axis,
    Padding,
    Pair,
    axes,
    need_dimensions,
    need_shape,
    pad,
    pair,
)


def max_pool(
    images: Array, *, size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """The largest number of every window: y(i, j) = max_{m,n} x(i s + m, j s + n).

    Args:
        images: (N, C, H, W).
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size, so that windows do not overlap.
        padding: "same", "valid" or that many pixels on each side; they are -inf and never win.

    Returns:
        (N, C, H', W').

    Raises:
        UsageError: Not four axes, or a window larger than the padded image.

    Example:
        >>> max_pool(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])

    Source:
        Goodfellow, Bengio and Courville, "Deep Learning" (2016), chapter 9.3.
    """
    need_dimensions("images", images, "(N, C, H, W)")
    stride = size if stride is None else stride
    vertical, horizontal = axes(images.shape, size, stride, padding)
    places = _places(_bordered(images, vertical, horizontal), size, stride, vertical, horizontal)
    largest = next(places).copy(order="K")
    for numbers in places:
        np.maximum(largest, numbers, out=largest)
    return largest


def max_pool_gradient(
    images: Array,
    outputs: Array,
    output_gradient: Array,
    *,
    size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """The gradient of `max_pool`: each window hands its gradient to the pixel that won it.

    If several pixels of a window are equally large, the first wins (row by row), as in PyTorch.

    Args:
        images: (N, C, H, W), as given to `max_pool`.
        outputs: (N, C, H', W'), what `max_pool` returned.
        output_gradient: (N, C, H', W').
        size: As given to `max_pool`.
        stride: As given to `max_pool`.
        padding: As given to `max_pool`.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> image = np.array([[[[5.0, 5.0], [0.0, 1.0]]]])
        >>> max_pool_gradient(image, max_pool(image), np.ones((1, 1, 1, 1)))[0, 0]
        array([[1., 0.],
               [0., 0.]])
    """
    stride = size if stride is None else stride
    vertical, horizontal = axes(images.shape, size, stride, padding)
    need_shape("outputs", outputs, (*images.shape[:2], vertical.output, horizontal.output))
    need_shape("output gradients", output_gradient, outputs.shape)
    bordered = _bordered(images, vertical, horizontal)
    gradient = np.zeros_like(bordered, dtype=output_gradient.dtype)
    undecided = np.ones_like(outputs, dtype=bool)
    apart = _never_overlaps(size, stride)
    for numbers, share in zip(
        _places(bordered, size, stride, vertical, horizontal),
        _places(gradient, size, stride, vertical, horizontal),
        strict=True,
    ):
        wins = numbers == outputs
        wins &= undecided
        undecided ^= wins
        if apart:
            np.multiply(output_gradient, wins, out=share)
        else:
            share += output_gradient * wins
    return _inside(gradient, images.shape, vertical, horizontal)


def average_pool(
    images: Array, *, size: Pair = 2, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """The mean of every window: y(i, j) = 1 / (height width) sum_{m,n} x(i s + m, j s + n).

    Args:
        images: (N, C, H, W).
        size: Height and width of the window, in pixels.
        stride: How far the window moves; None is its size, so that windows do not overlap.
        padding: "same", "valid" or that many zeros on each side; they count in the mean.

    Returns:
        (N, C, H', W').

    Raises:
        UsageError: Not four axes, or a window larger than the padded image.

    Example:
        >>> average_pool(np.arange(16.0).reshape(1, 1, 4, 4))[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])

    Source:
        LeCun et al., "Gradient-based learning applied to document recognition" (1998), whose
        sub-sampling layers also scale and shift the mean; the plain mean is today's usage.
    """
    need_dimensions("images", images, "(N, C, H, W)")
    stride = size if stride is None else stride
    vertical, horizontal = axes(images.shape, size, stride, padding)
    bordered = pad(images, vertical, horizontal) if padding else images
    places = _places(bordered, size, stride, vertical, horizontal)
    total = next(places).copy(order="K")
    for numbers in places:
        total += numbers
    return total / np.asarray(np.prod(pair(size)), total.dtype)


def average_pool_gradient(
    image_shape: tuple[int, ...],
    output_gradient: Array,
    *,
    size: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """The gradient of `average_pool`: each pixel of a window gets an equal share.

    Args:
        image_shape: (N, C, H, W) of what was given to `average_pool`.
        output_gradient: (N, C, H', W').
        size: As given to `average_pool`.
        stride: As given to `average_pool`.
        padding: As given to `average_pool`.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> average_pool_gradient((1, 1, 2, 2), np.ones((1, 1, 1, 1)))[0, 0]
        array([[0.25, 0.25],
               [0.25, 0.25]])
    """
    stride = size if stride is None else stride
    vertical, horizontal = axes(image_shape, size, stride, padding)
    need_shape(
        "output gradients",
        output_gradient,
        (*image_shape[:2], vertical.output, horizontal.output),
    )
    number, channels, height, width = image_shape
    gradient = np.zeros(
        (number, height + vertical.total, width + horizontal.total, channels),
        output_gradient.dtype,
    ).transpose(0, 3, 1, 2)
    equal = output_gradient / np.asarray(np.prod(pair(size)), output_gradient.dtype)
    for share in _places(gradient, size, stride, vertical, horizontal):
        share += equal
    return _inside(gradient, image_shape, vertical, horizontal)


def _places(
    images: Array, size: Pair, stride: Pair, vertical: Axis, horizontal: Axis
) -> Iterator[Array]:
    """For each place (m, n) of the window: the numbers there in all windows, as one view."""
    down, right = pair(stride)
    for m in range(pair(size)[0]):
        for n in range(pair(size)[1]):
            yield images[
                ...,
                m : m + (vertical.output - 1) * down + 1 : down,
                n : n + (horizontal.output - 1) * right + 1 : right,
            ]


def _never_overlaps(size: Pair, stride: Pair) -> bool:
    """Whether every pixel belongs to at most one window."""
    return all(s >= k for s, k in zip(pair(stride), pair(size), strict=True))


def _bordered(images: Array, vertical: Axis, horizontal: Axis) -> Array:
    """The images with a border that loses against every number."""
    if vertical.total == horizontal.total == 0:
        return images
    return pad(images, vertical, horizontal, value=-np.inf)


def _inside(bordered: Array, shape: tuple[int, ...], vertical: Axis, horizontal: Axis) -> Array:
    """`bordered` without its border."""
    top, left = vertical.left, horizontal.left
    return bordered[..., top : top + shape[2], left : left + shape[3]]
