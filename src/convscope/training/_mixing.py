"""Mixup, CutMix and Cutout: what is done to a batch after each image was augmented by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from convscope.training._batches import Batches, Normalize, stream


class Mixed(NamedTuple):
    """A batch whose images may be of two classes each.

    Attributes:
        images: ``(batch, channel, height, width)``.
        labels: ``(batch,)``, the first class.
        others: ``(batch,)``, the second class.
        share: Weight of the first class in the loss, the same for all images of the batch.
    """

    images: Tensor
    labels: Tensor
    others: Tensor
    share: float = 1.0


class Mixing:
    """Cut out, then mix with the images of the batch in another order.

    What happens is a function of (seed, epoch, batch): several processes mix together what one
    process does, and load those images of the others that theirs are mixed with.

    Args:
        batches: The images; their settings have `cutout`, `mixup`, `cutmix`.
        normalize: Its mean fills what is cut out.

    Source: T. DeVries, G. Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (arXiv 1708.04552); H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond
    Empirical Risk Minimization" (ICLR 2018); S. Yun and others, "CutMix: Regularization Strategy to
    Train Strong Classifiers with Localizable Features" (ICCV 2019).
    """

    def __init__(self, batches: Batches, normalize: Normalize) -> None:
        self.batches, self.normalize = batches, normalize
        self.settings, self.world = batches.settings, batches.world

    def __call__(self, epoch: int, batch: int) -> Mixed:
        """This process's share of a batch, mixed.

        Args:
            epoch: Epoch, from 0.
            batch: Batch within the epoch, from 0.
        """
        settings = self.settings
        own = torch.arange(settings.batch_size)[self.world.shard(settings.batch_size)]
        if not (settings.mixup or settings.cutmix):
            images, labels = self._cut(epoch, batch, own)
            return Mixed(images, labels, labels)
        generator = stream(settings.seed, "mix", epoch, batch)
        cuts = bool(settings.cutmix)
        if settings.mixup and settings.cutmix:
            cuts = bool(torch.rand((), generator=generator) < 0.5)
        share = beta(settings.cutmix if cuts else settings.mixup, generator)
        center = torch.rand(2, generator=generator)
        order = torch.randperm(settings.batch_size, generator=generator)
        if self.world.size == 1:
            images, labels = self._cut(epoch, batch, own)
            order = order.to(images.device)
            partners, others = images[order], labels[order]
        else:
            both = self._cut(epoch, batch, torch.cat([own, order[own]]))
            (images, partners), (labels, others) = (part.chunk(2) for part in both)
        if cuts:
            images, share = paste(images, partners, center, share)
        else:
            images = share * images + (1 - share) * partners
        return Mixed(images, labels, others, share)

    def _cut(self, epoch: int, batch: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels at these positions of the whole batch, with what `cutout` covers."""
        settings = self.settings
        images, labels = self.batches.load(epoch, batch, positions)
        if settings.cutout:
            generator = stream(settings.seed, "cutout", epoch, batch)
            centers = torch.rand((settings.batch_size, 2), generator=generator)[positions]
            # Of two noisy copies of an image the same part is covered.
            centers = centers.repeat(len(images) // len(labels), 1)
            images = cut_out(images, centers, settings.cutout, self.normalize.mean)
        return images, labels


def beta(alpha: float, generator: Generator) -> float:
    """A draw from Beta(alpha, alpha)."""
    pair = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator)
    total = float(pair.sum())
    # Both can be zero where alpha is tiny: then it is one or the other.
    return float(pair[0]) / total if total > 0 else 1.0


def cut_out(images: Tensor, centers: Tensor, side: int, fill: Sequence[float]) -> Tensor:
    """Cover a square of each image, as far as it lies inside.

    Args:
        images: ``(batch, channel, height, width)``.
        centers: ``(batch, 2)`` in [0, 1): row and column, as shares of height and width.
        side: In pixels.
        fill: One value per channel, or one for all.

    Example:
        >>> image = torch.ones(1, 1, 3, 3)
        >>> cut_out(image, torch.tensor([[0.0, 0.99]]), 2, (0.0,))[0, 0]
        tensor([[1., 0., 0.],
                [1., 1., 1.],
                [1., 1., 1.]])
    """
    height, width = images.shape[2:]
    size = torch.tensor([height, width])
    first = ((centers * size).floor().long() - side // 2).to(images.device)
    rows, columns = (torch.arange(n, device=images.device) for n in (height, width))
    in_rows = (rows >= first[:, :1]) & (rows < first[:, :1] + side)
    in_columns = (columns >= first[:, 1:]) & (columns < first[:, 1:] + side)
    inside = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
    values = images.new_tensor(fill).view(1, -1, 1, 1)
    return torch.where(inside, values, images)


def paste(images: Tensor, others: Tensor, center: Tensor, share: float) -> tuple[Tensor, float]:
    """Paste the same window of `others` into `images`.

    Args:
        images: ``(batch, channel, height, width)``.
        others: The same shape.
        center: Row and column of the middle of the window, as shares of height and width.
        share: Of the area that stays, if the window lies inside.

    Returns:
        The images, and the share of the area that really stayed.
    """
    height, width = images.shape[2:]
    side = math.sqrt(1 - share)
    ends = []
    for length, middle in ((height, float(center[0])), (width, float(center[1]))):
        half = side * length / 2
        low, high = round(middle * length - half), round(middle * length + half)
        ends.append((max(low, 0), min(high, length)))
    (top, bottom), (left, right) = ends
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    area = max(bottom - top, 0) * max(right - left, 0)
    return mixed, 1 - area / (height * width)
