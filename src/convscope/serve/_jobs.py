"""Work that pages ask for: one worker per lane, newest request first, progress, cancel.

A panel is one place of one page. A newer request of a panel cancels the older one, whether that
waits or runs. Work is canceled where it announces its progress (`convscope.progress`): there an
exception ends it, as Ctrl-C would, and methods leave networks as they were.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from convscope.errors import ConvscopeError, UsageError
from convscope.progress import watch
from convscope.reports import without_controls
from convscope.serve._frames import packed

MOST_WAITING = 64
"""Jobs of a lane; more at once are nobody's page."""


class Canceled(BaseException):
    """Ends work inside a method. Not an `Exception`: nothing in between may take it for a fault."""


class Job:
    """One request and its answers.

    Args:
        panel: Whose newest request counts.
        work: Called with the job; posts its answers.

    Attributes:
        share: How much is done, 0 to 1.
        doing: What is being done, in words.
    """

    def __init__(self, panel: tuple[str, ...], work: Callable[[Job], None]) -> None:
        self.panel, self.work = panel, work
        self.share, self.doing = 0.0, ""
        self._canceled = threading.Event()
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def post(self, part: str, arrays: Any = None, **values: Any) -> None:
        """Send a part of the answer; raises `Canceled` if nobody waits for it any more."""
        self.go_on()
        self._frames.put(packed({"part": part, **values}, arrays))

    def go_on(self) -> None:
        """Raise `Canceled` if this job has been canceled."""
        if self._canceled.is_set():
            raise Canceled

    def cancel(self) -> None:
        """End it at its next step."""
        self._canceled.set()

    def next_frame(self, timeout: float) -> bytes | None:
        """The next part, a sign of life after `timeout` seconds, or None after the last part."""
        try:
            return self._frames.get(timeout=timeout)
        except queue.Empty:
            return packed({"part": "alive", "share": self.share, "doing": self.doing})

    def frames(self, timeout: float = 0.4) -> Iterator[bytes]:
        """All parts as they come, and signs of life."""
        while (frame := self.next_frame(timeout)) is not None:
            yield frame

    def run(self) -> None:
        """Do the work; whatever happens ends as a part."""
        try:
            self.go_on()
            with watch(self._hear):
                self.work(self)
            self._frames.put(packed({"part": "done"}))
        except Canceled:
            self._frames.put(packed({"part": "canceled", "error": described(canceled())}))
        except Exception as error:
            self._frames.put(packed({"part": "failed", "error": described(error)}))
        finally:
            self._frames.put(None)

    def _hear(self, share: float, what: str) -> None:
        self.go_on()
        self.share, self.doing = share, what


class Lane:
    """One thread that does one job after the other.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs: dict[tuple[str, ...], Job] = {}
        self._thread = threading.Thread(target=self._work, name=f"convscope-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job:
        """Take a job; an older one of its panel is canceled.

        Raises:
            UsageError: U21 if too much waits.
        """
        with self._lock:
            older = self._jobs.get(job.panel)
            if older is None and len(self._jobs) >= MOST_WAITING:
                raise UsageError(
                    f"{MOST_WAITING} requests are waiting", code="U21", hint="close other pages"
                )
            if older is not None:
                older.cancel()
            self._jobs[job.panel] = job
            self._waiting.put(job)
        return job

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Do something short between jobs."""
        future: Future[Any] = Future()

        def work(job: Job) -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._waiting.put(Job(("call",), work))
        return future

    def cancel(self, panel: tuple[str, ...]) -> bool:
        """Cancel what a panel asked for last; whether there was something."""
        with self._lock:
            job = self._jobs.get(panel)
        if job is not None:
            job.cancel()
        return job is not None

    def cancel_all(self) -> None:
        """Cancel everything. Signal handlers call it, so it waits for no lock."""
        for job in list(self._jobs.values()):
            job.cancel()

    def close(self, timeout: float = 2.0) -> None:
        """Cancel everything and end the thread."""
        self.cancel_all()
        self._waiting.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.run()
            with self._lock:
                if self._jobs.get(job.panel) is job:
                    del self._jobs[job.panel]


def canceled() -> UsageError:
    """What is said of work that was canceled."""
    return UsageError("canceled", code="U22", hint="ask again for what is still wanted")


def described(error: BaseException) -> dict[str, str]:
    """An error as pages get it: code, what, and what to do; a traceback goes to the log only."""
    if isinstance(error, ConvscopeError):
        where = f"{error.where}: " if error.where else ""
        words = {"what": where + error.what, "expected": error.expected, "fix": error.hint}
        return {"code": error.code, **{key: without_controls(text) for key, text in words.items()}}
    if isinstance(error, MemoryError):
        return {"code": "", "what": "out of memory", "expected": "", "fix": "take less at once"}
    logging.getLogger("convscope.serve").error("a request failed", exc_info=error)
    return {
        "code": "",
        "what": f"this is a bug in convscope: {type(error).__name__}",
        "expected": "",
        "fix": "please report it; the terminal of `convscope serve` has the details",
    }
