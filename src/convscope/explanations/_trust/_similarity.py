"""How alike are two maps?"""

from __future__ import annotations

import torch
from torch import Tensor


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of each pair of maps; 0 if one of them is constant.

    Args:
        first: ``(batch, ...)``.
        second: Of the same shape.

    Returns:
        ``(batch,)``, from -1 to 1.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 3.0, 4.0]]))
        tensor([1.])
    """
    a, b = _centered_ranks(first), _centered_ranks(second)
    size = a.square().sum(dim=1).sqrt() * b.square().sum(dim=1).sqrt()
    return torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(1e-12), 0).float()


def _centered_ranks(maps: Tensor) -> Tensor:
    """Ranks with equal values sharing the mean of theirs, minus their mean."""
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(dim=1).values
    low = torch.searchsorted(ordered, flat, right=False)
    high = torch.searchsorted(ordered, flat, right=True)
    rank = (low + high - 1).double() / 2
    return rank - rank.mean(dim=1, keepdim=True)
