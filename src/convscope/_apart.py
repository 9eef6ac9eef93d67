"""Run something where no signal can cut it short.

Modes of torch that watch every operation live on a stack of the thread. A KeyboardInterrupt between
pushing and popping would leave one there, and everything that the thread does afterwards would be
watched. Python delivers signals to the main thread only, so what needs such a mode runs in another
one; an interrupt ends the waiting at once, and the other thread finishes by itself.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def apart(function: Callable[[], Result]) -> Result:
    """What `function` returns or raises, run in a thread of its own if this is the main one.

    Example:
        >>> apart(lambda: 6 * 7)
        42
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    ended: list[tuple[Any, BaseException | None]] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            ended.append((context.run(function), None))
        except BaseException as error:
            ended.append((None, error))

    thread = threading.Thread(target=work, name="convscope-look", daemon=True)
    thread.start()
    thread.join()
    value, error = ended[0]
    if error is not None:
        raise error
    found: Result = value
    return found
