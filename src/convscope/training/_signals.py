"""Ctrl-C, SIGTERM and a closed terminal as wishes: finish the step, save, then leave."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from convscope.errors import ConvscopeError


class Interrupted(ConvscopeError):
    """The run was stopped by Ctrl-C; its state is saved."""

    exit_code = 130


class Terminated(Interrupted):
    """The run was stopped by SIGTERM or a closed terminal; its state is saved."""

    exit_code = 143


class Wish:
    """Which signal, if any, asked the run to end."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def error(self, step: int, total: int) -> Interrupted:
        """The exception to leave with, once the state is saved."""
        kind = Interrupted if self.signal in (None, signal.SIGINT) else Terminated
        return kind(
            f"stopped after step {step} of {total}; everything is saved",
            hint="the same command with --resume goes on, with the same result to the bit",
        )


@contextmanager
def watched() -> Iterator[Wish]:
    """Collect SIGINT and SIGTERM while the block runs; a second SIGINT stops at once.

    Outside the main thread Python cannot catch signals: there the wish never comes.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, frame: FrameType | None) -> None:
        if wish.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        wish.signal = number

    numbers = [signal.SIGINT, signal.SIGTERM]
    # A closed terminal ends a run like SIGTERM, unless `nohup` said that it shall not.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
