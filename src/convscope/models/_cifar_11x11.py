"""The course documents' network for small color photos: large first filters that can be seen."""

from collections import OrderedDict
from functools import partial
from typing import Literal

from torch import nn

from convscope.models._architecture import Architecture, InputShape
from convscope.models._chain import Chain


def large_filter_network(
    num_classes: int,
    shape: InputShape,
    *,
    padding: Literal["valid", "same"],
    normalized: bool,
) -> nn.Module:
    """64 filters of 11x11, 128 of 3x3, 128 of 3x3, global average pooling, one dense layer.

    A 2x2 max-pooling follows the first convolution; without it the second one would cost five
    times as much. The documents leave the padding open: ``"valid"`` is the default: measured on
    CIFAR-10, it learns more per epoch and takes a third of the work.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; at least 20x20 for ``"valid"``.
        padding: ``"valid"`` loses a border in each convolution, ``"same"`` pads with zeros.
        normalized: Batch normalization between each convolution and its ReLU.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = shape[0]
    for block, (filters, side) in enumerate(((64, 11), (128, 3), (128, 3)), start=1):
        border = side // 2 if padding == "same" else 0
        layers[f"conv{block}"] = nn.Conv2d(channels, filters, side, padding=border)
        if normalized:
            layers[f"bn{block}"] = nn.BatchNorm2d(filters)
        layers[f"relu{block}"] = nn.ReLU()
        if block == 1:
            layers["pool1"] = nn.MaxPool2d(2)
        channels = filters
    layers["pool2"] = nn.AdaptiveAvgPool2d(1)
    layers["fc1"] = nn.Linear(channels, num_classes)
    return Chain(layers)


def _architecture(name: str, padding: Literal["valid", "same"], words: str) -> Architecture:
    normalized = name.endswith("-bn")
    return Architecture(
        name=name,
        network=partial(large_filter_network, padding=padding, normalized=normalized),
        input_shape=(3, 32, 32),
        smallest=20 if padding == "valid" else 2,
        description=words + (", batch normalization" if normalized else ""),
    )


VALID = "64 11x11, 128 3x3, 128 3x3 filters without padding, global average, logits"
SAME = "64 11x11, 128 3x3, 128 3x3 filters, zero-padded, global average, logits"

cifar_11x11 = _architecture("cifar-11x11", "valid", VALID)
cifar_11x11_bn = _architecture("cifar-11x11-bn", "valid", VALID)
cifar_11x11_same = _architecture("cifar-11x11-same", "same", SAME)
cifar_11x11_same_bn = _architecture("cifar-11x11-same-bn", "same", SAME)
