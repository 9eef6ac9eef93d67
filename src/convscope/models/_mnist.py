"""Networks for handwritten digits.

Source:
    P. Shedligeri, "Programming Assignment 2: Convolutional Neural Networks", IIT Madras, 2017: one
    convolution, two, and two with a dense layer of 500. With batch normalization the last one is in
    G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural Networks",
    IIT Madras, undated, and in
    S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September 2019.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from convscope.models._architecture import Architecture, Chain, InputShape

FILTERS = 32


def digit_network(
    num_classes: int,
    shape: InputShape,
    *,
    convolutions: int,
    hidden: int | None,
    normalized: bool,
) -> nn.Module:
    """`convolutions` blocks of 32 3x3 filters, ReLU and 2x2 max-pooling, then dense layers.

    Stride 1 and padding 1 keep the size in a convolution; every pooling halves it (rounding
    down), so that 28x28 becomes 14x14 and 7x7.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images.
        convolutions: Number of blocks.
        hidden: Units of a dense layer with ReLU before the logits; ``None`` for no such layer.
        normalized: Batch normalization between each convolution and its ReLU. The convolution
            keeps its bias, which the normalization makes redundant, so that the parameters have
            the same names and shapes with and without it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, height, width = shape
    for block in range(1, convolutions + 1):
        layers[f"conv{block}"] = nn.Conv2d(channels, FILTERS, kernel_size=3, stride=1, padding=1)
        if normalized:
            layers[f"bn{block}"] = nn.BatchNorm2d(FILTERS)
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(kernel_size=2, stride=2)
        channels, height, width = FILTERS, height // 2, width // 2
    features = channels * height * width
    if hidden is None:
        layers["fc1"] = nn.Linear(features, num_classes)
    else:
        layers["fc1"] = nn.Linear(features, hidden)
        layers[f"relu{convolutions + 1}"] = nn.ReLU()
        layers["fc2"] = nn.Linear(hidden, num_classes)
    return Chain(layers)


def _architecture(
    name: str, convolutions: int, hidden: int | None, words: str, *, normalized: bool = False
) -> Architecture:
    network = partial(
        digit_network, convolutions=convolutions, hidden=hidden, normalized=normalized
    )
    return Architecture(
        name=name,
        network=network,
        input_shape=(1, 28, 28),
        smallest=2**convolutions,
        description=words + (", batch normalization" if normalized else ""),
    )


ONE = "32 3x3 filters, ReLU, 2x2 max-pool, logits"
TWO = "twice (32 3x3 filters, ReLU, 2x2 max-pool), logits"
TWO_AND_DENSE = "twice (32 3x3 filters, ReLU, 2x2 max-pool), 500 hidden units, logits"

mnist_conv1 = _architecture("mnist-conv1", 1, None, ONE)
mnist_conv1_bn = _architecture("mnist-conv1-bn", 1, None, ONE, normalized=True)
mnist_conv2 = _architecture("mnist-conv2", 2, None, TWO)
mnist_conv2_bn = _architecture("mnist-conv2-bn", 2, None, TWO, normalized=True)
mnist_conv2_fc = _architecture("mnist-conv2-fc", 2, 500, TWO_AND_DENSE)
mnist_conv2_fc_bn = _architecture("mnist-conv2-fc-bn", 2, 500, TWO_AND_DENSE, normalized=True)
