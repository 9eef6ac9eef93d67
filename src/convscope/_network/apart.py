"""Run something where no signal can cut it short.

Modes of torch that watch every operation live on a stack of the thread. A KeyboardInterrupt between
pushing and popping would leave one there, and everything that the thread does afterwards would be
watched. Python delivers signals to the main thread only, so what needs such a mode runs in another
one; an interrupt ends the waiting at once, and the other thread finishes by itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import nn
from torch.overrides import TorchFunctionMode

from convscope.errors import ModelContractError

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


class Watch(TorchFunctionMode):
    """Refuses a run of the copy that reaches a tensor of the original.

    Some ways to a module cannot be copied: a proxy, a class attribute, a global that a method of
    the network's class uses. An operation on an original's parameter or buffer is refused before
    it happens.

    Raises:
        ModelContractError: M25 with the name of the part.
    """

    def __init__(self, originals: dict[int, str]) -> None:
        super().__init__()
        self.originals = originals

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for value in (*args, *(kwargs or {}).values()):
            several = value if isinstance(value, list | tuple) else (value,)
            for item in several:
                if id(item) in self.originals:
                    raise _reached(self.originals[id(item)])
        return func(*args, **(kwargs or {}))


def _reached(name: str) -> ModelContractError:
    return ModelContractError(
        f"the network reaches its part {name!r} in a way that cannot be copied",
        code="M25",
        expected="modules that are attributes of the network, used as self.NAME",
        hint="do not use a module by a global name, a class attribute or a weak proxy",
    )


@contextlib.contextmanager
def unreached(parts: dict[int, str]) -> Iterator[None]:
    """Within this context and thread, refuse calls of the original's modules.

    A part without tensors, such as dropout, is in the mode of the original where it is reached by
    a way that was not copied. Calls are seen by Python's own profiler.

    Raises:
        ModelContractError: M25 with the name of the part.
    """
    codes = {nn.Module._call_impl.__code__}
    before = sys.getprofile()

    def look(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in codes:
            name = parts.get(id(frame.f_locals.get("self")))
            if name is not None:
                raise _reached(name)

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
