"""Hearing how far a slow explanation is, without an argument for it in every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ear: ContextVar[Callable[[float], None] | None] = ContextVar("ear", default=None)


@contextmanager
def watched(on_share: Callable[[float], None]) -> Iterator[None]:
    """Hear how much of its images an explanation inside the block has run, for progress displays.

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
    token = _ear.set(on_share)
    try:
        yield
    finally:
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
