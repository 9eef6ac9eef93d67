"""Randomness: streams of random numbers, and states of torch that come back."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator


def source(generator: Generator | None) -> Generator:
    """`generator` itself, or a fresh one with seed 0.

    Called once where a public function begins: its draws then follow each other.

    Args:
        generator: Source of every draw of the caller, or ``None``.

    Example:
        >>> float(torch.rand((), generator=source(None))) == float(
        ...     torch.rand((), generator=source(None)))
        True
    """
    return torch.Generator().manual_seed(0) if generator is None else generator


def seed_of(generator: Generator | None) -> int:
    """A seed that `generator` draws, for the streams of a method that works in blocks."""
    return int(torch.randint(2**62, (), generator=source(generator)))


def stream(seed: int, name: str) -> Generator:
    """A stream of random numbers of its own, whatever others have drawn.

    Args:
        seed: Of the method.
        name: Of the part of it that draws.

    Example:
        >>> torch.equal(torch.rand(2, generator=stream(0, "a")), torch.rand(2,
        ...     generator=stream(0, "a")))
        True
    """
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class RandomStates:
    """The global random states of torch, NumPy and Python."""

    def __init__(self) -> None:
        self.torch = torch.get_rng_state()
        self.numpy: Any = np.random.get_state()  # noqa: NPY002 - users' networks draw from it
        self.python = random.getstate()
        self.devices = [(d, torch.cuda.get_rng_state(d)) for d in _cuda_devices()]

    def moved(self) -> bool:
        """Whether anybody has drawn since."""
        now: Any = np.random.get_state()  # noqa: NPY002
        return not (
            torch.equal(self.torch, torch.get_rng_state())
            and self.numpy[2] == now[2]
            and np.array_equal(self.numpy[1], now[1])
            and self.numpy[3:] == now[3:]
            and self.python == random.getstate()
            and all(torch.equal(s, torch.cuda.get_rng_state(d)) for d, s in self.devices)
        )

    def moved_elsewhere(self) -> bool:
        """Whether NumPy's or Python's state has moved."""
        now: Any = np.random.get_state()  # noqa: NPY002
        still = self.numpy[2] == now[2] and np.array_equal(self.numpy[1], now[1])
        return not still or self.python != random.getstate()

    def rewind(self) -> None:
        """Put all of them back."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)
        for device, state in self.devices:
            torch.cuda.set_rng_state(state, device)


class Draws:
    """A network that draws random numbers gets a stream of its own.

    What it draws depends neither on the caller's random state nor moves it. The global states are
    exchanged for the length of one run; a second thread that draws during it draws from the
    network's stream.

    Args:
        seed: Where the stream begins.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.mine: RandomStates | None = None

    def __enter__(self) -> Draws:
        """Exchange."""
        _EXCHANGE.acquire()
        self.theirs = RandomStates()
        if self.mine is None:
            torch.manual_seed(self.seed)
            np.random.seed(self.seed % 2**32)  # noqa: NPY002 - NumPy takes 32 bits
            random.seed(self.seed)
        else:
            self.mine.rewind()
        return self

    def __exit__(self, *_: object) -> None:
        """Give back."""
        try:
            self.mine = RandomStates()
        finally:
            self.theirs.rewind()
            _EXCHANGE.release()


_EXCHANGE = threading.RLock()
"""Two networks that draw take turns: states that are exchanged crosswise would not come back."""


def _cuda_devices() -> Iterator[torch.device]:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield from (torch.device("cuda", i) for i in range(torch.cuda.device_count()))
