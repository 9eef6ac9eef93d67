"""Activations of units for many images."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.probe import Probe
from convscope.types import Images
from convscope.visualizations._units import Units


def scores_on(probe: Probe, units: Units, images: Images) -> Tensor:
    """Activation of every unit for every image, ``(batch, unit)``, in bounded memory."""
    parts = []
    for start in range(0, len(images), 256):
        chunk = images[start : start + 256]
        outputs = probe.logits(chunk) if units.until is None else probe.at(units.until, chunk)
        parts.append(units.scores(outputs))
    return torch.cat(parts)
