"""Failpoints: places where the tests can make the system fail.

``CONVSCOPE_FAULTS=name:count:action`` (several, separated by commas) makes the `count`-th passage
of the point `name` do `action`. Without that variable a failpoint is one dictionary look-up.

Points: data.read, step.forward, step.loss, step.grad, step.update, log.append, ckpt.mkdir,
ckpt.write.model, ckpt.write.optimizer, ckpt.write.average, ckpt.write.best, ckpt.write.state,
ckpt.write.metrics, ckpt.write.manifest, ckpt.fsync, ckpt.rename, ckpt.prune, model.write,
report.write.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from convscope.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])

ACTIONS = ("kill9", "sigint", "sigterm", "enospc", "eacces", "sleep", "nan")

_armed: dict[str, list[tuple[int, str]]] = {}
_passed: dict[str, int] = {}


def arm(text: str) -> None:
    """Set the faults of this process from ``name:count:action,...``; an empty text disarms.

    Raises:
        UsageError: The text is not of that form.
    """
    _armed.clear()
    _passed.clear()
    for part in filter(None, text.split(",")):
        name, _, rest = part.partition(":")
        count, _, action = rest.partition(":")
        if not count.isdigit() or action not in ACTIONS:
            raise UsageError(
                f"CONVSCOPE_FAULTS holds {part!r}",
                expected=f"name:count:action with an action of {', '.join(ACTIONS)}",
            )
        _armed.setdefault(name, []).append((int(count), action))


def hit(name: str) -> bool:
    """Pass the point `name`. True means: the caller shall continue with NaN."""
    if name not in _armed:
        return False
    _passed[name] = _passed.get(name, 0) + 1
    due = [action for count, action in _armed[name] if count == _passed[name]]
    return any([_strike(action, name) for action in due])


def failpoint(
    name: str, *, spoil: Callable[[Any], Any] | None = None
) -> Callable[[Function], Function]:
    """Pass the point `name` whenever the decorated function is called, just before it runs.

    Args:
        name: The point.
        spoil: What the action ``nan`` makes of the result of the function.

    Example:
        >>> @failpoint("twice", spoil=lambda number: -number)
        ... def twice(number):
        ...     return 2 * number
        >>> arm("twice:2:nan")
        >>> twice(1), twice(1), twice(1)
        (2, -2, 2)
        >>> arm("")
    """

    def wrap(function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            spoiled = hit(name)
            result = function(*args, **kwargs)
            return spoil(result) if spoiled and spoil is not None else result

        return cast(Function, wrapped)

    return wrap


def _strike(action: str, name: str) -> bool:
    if action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "sigint":
        signal.raise_signal(signal.SIGINT)
    elif action == "sigterm":
        signal.raise_signal(signal.SIGTERM)
    elif action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
    elif action == "eacces":
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
    elif action == "sleep":
        time.sleep(0.2)
    return action == "nan"


arm(os.environ.get("CONVSCOPE_FAULTS", ""))
