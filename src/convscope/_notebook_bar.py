"""A progress bar in notebooks, for calls that take longer than a second or two."""

from __future__ import annotations

import html
import importlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from convscope._durations import time_left

PATIENCE = 1.5
"""Seconds for which a call is left alone: a bar that flashes up tells nobody anything."""

PERIOD = 0.25
"""Seconds between two pictures of the bar."""


class NotebookBar:
    """Hears shares and shows them below the cell; nothing is left of it when the call is over.

    Args:
        shell: IPython's shell of the notebook; its event at the end of a cell removes the bar, so
            that a call which raised an error leaves none behind.
        at_end: Called when a cell has ended.
    """

    def __init__(self, shell: Any, at_end: Callable[[], None]) -> None:
        self._shell = shell
        self._handle: Any = None
        self._cell = -1
        self._visible = self._broken = False
        self._began = self._drawn = 0.0
        self._share = 1.0

        def cell_ended(*_: Any) -> None:
            self.remove()
            at_end()

        shell.events.register("post_run_cell", cell_ended)

    def hear(self, share: float, what: str) -> None:
        """Take note of a share from 0 to 1; zero begins a call, and so does any after the end.

        Within a call the share never falls: a step may run the network more than once.
        """
        if self._broken:
            return
        now = time.monotonic()
        if share <= 0 or self._share >= 1:
            self._share, self._began, self._drawn = 0.0, now, now
        self._share = share = max(self._share, share)
        if share > 1 - 1e-9:
            self.remove()
        elif now - self._began >= PATIENCE and now - self._drawn >= PERIOD:
            self._drawn = now
            self._show(share, what, now - self._began)

    def remove(self) -> None:
        """Take the bar away, and wait for the next call."""
        self._share = 1.0
        if self._visible:
            self._visible = False
            self._draw("")

    def _show(self, share: float, what: str, gone: float) -> None:
        self._visible = True
        words = html.escape(f"{what or 'working'}: {share:.0%}{time_left(gone, share)}")
        self._draw(
            f'<progress max="1" value="{share:.3f}" aria-label="progress"></progress> {words}'
        )

    def _draw(self, page: str) -> None:
        try:
            # Through Any: in some versions of IPython these have no annotations.
            display: Any = importlib.import_module("IPython.display")
            page_of = display.HTML(page)
            cell = self._shell.execution_count
            if page and cell != self._cell:
                self._cell, self._handle = cell, display.display(page_of, display_id=True)
            else:
                self._handle.update(page_of)
        except Exception:
            self._broken = True  # A bar that cannot be shown must not end the call that it is of.


_bars: dict[int, NotebookBar] = {}


def notebook_bar(at_end: Callable[[], None]) -> NotebookBar | None:
    """The bar of the notebook that this process serves; ``None`` elsewhere and in threads."""
    get_ipython = getattr(sys.modules["IPython"], "get_ipython", None)  # Or half imported.
    shell = None if get_ipython is None else get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    if threading.current_thread() is not threading.main_thread():
        return None
    if id(shell) not in _bars:
        _bars[id(shell)] = NotebookBar(shell, at_end)
    return _bars[id(shell)]
