"""Images with parts hidden: fills, and logits of lazily generated images in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from convscope.ascent import gaussian_blur
from convscope.errors import UsageError, choose
from convscope.probe import Probe, rows_per_chunk
from convscope.progress import announce
from convscope.types import Images, Logits

Fill = float | Literal["mean", "blur"] | Tensor
"""A gray level, each image's ``"mean"`` color, the image ``"blur"``-red, or images."""


def blank(fill: Fill, images: Images, name: str = "fill") -> tuple[Tensor, str]:
    """The uninformative version of each image, and its name.

    Args:
        fill: See `Fill`.
        images: ``(batch, channel, height, width)``.
        name: What to call `fill` in an error.

    Returns:
        Images that broadcast to the shape of `images`, one row per image.

    Raises:
        UsageError: If there is no such fill.

    Example:
        >>> import torch
        >>> blank("mean", torch.tensor([0.0, 1.0]).view(1, 1, 1, 2))
        (tensor([[[[0.5000]]]]), 'mean color')
    """
    count = len(images)
    if isinstance(fill, Tensor):
        try:
            return fill.to(images).expand(count, *images.shape[1:]), "images"
        except RuntimeError as error:
            raise UsageError(
                f"{name} has shape {tuple(fill.shape)}",
                code="U05",
                expected=f"images that broadcast to {tuple(images.shape)}",
            ) from error
    if isinstance(fill, str):
        choose(name, fill, ("mean", "blur"))
        if fill == "mean":
            return images.mean(dim=(2, 3), keepdim=True), "mean color"
        return gaussian_blur(images, max(images.shape[2:]) / 10), "blur"
    if not 0 <= fill <= 1:
        raise UsageError(f"{name} is {fill}", code="U05", expected="a gray level from 0 to 1")
    return images.new_full((count, 1, 1, 1), fill), f"gray {fill:g}"


def chunks(probe: Probe, count: int) -> Iterator[Tensor]:
    """The numbers 0 to `count` - 1, in pieces that run well through the network.

    Announces the share of them that is done.
    """
    size = rows_per_chunk(probe.classifier.input_shape, probe.classifier.device)
    for start in range(0, count, size):
        yield torch.arange(start, min(start + size, count))
        announce(min(start + size, count) / count)


def lazy_logits(probe: Probe, count: int, decode: Callable[[Tensor], Tensor]) -> Logits:
    """Logits of the images ``decode(numbers)``, without ever holding all of them.

    Args:
        probe: An open probe.
        count: How many images there are.
        decode: ``(n,)`` numbers below `count` to ``(n, channel, height, width)``.

    Returns:
        ``(count, class)``.
    """
    parts = []
    with torch.inference_mode(False), torch.no_grad():
        for numbers in chunks(probe, count):
            images = decode(numbers)
            parts.append(probe.forward(images).to(images.device))
    return torch.cat(parts)
