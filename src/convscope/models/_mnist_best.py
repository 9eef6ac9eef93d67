"""Digit networks made for accuracy: one with few parameters, one with few mistakes."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn

from convscope.models._architecture import Architecture, Chain, InputShape


def strided_network(
    num_classes: int, shape: InputShape, *, stem: int, stages: tuple[tuple[int, ...], ...]
) -> nn.Module:
    """5x5 filters with stride 2, stages of 3x3 convolutions, 3x3 max-pooling, logits.

    Every convolution has batch normalization and GELU behind it, and no bias, which the
    normalization would take away. The first one is evaluated at every second row and column: there
    are no maps of full size, which cost the documents' digit networks most of their time. A 2x2
    max-pooling lies between two stages, one of 3x3 with stride 2 behind the last. Of 28x28 pixels a
    map of 3x3 is left, which the dense layer takes place by place: where a stroke ends tells digits
    apart, and an average over the map would forget it. A run does not train the scales of the
    normalization.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images.
        stem: Number of 5x5 filters.
        stages: By stage, the number of filters of each of its convolutions.

    Source:
        An, Lee, Park, Yang, So, "An Ensemble of Simple Convolutional Neural Network Models for
        MNIST Digit Recognition" (arXiv 2008.10400): many 3x3 convolutions with batch normalization,
        trained on moved and turned digits, with a moving average. Theirs never pool and are an
        ensemble. Scales that are not trained: Page, "How to train your ResNet" (2018).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, height, width = shape

    def convolve(number: int, filters: int, kernel: int, stride: int) -> None:
        layers[f"conv{number}"] = nn.Conv2d(
            channels, filters, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        layers[f"bn{number}"] = nn.BatchNorm2d(filters)
        layers[f"gelu{number}"] = nn.GELU()

    convolve(1, stem, kernel=5, stride=2)
    channels, height, width = stem, (height + 1) // 2, (width + 1) // 2
    number = 1
    for stage, widths in enumerate(stages):
        if stage:
            layers[f"pool{stage}"] = nn.MaxPool2d(kernel_size=2, stride=2)
            height, width = height // 2, width // 2
        for filters in widths:
            number += 1
            convolve(number, filters, kernel=3, stride=1)
            channels = filters
    layers[f"pool{len(stages)}"] = nn.MaxPool2d(kernel_size=3, stride=2)
    features = channels * ((height - 1) // 2) * ((width - 1) // 2)
    layers["fc1"] = nn.Linear(features, num_classes)
    return Chain(layers)


def _architecture(name: str, stem: int, stages: tuple[tuple[int, ...], ...]) -> Architecture:
    filters = ", ".join(str(width) for widths in stages for width in widths)
    return Architecture(
        name=name,
        network=partial(strided_network, stem=stem, stages=stages),
        input_shape=(1, 28, 28),
        # Three rows are left for the last pooling; the first convolution rounds up.
        smallest=3 * 2 ** len(stages) - 1,
        description=f"{stem} 5x5 filters with stride 2, {filters} 3x3 filters, GELU, "
        "3x3 max-pool, logits, batch normalization",
        frozen=("bn*.weight",),
    )


mnist_tiny = _architecture("mnist-tiny", 16, ((16, 16), (16,)))
mnist_best = _architecture("mnist-best", 32, ((32,), (64, 64, 64)))
