"""Nearest points of a hyperplane inside the pixel box."""

from __future__ import annotations

import torch
from torch import Tensor


def onto_plane(x: Tensor, weight: Tensor, offset: Tensor, norm: str) -> Tensor:
    """The move from `x` to the nearest point of a plane that keeps pixels in [0, 1].

    Solves ``min ||d||`` subject to ``<w, d> = offset`` and ``0 <= x + d <= 1`` for each row. Every
    pixel moves with the sign of ``offset * w`` by ``min(t * r, cap)``, with r = 1 for ``"linf"``
    and r = |w| for ``"l2"``; t follows from sorting the values at which pixels hit their caps.

    Args:
        x: ``(batch, ...)`` in [0, 1].
        weight: Normals, shaped as `x`.
        offset: ``(batch,)``, what ``<w, d>`` has to be.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.

    Returns:
        Moves, shaped as `x`. Where the plane does not meet the box: as far as the box allows.

    Example:
        >>> x, w = torch.tensor([[0.5, 0.9]]), torch.tensor([[1.0, 1.0]])
        >>> onto_plane(x, w, torch.tensor([0.4]), "linf")
        tensor([[0.3000, 0.1000]])

    Source:
        Croce and Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack", ICML 2020, section 2.
    """
    shape = x.shape
    point, normal = x.flatten(1).double(), weight.flatten(1).double()
    side = torch.sign(normal * offset.double()[:, None])
    caps = torch.where(side > 0, 1 - point, point) * (side != 0)
    steep = normal.abs()
    rate = torch.ones_like(steep) if norm == "linf" else steep
    gain = steep * rate
    full = torch.where(rate > 0, caps / rate.clamp_min(1e-300), torch.inf)
    order = full.argsort(dim=1)
    full_sorted = full.gather(1, order)
    gain_sorted = gain.gather(1, order)
    done = (steep * caps).gather(1, order).cumsum(1)
    left = gain_sorted.flip(1).cumsum(1).flip(1)
    # Total change of <w, d> when t reaches the cap of the i-th pixel: those before are at theirs.
    before = torch.cat([torch.zeros_like(done[:, :1]), done[:, :-1]], dim=1)
    reach = before + full_sorted.nan_to_num(posinf=0.0) * left
    wanted = offset.double().abs()[:, None]
    first = torch.searchsorted(reach.cummax(1).values.contiguous(), wanted)
    place = first.clamp_max(reach.shape[1] - 1)
    rest = (wanted - before.gather(1, place)).clamp_min(0)
    t = rest / left.gather(1, place).clamp_min(1e-300)
    t = torch.where(first >= reach.shape[1], torch.inf, t)
    return (side * torch.minimum(t * rate, caps).nan_to_num(0.0)).to(x.dtype).view(shape)
