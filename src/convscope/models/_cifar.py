"""Networks for 32 x 32 color images: 11x11 filters, ResNet, VGG."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from convscope.models._architecture import Architecture, Chain, InputShape


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


def _architecture(
    name: str, padding: Literal["valid", "same"], words: str, *, normalized: bool = False
) -> Architecture:
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
cifar_11x11_bn = _architecture("cifar-11x11-bn", "valid", VALID, normalized=True)
cifar_11x11_same = _architecture("cifar-11x11-same", "same", SAME)
cifar_11x11_same_bn = _architecture("cifar-11x11-same-bn", "same", SAME, normalized=True)


class PaddedShortcut(nn.Module):
    """Every second pixel, and new channels of zeros: a shortcut without parameters (option A).

    Example:
        >>> import torch
        >>> PaddedShortcut(2, 4)(torch.ones(1, 2, 6, 6)).shape
        torch.Size([1, 4, 3, 3])
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.front = (channels_out - channels_in) // 2
        self.back = channels_out - channels_in - self.front

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels_out, height / 2, width / 2)``."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.front, self.back))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input.

    Args:
        channels_in: Channels of the input.
        channels_out: Filters of both convolutions.
        stride: 2 halves the size, in the first convolution.
        option: Shortcut where the shape changes: ``"A"`` subsamples and pads with zeros,
            ``"B"`` is a 1x1 convolution with batch normalization.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int, option: Literal["A", "B"]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            if option == "A":
                self.shortcut = PaddedShortcut(channels_in, channels_out)
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                    nn.BatchNorm2d(channels_out),
                )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels_out, height / stride, width / stride)``."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(residual + self.shortcut(x))


def residual_network(
    num_classes: int,
    shape: InputShape,
    *,
    blocks: int = 3,
    option: Literal["A", "B"] = "A",
) -> nn.Module:
    """The CIFAR network of the residual paper with ``6 * blocks + 2`` weight layers.

    One 3x3 convolution with 16 filters, three stages of `blocks` residual blocks with 16, 32 and
    64 filters (the second and third stage halve the size), global average pooling, one dense
    layer. Blocks are named ``stage1.0`` to ``stage3.2``.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; any size.
        blocks: Residual blocks per stage; 3 makes ResNet-20.
        option: Shortcut between stages, see `ResidualBlock`. ``"A"`` is the paper's choice for
            CIFAR.

    Source:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        section 4.2.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(16),
        relu1=nn.ReLU(),
    )
    channels = 16
    for stage, filters in enumerate((16, 32, 64), start=1):
        row = []
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            row.append(ResidualBlock(channels, filters, stride=stride, option=option))
            channels = filters
        layers[f"stage{stage}"] = nn.Sequential(*row)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)


cifar_resnet20 = Architecture(
    name="cifar-resnet20",
    network=partial(residual_network, blocks=3, option="A"),
    input_shape=(3, 32, 32),
    smallest=1,
    description="ResNet-20: 3 stages of 3 residual blocks with 16, 32, 64 filters, global average",
)


WIDTHS = (64, 128, 256)


def plain_network(num_classes: int, shape: InputShape) -> nn.Module:
    """Three blocks of two 3x3 convolutions, global max-pooling, one dense layer.

    In each block a 2x2 max-pooling follows the first convolution, where it saves three quarters
    of the second one's work. Batch normalization stands after every convolution.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; at least 8x8.

    Source:
        3x3 filters and doubling widths: Simonyan and Zisserman, "Very Deep Convolutional
        Networks", ICLR 2015. Pooling inside the block and the maximum at the end: the CIFAR
        speed runs of Page ("How to train your ResNet", 2018) and Jordan (arXiv 2404.00498).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = shape[0]
    for block, width in enumerate(WIDTHS):
        for position in (1, 2):
            number = 2 * block + position
            layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            if position == 1:
                layers[f"pool{block + 1}"] = nn.MaxPool2d(2)
            layers[f"bn{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU()
            channels = width
    layers["pool4"] = nn.AdaptiveMaxPool2d(1)
    layers["fc1"] = nn.Linear(channels, num_classes)
    return Chain(layers)


cifar_vgg = Architecture(
    name="cifar-vgg",
    network=plain_network,
    input_shape=(3, 32, 32),
    smallest=8,
    description="3 blocks of two 3x3 convolutions with 64, 128, 256 filters, global maximum",
)
