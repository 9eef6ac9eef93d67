"""Progress: how far a slow method is, heard by whoever asks, without an argument in every method.

There is one protocol: a `Progress` is called with the share that is done, from 0 to 1, and with
what is being done. Methods say how far they are by `announce` or, in loops, by `at_step`; a method
that calls others says by `stage` which stretch of its own work they are.

In a notebook, calls that take longer than a second or two show a bar below their cell by
themselves, unless a `watch` hears them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Progress", "announce", "at_step", "stage", "watch", "within_step"]

Progress = Callable[[float, str], None]
"""``on_progress(share, what)``: shares from 0 to 1 that do not fall, and words for people."""


class _Listener(NamedTuple):
    hear: Progress
    what: str


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)
_step: ContextVar[tuple[float, float] | None] = ContextVar("step", default=None)


@contextmanager
def watch(on_progress: Progress, what: str = "") -> Iterator[None]:
    """Hear how much of its work the method inside the block has done.

    Args:
        on_progress: Called with a share from 0 to 1 that does not fall, and with words on what is
            being done. Where a block calls methods one after the other, the share stands still
            while a later one catches up. A method that goes over some images again until they are
            exact, as integrated gradients do, tells the share of the most that it may have to do,
            and leaps forward when less is enough.
        what: The words until the method says something more precise.

    Example:
        >>> import torch
        >>> from convscope.classifier import Classifier
        >>> from convscope.explanations import occlusion
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> heard = []
        >>> with watch(lambda share, what: heard.append(share)):
        ...     _ = occlusion(classifier, torch.rand(3, 1, 4, 4))
        >>> heard[-1]
        1.0
    """
    reached = 0.0

    def forward(share: float, words: str) -> None:
        nonlocal reached
        reached = max(reached, share)
        on_progress(reached, words)

    listener, step = _listener.set(_Listener(forward, what)), _step.set(None)
    try:
        yield
    finally:
        _step.reset(step)
        _listener.reset(listener)


@contextmanager
def stage(start: float, stop: float, what: str = "") -> Iterator[None]:
    """What is announced from 0 to 1 inside the block is heard as from `start` to `stop`.

    Args:
        start: Share of the whole that was done before.
        stop: Share of the whole that will be done after.
        what: What is being done meanwhile; empty: what was said outside.
    """
    outer = _heard_by()
    if outer is None:
        yield
        return

    def stretched(share: float, words: str) -> None:
        outer.hear(start + (stop - start) * share, words)

    with watch(stretched, what or outer.what):
        if what:
            announce(0.0)
        yield


def _heard_by() -> _Listener | None:
    """Who watches; in a notebook where nobody does, the bar below the cell."""
    listener = _listener.get()
    if listener is None and "IPython" in sys.modules:
        from convscope._notebook_bar import notebook_bar

        bar = notebook_bar(_forget_step)
        return None if bar is None else _Listener(bar.hear, "")
    return listener


def _forget_step() -> None:
    _step.set(None)


def announce(share: float, what: str = "") -> None:
    """Say that a share of the work is done, to whoever watches."""
    if share > 1 - 1e-9:  # What runs after the last step of a loop is no part of it.
        _forget_step()
    listener = _heard_by()
    if listener is not None:
        listener.hear(share, what or listener.what)


def at_step(step: int, steps: int) -> None:
    """Say that a loop begins its step `step`, counted from 0, of `steps`.

    What runs the network says by `within_step` how far it is inside.
    """
    if _heard_by() is not None and steps > 0:
        _step.set((step / steps, 1 / steps))
        announce(step / steps)


def within_step(share: float) -> None:
    """Say how much of a step is done; nothing outside the steps of a loop."""
    step = _step.get()
    if step is not None:
        announce(step[0] + step[1] * min(share, 1.0))
