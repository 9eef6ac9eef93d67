"""A network that takes one image at a time, made to take many."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RowByRow(nn.Module):
    """Calls a network for each image and joins the answers; gradients work.

    Its layers run once per image, so that there is no map of a whole batch to look at.

    Args:
        module: Takes a batch of one image.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """What the network returns for each image, joined."""
        return torch.cat([self.module(images[i : i + 1]) for i in range(len(images))])
