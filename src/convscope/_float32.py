"""Whole float32: without TF32 and bfloat16 inside of what is called float32."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_WHOLE = ("none", "ieee")
"""What torch calls it: nobody asked for less, or somebody asked for all of it."""

_lock = threading.Lock()
_inside = 0
_put_back: Callable[[], None] | None = None


@contextmanager
def whole_float32() -> Iterator[None]:
    """Convolutions and matrix products of float32 tensors with all 24 bits, on every device.

    By itself torch lets cuDNN round what it convolves to the ten bits of TF32; settings of the
    caller may let matrix products do so, too, and on a CPU round them to bfloat16. The settings are
    those of the process: the first of several threads changes them, the last one puts them back.
    """
    global _inside, _put_back
    with _lock:
        if _inside == 0:
            _put_back = _made_whole()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _put_back is not None:
                _put_back()


def _places() -> list[Any]:
    """Where torch keeps one setting for each kind of operation."""
    backends = torch.backends
    places = (
        backends.cudnn.conv,  # type: ignore[attr-defined]
        backends.cudnn.rnn,
        backends.cuda.matmul,
        backends.mkldnn.conv,  # type: ignore[attr-defined]
        backends.mkldnn.matmul,  # type: ignore[attr-defined]
        backends.mkldnn.rnn,  # type: ignore[attr-defined]
    )
    return [place for place in places if hasattr(place, "fp32_precision")]


def _made_whole() -> Callable[[], None]:
    """Change the settings; what puts them back."""
    before = [(place, place.fp32_precision) for place in _places()]
    # The older settings say the same once more, and cannot be read where the two differ: networks
    # and torch's compiler read them, so they change along.
    convolutions = _read(lambda: torch.backends.cudnn.allow_tf32)
    products = _read(torch.get_float32_matmul_precision)

    def put_back() -> None:
        if convolutions:
            torch.backends.cudnn.allow_tf32 = True
        if products not in (None, "highest"):
            torch.set_float32_matmul_precision(products)
        for place, value in before:
            if place.fp32_precision != value:
                place.fp32_precision = "none"
            if place.fp32_precision != value:  # It was not inherited.
                place.fp32_precision = value

    try:
        if convolutions:
            torch.backends.cudnn.allow_tf32 = False
        if products not in (None, "highest"):
            torch.set_float32_matmul_precision("highest")
        for place, _ in before:
            if place.fp32_precision not in _WHOLE:
                place.fp32_precision = "ieee"
    except BaseException:
        put_back()
        raise
    return put_back


def _read(setting: Callable[[], Any]) -> Any:
    """A setting; None where it contradicts a newer one, which torch refuses to read."""
    try:
        return setting()
    except RuntimeError:
        return None
