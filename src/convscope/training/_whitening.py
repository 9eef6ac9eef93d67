"""Whitening filters: a first convolution whose outputs are uncorrelated, computed from images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope.data import Split
from convscope.training._batches import CHUNK, Normalize

IMAGES = 5000
"""Images whose patches are looked at: more change the filters by less than the last digits."""

EPSILON = 5e-4
"""Added to the variance of each direction, so that those with hardly any do not become noise."""


@torch.no_grad()
def whiten(convolution: nn.Conv2d, split: Split, normalize: Normalize) -> None:
    """Fill a convolution with the whitening filters of training images, in place.

    Half of the filters are the principal directions of patches as large as the filters, divided by
    the standard deviation of patches in that direction, the largest first; the other half are
    their negatives.

    Args:
        convolution: No padding or stride matters here; it has two filters per value of a patch.
        split: Training images; the first 5,000 are used, always the same.
        normalize: As in training: the filters see normalized images.

    Source: Page, "How to train your ResNet" (2018); with negatives: Jordan (arXiv 2404.00498),
    section 3.1.
    """
    filters = patch_whitening(split, normalize, side=convolution.kernel_size[0])
    convolution.weight.copy_(torch.cat([filters, -filters]))


def patch_whitening(split: Split, normalize: Normalize, *, side: int) -> Tensor:
    """``(direction, channel, side, side)``: principal directions over their standard deviations.

    Example:
        >>> pixels = torch.randint(256, (50, 1, 6, 6), dtype=torch.uint8)
        >>> split = Split(name="train", images=pixels, labels=torch.zeros(50, dtype=torch.int64))
        >>> patch_whitening(split, Normalize((0.5,), (0.25,)), side=2).shape
        torch.Size([4, 1, 2, 2])
    """
    channels = split.images.shape[1]
    size = channels * side**2
    total = torch.zeros(size, size, dtype=torch.float64)
    count = 0
    for rows in torch.split(torch.arange(min(IMAGES, len(split))), CHUNK):
        images = normalize(split.to_float(rows)).double()
        patches = nn.functional.unfold(images, side).transpose(1, 2).reshape(-1, size)
        total += patches.T @ patches
        count += len(patches)
    variances, directions = torch.linalg.eigh(total / count)
    directions = directions.T.flip(0)
    # An eigenvector and its negative are equally right: the largest entry is made positive.
    largest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    scaled = directions / (variances.flip(0).clamp_min(0)[:, None] + EPSILON).sqrt()
    return scaled.view(size, channels, side, side).float()
