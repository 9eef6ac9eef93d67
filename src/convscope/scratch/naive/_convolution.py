"""Convolution as it is defined."""

import numpy as np

from convscope.scratch._convolution import ConvolutionGradients
from convscope.scratch._geometry import Array, Padding, Pair, axes, pad, pair


def convolve(
    images: Array,
    kernels: Array,
    bias: Array | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> Array:
    r"""For one image I and one kernel K: S(i, j) = sum_m sum_n I(i + m, j + n) K(m, n).

    With C channels, F kernels, stride s and a bias:

        S(n, f, i, j) = b_f + sum_{c,m,n} I(n, c, i s + m, j s + n) K(f, c, m, n)

    This is cross-correlation: the kernel lies on the image as it is. ``flip=True`` turns it by 180
    degrees first, which gives the convolution of mathematics,

        (I * K)(i, j) = sum_m sum_n I(i - m, j - n) K(m, n).

    A network that learns K does not care; an edge filter from a book does.

    Args:
        images: I (N, C, H, W).
        kernels: K (F, C, height, width).
        bias: b (F,); None is zero.
        stride: How far the window moves, in pixels; one number or (vertical, horizontal).
        padding: "same", "valid" or that many zeros on each side.
        flip: Whether the kernels are turned.

    Returns:
        S (N, F, H', W').

    Example:
        >>> image = np.array([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
        >>> kernel = np.array([[[[1.0, 0.0], [0.0, 10.0]]]])
        >>> convolve(image, kernel)[0, 0]  # 1 + 10 * 5, 2 + 10 * 6, ...
        array([[51., 62.],
               [84., 95.]])

    Source:
        Goodfellow, Bengio and Courville, "Deep Learning" (2016), equations 9.4 to 9.6.
    """
    down, right = pair(stride)
    vertical, horizontal = axes(images.shape, kernels.shape[2:], stride, padding)
    padded = pad(images, vertical, horizontal)
    kernels = kernels[:, :, ::-1, ::-1] if flip else kernels
    outputs = np.zeros(
        (len(images), len(kernels), vertical.output, horizontal.output),
        np.result_type(images, kernels),
    )
    for n, f, i, j in np.ndindex(outputs.shape):
        total = outputs.dtype.type(0 if bias is None else bias[f])
        for c, m, k in np.ndindex(kernels.shape[1:]):
            total += padded[n, c, i * down + m, j * right + k] * kernels[f, c, m, k]
        outputs[n, f, i, j] = total
    return outputs


def convolve_gradients(
    images: Array,
    kernels: Array,
    output_gradient: Array,
    *,
    stride: Pair = 1,
    padding: Padding = "valid",
    flip: bool = False,
) -> ConvolutionGradients:
    """Every product I K of the definition, read backwards.

    Each output S(n, f, i, j) is a sum of products I K. Its gradient dS goes to both factors:
    dI += dS K and dK += dS I. The bias is in every output once: db_f += dS.

    Args:
        images: I (N, C, H, W), as given to `convolve`.
        kernels: K (F, C, height, width), as given to `convolve`.
        output_gradient: dS (N, F, H', W').
        stride: As given to `convolve`.
        padding: As given to `convolve`.
        flip: As given to `convolve`.

    Returns:
        The gradients of images, kernels and bias, each of the shape of what it belongs to.

    Example:
        >>> image, kernel = np.full((1, 1, 2, 2), 3.0), np.full((1, 1, 1, 1), 2.0)
        >>> convolve_gradients(image, kernel, np.ones((1, 1, 2, 2))).kernels.item()
        12.0
    """
    down, right = pair(stride)
    vertical, horizontal = axes(images.shape, kernels.shape[2:], stride, padding)
    padded = pad(images, vertical, horizontal)
    used = kernels[:, :, ::-1, ::-1] if flip else kernels
    of_padded, of_kernels = np.zeros_like(padded), np.zeros_like(kernels)
    of_used = of_kernels[:, :, ::-1, ::-1] if flip else of_kernels
    of_bias = np.zeros(len(kernels), output_gradient.dtype)
    for n, f, i, j in np.ndindex(output_gradient.shape):
        given = output_gradient[n, f, i, j]
        of_bias[f] += given
        for c, m, k in np.ndindex(kernels.shape[1:]):
            of_padded[n, c, i * down + m, j * right + k] += given * used[f, c, m, k]
            of_used[f, c, m, k] += given * padded[n, c, i * down + m, j * right + k]
    top, left = vertical.left, horizontal.left
    of_images = of_padded[:, :, top : top + images.shape[2], left : left + images.shape[3]]
    return ConvolutionGradients(of_images, of_kernels, of_bias)
