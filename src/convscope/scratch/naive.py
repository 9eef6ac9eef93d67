"""The layers as their definitions read: one number at a time, in plain loops.

Nobody trains a network with these. They are what the fast versions in `convscope.scratch` are
compared with, and the place to look up what a layer *is*. Names, arguments and results are the
same as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log

import numpy as np

from convscope.scratch._batch_norm import BatchNormGradients, Moments
from convscope.scratch._convolution import ConvolutionGradients
from convscope.scratch._dense import DenseGradients
from convscope.scratch._geometry import Array, Padding, Pair, axes, pad, pair

__all__ = [
    "average_pool",
    "average_pool_gradient",
    "batch_norm",
    "batch_norm_gradients",
    "convolve",
    "convolve_gradients",
    "cross_entropy",
    "cross_entropy_gradient",
    "dense",
    "dense_gradients",
    "max_pool",
    "max_pool_gradient",
    "relu",
    "relu_gradient",
    "softmax",
]


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


def dense(inputs: Array, weights: Array, bias: Array) -> Array:
    """y(n, k) = b_k + sum_d x(n, d) W(k, d).

    Args:
        inputs: x (N, D).
        weights: W (K, D), one row per output.
        bias: b (K,).

    Returns:
        y (N, K).

    Example:
        >>> dense(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([0.5]))
        array([[11.5]])
    """
    outputs = np.zeros((len(inputs), len(weights)), np.result_type(inputs, weights))
    for n, k in np.ndindex(outputs.shape):
        outputs[n, k] = bias[k] + sum(x * w for x, w in zip(inputs[n], weights[k], strict=True))
    return outputs


def dense_gradients(inputs: Array, weights: Array, output_gradient: Array) -> DenseGradients:
    """Every product x W of the definition, read backwards: dx += dy W, dW += dy x, db += dy.

    Args:
        inputs: x (N, D), as given to `dense`.
        weights: W (K, D), as given to `dense`.
        output_gradient: dy (N, K).

    Returns:
        The gradients of inputs, weights and bias, each of the shape of what it belongs to.

    Example:
        >>> dense_gradients(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.ones((1, 1))).weights
        array([[1., 2.]])
    """
    of_inputs, of_weights = np.zeros_like(inputs), np.zeros_like(weights)
    of_bias = np.zeros(len(weights), output_gradient.dtype)
    for n, k in np.ndindex(output_gradient.shape):
        given = output_gradient[n, k]
        of_bias[k] += given
        for d in range(inputs.shape[1]):
            of_inputs[n, d] += given * weights[k, d]
            of_weights[k, d] += given * inputs[n, d]
    return DenseGradients(of_inputs, of_weights, of_bias)


def relu(inputs: Array) -> Array:
    """The rectifier: y = x if x > 0, else 0.

    Args:
        inputs: x, of any shape.

    Returns:
        y, of the same shape.

    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """
    outputs = np.zeros_like(inputs)
    for index in np.ndindex(inputs.shape):
        if inputs[index] > 0:
            outputs[index] = inputs[index]
    return outputs


def relu_gradient(inputs: Array, output_gradient: Array) -> Array:
    """The gradient of `relu`: dx = dy if x > 0, else 0.

    Args:
        inputs: x, as given to `relu`.
        output_gradient: dy, of the same shape.

    Returns:
        dx, of the same shape.

    Example:
        >>> relu_gradient(np.array([-1.0, 0.0, 2.0]), np.ones(3))
        array([0., 0., 1.])
    """
    gradient = np.zeros_like(output_gradient)
    for index in np.ndindex(inputs.shape):
        if inputs[index] > 0:
            gradient[index] = output_gradient[index]
    return gradient


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
