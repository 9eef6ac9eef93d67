"""The ascent that the course documents share: raise log p(class) by plain gradients."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from convscope._random import source
from convscope.ascent import Stop
from convscope.errors import UsageError


def confident(targets: Tensor, confidence: float) -> Stop:
    """True where the target is the class, with at least this probability.

    Raises:
        UsageError: U06 if `confidence` is not in [0, 1).
    """
    if not 0 <= confidence < 1:
        raise UsageError(f"confidence must be in [0, 1), got {confidence}", code="U06")

    def stop(logits: Tensor, rows: Tensor) -> Tensor:
        shares = logits.softmax(dim=1)
        own = shares.gather(1, targets[rows][:, None])[:, 0]
        return (shares.argmax(dim=1) == targets[rows]) & (own >= confidence)

    return stop


def gaussian_images(images: Tensor, mean: float, sd: float, generator: Generator | None) -> Tensor:
    """Images of Gaussian pixels, one drawing for all rows, clamped to [0, 1]."""
    noise = torch.randn(
        (1, *images.shape[1:]), generator=source(generator), dtype=torch.float32
    ).to(images)
    return (mean + sd * noise).clamp(0, 1).expand(len(images), -1, -1, -1).clone()
