"""An inception network for 32 x 32 color images."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from convscope.models._architecture import Architecture, InputShape


def convolution(channels_in: int, channels_out: int, side: int) -> nn.Sequential:
    """Convolution of the same size, batch normalization, ReLU."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels_in, channels_out, side, padding=side // 2, bias=False),
            bn=nn.BatchNorm2d(channels_out),
            relu=nn.ReLU(),
        )
    )


class InceptionBlock(nn.Module):
    """Four branches side by side, whose maps are stacked: filters of several sizes at once.

    1x1 filters; 3x3 filters and 5x5 filters, each behind a 1x1 reduction to fewer channels, which
    makes them affordable; 3x3 max-pooling with stride 1 and 1x1 filters.

    Args:
        channels: Of the input.
        pointwise: 1x1 filters of the first branch.
        reduced3: 1x1 filters in front of the 3x3 ones.
        filters3: 3x3 filters.
        reduced5: 1x1 filters in front of the 5x5 ones.
        filters5: 5x5 filters.
        pooled: 1x1 filters behind the pooling.

    Example:
        >>> block = InceptionBlock(8, 4, 2, 6, 2, 3, 3)
        >>> block(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 16, 5, 5])

    Source: Szegedy and others, "Going Deeper with Convolutions", CVPR 2015, figure 2b; batch
    normalization as in Ioffe and Szegedy (ICML 2015).
    """

    def __init__(
        self,
        channels: int,
        pointwise: int,
        reduced3: int,
        filters3: int,
        reduced5: int,
        filters5: int,
        pooled: int,
    ) -> None:
        super().__init__()
        self.branch1 = convolution(channels, pointwise, 1)
        self.reduce3 = convolution(channels, reduced3, 1)
        self.branch3 = convolution(reduced3, filters3, 3)
        self.reduce5 = convolution(channels, reduced5, 1)
        self.branch5 = convolution(reduced5, filters5, 5)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.branch_pool = convolution(channels, pooled, 1)
        self.channels = pointwise + filters3 + filters5 + pooled

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, pointwise + filters3 + filters5 + pooled, height, width)``."""
        return torch.cat(
            [
                self.branch1(x),
                self.branch3(self.reduce3(x)),
                self.branch5(self.reduce5(x)),
                self.branch_pool(self.pool(x)),
            ],
            dim=1,
        )


STEM = 64
STAGES = (
    ((32, 32, 48, 8, 16, 16), (48, 48, 64, 12, 24, 24)),
    ((64, 64, 96, 16, 32, 32), (96, 80, 128, 16, 48, 48)),
)
"""By stage and block: `pointwise`, `reduced3`, `filters3`, `reduced5`, `filters5`, `pooled`."""


def inception_network(num_classes: int, shape: InputShape) -> nn.Module:
    """64 3x3 filters, 2x2 max-pool, twice two inception blocks, global average, a dense layer.

    A 2x2 max-pooling stands between the two pairs. Blocks are named ``stage1.0`` to ``stage2.1``.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; at least 4x4.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(shape[0], STEM, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(STEM),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
    )
    channels = STEM
    for stage, blocks in enumerate(STAGES, start=1):
        row = []
        for widths in blocks:
            row.append(InceptionBlock(channels, *widths))
            channels = row[-1].channels
        layers[f"stage{stage}"] = nn.Sequential(*row)
        if stage < len(STAGES):
            layers[f"pool{stage + 1}"] = nn.MaxPool2d(2)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(channels, num_classes)
    return nn.Sequential(layers)


cifar_inception = Architecture(
    name="cifar-inception",
    network=inception_network,
    input_shape=(3, 32, 32),
    smallest=4,
    description="64 3x3 filters, 4 inception blocks (1x1, 3x3, 5x5, pooling), global average",
)
