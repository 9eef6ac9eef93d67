"""A residual network for 32x32 images."""

from collections import OrderedDict
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from convscope.models._architecture import Architecture, InputShape


class PaddedShortcut(nn.Module):
    """Every second pixel, and new channels of zeros: a shortcut without weights (option A).

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
