"""All windows of an image as the rows of a matrix ("im2col")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convscope.scratch._geometry import (
    Array,
    Axis,
    Padding,
    Pair,
    axes,
    need_dimensions,
    need_shape,
    pair,
)

BUFFER = 2**20
"""At most about this many numbers are kept at a time; larger images go in bands of rows."""


class Placing(NamedTuple):
    """Where the numbers of one axis go: those of `source` to `target`, among `size` zeros."""

    size: int
    source: slice
    target: slice


class Plane(NamedTuple):
    """The plane of zeros that windows slide over."""

    vertical: Placing
    horizontal: Placing


def as_it_is(axis: Axis, size: int) -> Placing:
    """The image between its zeros."""
    return Placing(axis.total + size, slice(None), slice(axis.left, axis.left + size))


def spread(axis: Axis, size: int, kernel: int, stride: int) -> Placing:
    """Output i at i * stride + (kernel - 1 - left), as far as that is on the plane."""
    plane, start = size + kernel - 1, kernel - 1 - axis.left
    first = max(0, -(start // stride))
    last = min(axis.output, -((start - plane) // stride))
    return Placing(
        plane,
        slice(first, last),
        slice(start + first * stride, start + last * stride, stride) if last > first else slice(0),
    )


def windows_as_rows(
    images: Array, kernel: tuple[int, int], stride: tuple[int, int], plane: Plane
) -> Iterator[tuple[int, slice, Array]]:
    """Image by image and band by band, all windows as the rows of one matrix.

    Yields:
        The image's number, the rows of its output, and the matrix (windows, height * width * C).
        The matrix is a buffer that the next one overwrites.
    """
    vertical, horizontal = plane
    channels = images.shape[-1]
    zeros = np.zeros((vertical.size, horizontal.size, channels), images.dtype)
    inside = zeros[vertical.target, horizontal.target]
    sliding = sliding_window_view(zeros, kernel, axis=(0, 1))[:: stride[0], :: stride[1]]
    sliding = sliding.transpose(0, 1, 3, 4, 2)
    rows, columns = sliding.shape[:2]
    length = kernel[0] * kernel[1] * channels
    band = min(rows, max(1, BUFFER // (columns * length)))
    buffer = np.empty((band, *sliding.shape[1:]), images.dtype)
    for n, image in enumerate(images):
        inside[...] = image[vertical.source, horizontal.source]
        for top in range(0, rows, band):
            part = sliding[top : top + band]
            taken = buffer[: len(part)]
            np.copyto(taken, part)
            yield n, slice(top, top + len(part)), taken.reshape(len(part) * columns, length)


class ConvolutionGradients(NamedTuple):
    """The gradient of a number with respect to everything that a convolution reads.

    Attributes:
        images: (N, C, H, W).
        kernels: (F, C, height, width).
        bias: (F,).
    """

    images: Array
    kernels: Array
    bias: Array


def convolve(
    images: Array,
    kernels: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> Array:
    """Slide kernels over images: S(n, f, i, j) = b_f + sum_{c,m,n} I(i s + m, j s + n) K(m, n).

    Args:
        images: (N, C, H, W).
        kernels: (F, C, height, width).
        bias: One number per kernel (F,); None is zero.
        stride: How far the window moves, in pixels; one number or (vertical, horizontal).
        padding: "same", "valid" or that many zeros on each side; see `padding_arithmetic`.
        flip: False is cross-correlation, what networks call convolution. True turns the kernels by
            180 degrees first: the convolution of mathematics, I(i - m, j - n) K(m, n).

    Returns:
        (N, F, H', W'), of the common type of images and kernels.

    Raises:
        UsageError: Shapes that do not fit together, or a kernel larger than the padded image.

    Example:
        >>> image = np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
        >>> difference = np.array([[[[1.0, -1.0]]]])
        >>> convolve(image, difference)[0, 0]
        array([[-1., -1.],
               [-1., -1.]])
        >>> convolve(image, difference, flip=True)[0, 0]
        array([[1., 1.],
               [1., 1.]])

    Source:
        Goodfellow, Bengio and Courville, "Deep Learning" (2016), chapter 9.1. im2col: Chellapilla,
        Puri and Simard (2006); here per image into a reused buffer instead of for the whole batch.
    """
    vertical, horizontal = _fit(images, kernels, bias, stride, padding)
    pixels = images.transpose(0, 2, 3, 1)
    count, channels, height, width = kernels.shape
    matrix = _turned(kernels, flip).transpose(2, 3, 1, 0).reshape(height * width * channels, count)
    plane = Plane(as_it_is(vertical, images.shape[2]), as_it_is(horizontal, images.shape[3]))
    outputs = np.empty(
        (len(images), vertical.output, horizontal.output, count),
        dtype=np.result_type(images, kernels),
    )
    for n, rows, windows in windows_as_rows(pixels, (height, width), pair(stride), plane):
        product = outputs[n, rows].reshape(-1, count)
        np.matmul(windows, matrix, out=product)
        if bias is not None:
            product += bias
    return outputs.transpose(0, 3, 1, 2)


def convolve_gradients(
    images: Array,
    kernels: Array,
    output_gradient: Array,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> ConvolutionGradients:
    """All three gradients of `convolve`, given the gradient dS of its output.

    dI is `convolve_input_gradient`, dK is `convolve_kernel_gradient`, and db_f = sum_{n,i,j} dS.

    Args:
        images: (N, C, H, W), as given to `convolve`.
        kernels: (F, C, height, width), as given to `convolve`.
        output_gradient: dS (N, F, H', W').
        stride: As given to `convolve`.
        padding: As given to `convolve`.
        flip: As given to `convolve`.

    Returns:
        The gradients of images, kernels and bias, each of the shape of what it belongs to.

    Raises:
        UsageError: Shapes that do not fit together.

    Example:
        >>> image, kernel = np.full((1, 1, 2, 2), 3.0), np.full((1, 1, 1, 1), 2.0)
        >>> gradients = convolve_gradients(image, kernel, np.ones((1, 1, 2, 2)))
        >>> gradients.images.tolist(), gradients.kernels.item(), gradients.bias.item()
        ([[[[2.0, 2.0], [2.0, 2.0]]]], 12.0, 4.0)

    Source:
        The chain rule; see the module's text for the matrices.
    """
    return ConvolutionGradients(
        images=convolve_input_gradient(
            images.shape, kernels, output_gradient, stride=stride, padding=padding, flip=flip
        ),
        kernels=convolve_kernel_gradient(
            images, kernels.shape, output_gradient, stride=stride, padding=padding, flip=flip
        ),
        bias=output_gradient.sum(axis=(0, 2, 3)),
    )


def convolve_kernel_gradient(
    images: Array,
    kernel_shape: tuple[int, ...],
    output_gradient: Array,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> Array:
    """The gradient of the kernels: dK(m, n) = sum_{i,j} I(i s + m, j s + n) dS(i, j), or P^T dS.

    Args:
        images: (N, C, H, W), as given to `convolve`.
        kernel_shape: (F, C, height, width).
        output_gradient: dS (N, F, H', W').
        stride: As given to `convolve`.
        padding: As given to `convolve`.
        flip: As given to `convolve`.

    Returns:
        (F, C, height, width).

    Raises:
        UsageError: Shapes that do not fit together.
    """
    vertical, horizontal = axes(images.shape, kernel_shape[2:], stride, padding)
    count, channels, height, width = kernel_shape
    need_shape("images", images, (len(images), channels, *images.shape[2:]))
    need_shape(
        "output gradients",
        output_gradient,
        (len(images), count, vertical.output, horizontal.output),
    )
    plane = Plane(as_it_is(vertical, images.shape[2]), as_it_is(horizontal, images.shape[3]))
    gradient = output_gradient.transpose(0, 2, 3, 1)
    pixels = images.transpose(0, 2, 3, 1)
    total = np.zeros((height * width * channels, count), np.result_type(images, output_gradient))
    for n, rows, windows in windows_as_rows(pixels, (height, width), pair(stride), plane):
        total += windows.T @ gradient[n, rows].reshape(-1, count)
    return _turned(total.reshape(height, width, channels, count).transpose(3, 2, 0, 1), flip)


def convolve_input_gradient(
    image_shape: tuple[int, ...],
    kernels: Array,
    output_gradient: Array,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> Array:
    """The gradient of the images: dS, spread out by the stride, convolved with turned kernels.

    Pixel h was read by window i at place m when h + left = i s + m. So dI(h) collects
    dS(i) K(h + left - i s): put dS(i) at i s + (k - 1 - left) on a plane of zeros, and slide the
    turned kernel over it.

    Args:
        image_shape: (N, C, H, W) of what was given to `convolve`.
        kernels: (F, C, height, width), as given to `convolve`.
        output_gradient: dS (N, F, H', W').
        stride: As given to `convolve`.
        padding: As given to `convolve`.
        flip: As given to `convolve`.

    Returns:
        (N, C, H, W).

    Raises:
        UsageError: Shapes that do not fit together.
    """
    vertical, horizontal = axes(image_shape, kernels.shape[2:], stride, padding)
    number, channels, rows_in, columns_in = image_shape
    count, _, height, width = kernels.shape
    need_shape(
        "output gradients", output_gradient, (number, count, vertical.output, horizontal.output)
    )
    plane = Plane(
        spread(vertical, rows_in, height, pair(stride)[0]),
        spread(horizontal, columns_in, width, pair(stride)[1]),
    )
    matrix = _turned(kernels, not flip).transpose(2, 3, 0, 1).reshape(-1, channels)
    gradient = output_gradient.transpose(0, 2, 3, 1)
    images = np.empty(
        (number, rows_in, columns_in, channels), np.result_type(kernels, output_gradient)
    )
    for n, rows, windows in windows_as_rows(gradient, (height, width), (1, 1), plane):
        np.matmul(windows, matrix, out=images[n, rows].reshape(-1, channels))
    return images.transpose(0, 3, 1, 2)


def _turned(kernels: Array, flip: bool) -> Array:
    """The kernels, turned by 180 degrees if asked."""
    return kernels[:, :, ::-1, ::-1] if flip else kernels


def _fit(
    images: Array, kernels: Array, bias: Array | None, stride: Pair, padding: Padding
) -> tuple[Axis, Axis]:
    """Refuse shapes that do not belong together; the two axes of the sliding window."""
    need_dimensions("images", images, "(N, C, H, W)")
    need_dimensions("kernels", kernels, "(F, C, height, width)")
    count, _, height, width = kernels.shape
    need_shape("kernels", kernels, (count, images.shape[1], height, width))
    if bias is not None:
        need_shape("biases", bias, (count,))
    return axes(images.shape, (height, width), stride, padding)
