"""Logits of images that are too many to hold: made chunk by chunk from their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from convscope._watched import announce
from convscope.probe import Probe, rows_per_chunk
from convscope.types import Logits


def chunks(probe: Probe, count: int) -> Iterator[Tensor]:
    """The numbers 0 to `count` - 1, in pieces that run well through the network."""
    size = rows_per_chunk(probe.classifier.input_shape, probe.classifier.device)
    for start in range(0, count, size):
        yield torch.arange(start, min(start + size, count))
        announce(min(start + size, count) / count)


def painted_logits(probe: Probe, count: int, paint: Callable[[Tensor], Tensor]) -> Logits:
    """Logits of the images ``paint(numbers)``, without ever holding all of them.

    Args:
        probe: An open probe.
        count: How many images there are.
        paint: ``(n,)`` numbers below `count` to ``(n, channel, height, width)``.

    Returns:
        ``(count, class)``.
    """
    found = []
    with torch.inference_mode(False), torch.no_grad():
        for numbers in chunks(probe, count):
            images = paint(numbers)
            found.append(probe.run(images).to(images.device))
    return torch.cat(found)
