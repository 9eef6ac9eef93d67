"""Layers in a row, each under the name that the user will type."""

from typing import cast

from torch import Tensor, nn


class Chain(nn.Sequential):
    """`nn.Sequential` that flattens feature maps when it meets the first dense layer.

    Flattening has no weights and nothing to look at, so it gets no name: the names of a chain
    are exactly the layers that the documents name.

    Example:
        >>> import torch
        >>> from collections import OrderedDict
        >>> chain = Chain(OrderedDict(conv1=nn.Conv2d(1, 2, 3), fc1=nn.Linear(2 * 4, 5)))
        >>> chain(torch.zeros(7, 1, 4, 4)).shape
        torch.Size([7, 5])
    """

    applies_children_in_order = True

    def forward(self, input: Tensor) -> Tensor:
        """Class scores, ``(batch, class)``, of ``(batch, channel, height, width)``."""
        values = input
        for layer in self:
            if isinstance(layer, nn.Linear) and values.ndim > 2:
                values = values.flatten(1)
            values = cast(Tensor, layer(values))
        return values
