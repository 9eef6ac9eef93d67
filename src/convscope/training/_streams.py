"""Randomness as a function of (seed, purpose, position), never as a state.

A run that is killed and resumed must draw the same numbers as one that was left alone. So nothing
here is kept between steps: whoever needs random numbers for step 7 of epoch 3 asks for the stream
of exactly that name. No generator state has to be saved, and none can be forgotten.
"""

from hashlib import blake2b

import torch
from torch import Generator, Tensor


def stream(seed: int, purpose: str, *position: int) -> Generator:
    """The generator of one purpose at one place of a run.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for, such as ``"order"`` or ``"augment"``.
        position: Where in the run, such as the epoch and the step.

    Returns:
        A fresh CPU generator; equal arguments give equal numbers, on every machine.

    Example:
        >>> first, again = stream(0, "augment", 3, 7), stream(0, "augment", 3, 7)
        >>> torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=again))
        True
        >>> torch.rand(1, generator=stream(0, "noise", 3, 7)) == torch.rand(1, generator=first)
        tensor([False])
    """
    return Generator().manual_seed(number(seed, purpose, *position))


def number(seed: int, purpose: str, *position: int) -> int:
    """The 63-bit number that `stream` starts from."""
    name = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def order(seed: int, epoch: int, images: int) -> Tensor:
    """The order in which an epoch shows the training images: (images,) row numbers.

    It does not know how many processes share the work or how large a batch is.
    """
    return torch.randperm(images, generator=stream(seed, "order", epoch))
