"""Hearing how far a slow method is, without an argument for it in every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Ear = Callable[[float], None]
_ear: ContextVar[Ear | None] = ContextVar("ear", default=None)
_step: ContextVar[tuple[float, float] | None] = ContextVar("step", default=None)


@contextmanager
def watched(on_share: Callable[[float], None]) -> Iterator[None]:
    """Hear how much of its work a method inside the block has done, for progress displays.

    Args:
        on_share: Called with numbers from 0 to 1 that do not fall. A method that goes over some
            images again until they are exact, as integrated gradients do, tells the share of the
            most that it may have to do, and leaps forward when less is enough.

    Example:
        >>> import torch
        >>> from convscope.classifier import Classifier
        >>> from convscope.explanations import occlusion
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> heard = []
        >>> with watched(heard.append):
        ...     _ = occlusion(classifier, torch.rand(3, 1, 4, 4))
        >>> heard[-1]
        1.0
    """
    reached = 0.0

    def forward(share: float) -> None:
        nonlocal reached
        if share >= reached:
            reached = share
            on_share(share)

    token, step = _ear.set(forward), _step.set(None)
    try:
        yield
    finally:
        _step.reset(step)
        _ear.reset(token)


@contextmanager
def stretch(start: float, stop: float) -> Iterator[None]:
    """What announces itself from 0 to 1 inside the block is heard as from `start` to `stop`."""
    ear = _ear.get()
    if ear is None:
        yield
        return
    with watched(lambda share: ear(start + (stop - start) * share)):
        yield


def announce(share: float) -> None:
    """Tell whoever watches."""
    ear = _ear.get()
    if ear is not None:
        ear(share)


def at_step(step: int, steps: int) -> None:
    """Tell whoever watches that a loop begins its step `step`, counted from 0, of `steps`.

    What runs the network says by `within_step` how far it is inside.
    """
    if _ear.get() is not None and steps > 0:
        _step.set((step / steps, 1 / steps))
        announce(step / steps)


def within_step(share: float) -> None:
    """Tell whoever watches how much of a step is done; nothing outside the steps of a loop."""
    step = _step.get()
    if step is not None:
        announce(step[0] + step[1] * min(share, 1.0))
