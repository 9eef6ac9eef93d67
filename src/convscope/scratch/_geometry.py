"""Padding arithmetic: how many zeros go where, and how many windows fit.

Along one axis, a kernel of length k that moves by `stride` s over n numbers with `left` and
`right` zeros around them fits

    output = floor((n + left + right - k) / s) + 1

times. The named paddings choose the zeros for s = 1 like this:

    padding   kernel          left   right   total   output
    valid     any k           0      0       0       n - k + 1
    same      odd,  2p + 1    p      p       k - 1   n
    same      even, 2p        p - 1  p       k - 1   n
    p (int)   any k           p      p       2p      n + 2p - k + 1

An even kernel has no middle, so "same" cannot be symmetric: the extra zero goes to the right.
With a stride, "same" means output = ceil(n / s), and only as many zeros as that takes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convscope.errors import UsageError

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = int | tuple[int, int]
Padding: TypeAlias = int | Literal["same", "valid"]


class Axis(NamedTuple):
    """One axis of a sliding window.

    Attributes:
        left: Zeros before the first number (top, for the vertical axis).
        right: Zeros after the last number (bottom, for the vertical axis).
        output: Number of windows.
    """

    left: int
    right: int
    output: int

    @property
    def total(self) -> int:
        """All zeros: left + right."""
        return self.left + self.right


def padding_arithmetic(
    size: int, kernel: int, *, stride: int = 1, padding: Padding = "same"
) -> Axis:
    """How many zeros a padding puts on each side, and how many windows fit then.

    Args:
        size: How many numbers the axis has (n).
        kernel: How many numbers the window covers (k).
        stride: How far the window moves (s).
        padding: "same" (output = ceil(n / s)), "valid" (no zeros) or that many zeros on each side.

    Returns:
        The zeros left and right, and the number of windows.

    Raises:
        UsageError: A length below 1, an unknown padding, or a kernel longer than the padded axis.

    Example:
        >>> padding_arithmetic(28, 3, padding="same")
        Axis(left=1, right=1, output=28)
        >>> padding_arithmetic(28, 4, padding="same")
        Axis(left=1, right=2, output=28)
        >>> padding_arithmetic(28, 5, padding="valid")
        Axis(left=0, right=0, output=24)

    Source:
        Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016). The side
        of the odd zero is a convention: here right, as TensorFlow and PyTorch have it.
    """
    if min(size, kernel, stride) < 1:
        raise UsageError(
            f"size {size}, kernel {kernel}, stride {stride}", expected="whole numbers from 1 on"
        )
    if padding == "valid":
        left = right = 0
    elif padding == "same":
        output = -(-size // stride)
        total = max(0, (output - 1) * stride + kernel - size)
        left, right = total // 2, total - total // 2
    elif isinstance(padding, int) and not isinstance(padding, bool) and padding >= 0:
        left = right = padding
    else:
        raise UsageError(
            f"padding {padding!r}", expected='"same", "valid" or a whole number from 0 on'
        )
    if left + size + right < kernel:
        raise UsageError(
            f"a kernel of {kernel} does not fit into {size} numbers and {left + right} zeros",
            hint="use a smaller kernel or more padding",
        )
    return Axis(left, right, (left + size + right - kernel) // stride + 1)


def pair(number: Pair | tuple[int, ...]) -> tuple[int, int]:
    """(vertical, horizontal) of a size given once for both or once for each."""
    if isinstance(number, int):
        return number, number
    if len(number) != 2:
        raise UsageError(f"{number!r}", expected="one number, or (vertical, horizontal)")
    return number[0], number[1]


def axes(
    shape: tuple[int, ...], kernel: Pair | tuple[int, ...], stride: Pair, padding: Padding
) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of a window that slides over (..., H, W)."""
    vertical, horizontal = (
        padding_arithmetic(size, k, stride=s, padding=padding)
        for size, k, s in zip(shape[-2:], pair(kernel), pair(stride), strict=True)
    )
    return vertical, horizontal


def pad(images: Array, vertical: Axis, horizontal: Axis, value: float = 0.0) -> Array:
    """`images` (N, C, H, W) inside a border of `value`, with channels together in memory."""
    number, channels, height, width = images.shape
    top, left = vertical.left, horizontal.left
    padded = np.full(
        (number, height + vertical.total, width + horizontal.total, channels), value, images.dtype
    ).transpose(0, 3, 1, 2)
    padded[:, :, top : top + height, left : left + width] = images
    return padded


def need_dimensions(name: str, array: Array, expected: str) -> None:
    """Refuse an array whose number of axes is not that of `expected`, such as "(N, C, H, W)"."""
    if array.ndim != expected.count(",") + 1:
        raise UsageError(f"{name} have shape {array.shape}", expected=f"{name} {expected}")


def need_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if array.shape != expected:
        raise UsageError(f"{name} have shape {array.shape}", expected=f"{name} {expected}")
