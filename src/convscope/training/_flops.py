"""Floating-point operations of a training run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from convscope._network.frozen_copy import FrozenCopy

BACKWARD = 2
"""A backward pass costs two forward passes: the gradient of the weights and that of the input."""


def forward_flops(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """Operations of the convolutions and matrix products for one image, two per multiply-add.

    Args:
        module: Normalized images in, logits out; it is left as it was.
        shape: Channels, height and width of an image.

    Returns:
        0 if the network cannot be run on an image of zeros.

    Example:
        >>> forward_flops(nn.Conv2d(1, 4, 3), (1, 10, 10)) == 2 * 4 * 9 * 8 * 8
        True
    """
    copied = FrozenCopy(module).module
    device = next((p.device for p in module.parameters()), None)
    for images in (1, 2):  # Some networks cannot take one image.
        counter = _Counter()  # type: ignore[no-untyped-call]
        with suppress(Exception), torch.no_grad(), counter:  # a count must not end a run
            copied(torch.zeros(images, *shape, device=device))
            return counter.total // images
    return 0


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of what runs inside, by the formulas of torch's own counter."""

    total = 0


def _counted(
    self: _Counter, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
) -> Any:
    out = func(*args, **(kwargs or {}))
    if formula := flop_registry.get(func._overloadpacket):
        with suppress(Exception):  # a count must not end a run: what has no formula is left out
            self.total += int(formula(*args, **(kwargs or {}), out_val=out))
    return out


# Not in the class: torch wraps methods of such classes, FlopCounterMode's too, in ones that import
# the compiler, which takes a second.
_Counter.__torch_dispatch__ = _counted  # type: ignore[method-assign,assignment]


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
