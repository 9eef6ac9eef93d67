"""All windows of an image as the rows of a matrix ("im2col")."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convscope.scratch._geometry import Array, Axis

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
