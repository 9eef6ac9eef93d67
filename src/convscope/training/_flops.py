"""Floating-point operations of a training run."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from convscope._network.frozen_copy import FrozenCopy

BACKWARD = 2
"""A backward pass costs two forward passes: the gradient of the weights and that of the input."""


def forward_flops(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """Operations of the convolutions and matrix products for one image, two per multiply-add.

    Args:
        module: Normalized images in, logits out; it is left as it was.
        shape: Channels, height and width of an image.

    Example:
        >>> forward_flops(nn.Conv2d(1, 4, 3), (1, 10, 10)) == 2 * 4 * 9 * 8 * 8
        True
    """
    copied = FrozenCopy(module).module
    device = next((p.device for p in module.parameters()), None)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        copied(torch.zeros(1, *shape, device=device))
    return int(counter.get_total_flops())


def training_flops(forward: int, *, images: int, passes: int = 1) -> int:
    """Operations of a whole run: ``3 * forward * images * passes``.

    Frozen layers are counted as if they were trained, which is how runs are usually compared.

    Args:
        forward: Operations of one image, from `forward_flops`.
        images: Training images shown, all epochs together.
        passes: Forward and backward passes per image.

    Example:
        >>> training_flops(1000, images=50)
        150000
    """
    return (1 + BACKWARD) * forward * images * passes
