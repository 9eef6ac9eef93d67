"""Processes that decode image files, and what happens when one of them is lost.

Each is a program of its own (`convscope.data._worker`) that gets bytes and returns pixels. Threads
of this process wait for them, so that order and results are those of decoding here, one after the
other. A process that dies or does not answer is one error; none outlives this process.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convscope.data._image import decoded_array
from convscope.data._worker import Ended, fill, receive, send
from convscope.errors import DataError, ImageError, ResourceError, UsageError
from convscope.resizing import Resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_WORKERS = 64
USUAL_WORKERS = 4
"""Most processes that are started when nobody says how many: each takes 40 MB."""

PATIENCE = 120.0
"""Seconds that decoding one image may take; the largest takes about one."""

VARIABLE = "CONVSCOPE_WORKERS"
KINDS = {kind.__name__: kind for kind in (DataError, ImageError, ResourceError, UsageError)}
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); " + (
    "from convscope.data._worker import main; main()"
)


def worker_count() -> int:
    """How many processes decode images that do not stay in memory.

    That is ``$CONVSCOPE_WORKERS``; by default as many as there are cores, at most four, shared
    among the processes of ``torchrun`` on this machine. With 0, threads of this process decode.

    Raises:
        UsageError: U12, the variable is no such number.
    """
    text = os.environ.get(VARIABLE, "")
    if text:
        if not (text.isascii() and text.isdigit() and int(text[:4]) <= MOST_WORKERS):
            raise UsageError(
                f"{VARIABLE} is {text!r}", code="U12", expected=f"0 to {MOST_WORKERS} processes"
            )
        return int(text)
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    shared = int(here) if here.isascii() and here.isdigit() and int(here) else 1
    return max(1, min(USUAL_WORKERS, (os.cpu_count() or 1) // shared))


class LostWorker(Exception):
    """A process died or was given up; becomes a `ResourceError` for whoever waits."""


class Decoders:
    """Some processes that decode; they start when there is something to decode.

    Args:
        count: How many; with 0 the calling thread decodes.

    Attributes:
        broken: Whether one was lost.

    Example:
        >>> with Decoders(0) as decoders:
        ...     decoders.decode(b"no image", "a.png", shape=(1, 2, 2))
        Traceback (most recent call last):
        convscope.errors.ImageError: a.png: not an image
          expected: PNG, JPEG, GIF, BMP or WebP
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._all: list[_Process] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.broken = False

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def decode(
        self,
        data: bytes,
        where: str,
        *,
        shape: tuple[int, int, int],
        ending: str = "",
        resize: Resize | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Pixels of an image file, and notes on their decoding; threads may call it at once.

        Args:
            data: The whole file.
            where: What error texts call it.
            shape: Channels, height and width to bring it to.
            ending: Of its name, compared with the content.
            resize: How the network wants files brought to that size.
            out: Where the pixels go; a new array by default.

        Raises:
            ImageError: It is no readable image.
            ResourceError: T26, the process that decoded it was lost.
        """
        if not self.count:
            pixels, notes = decoded_array(
                data, where, ending=ending, channels=shape[0], size=shape[1:], resize=resize
            )
            if out is None:
                return pixels, notes
            out[...] = pixels
            return out, notes
        room = np.empty(shape, dtype=np.uint8) if out is None else out
        request = {
            "size": len(data),
            "where": where,
            "ending": ending,
            "shape": shape,
            "resize": None if resize is None else asdict(resize),
        }
        process = self._take()
        try:
            reply = process.ask(request, data, room)
        except LostWorker as lost:
            self.broken = True
            raise ResourceError(
                f"a process that decodes images {lost}",
                code="T26",
                where=where,
                hint=f"look for a lack of memory; {VARIABLE}=0 decodes in the process itself",
            ) from None
        finally:
            self._idle.put(process)
        if "error" in reply:
            fields = reply["error"]
            raise KINDS[reply["kind"]](fields.pop("what"), **fields)
        return room, tuple(reply["notes"])

    def _take(self) -> _Process:
        """A process that has nothing to do; it waits for one if all have."""
        with self._lock:
            if self._closed.is_set():
                raise ResourceError("the processes that decode images were ended", code="T26")
            if self._idle.empty() and len(self._all) < self.count:
                if not self._all:
                    threading.Thread(target=self._watch, daemon=True).start()
                self._all.append(_Process())
                return self._all[-1]
        return self._idle.get()

    def _watch(self) -> None:
        """End processes that do not answer: whoever waits for one then gets its error."""
        while not self._closed.wait(1.0):
            for process in list(self._all):
                process.end_if_overdue()

    def close(self) -> None:
        """End all processes; what is being decoded fails."""
        self._closed.set()
        with self._lock:
            for process in self._all:
                process.end()


class _Process:
    """One process that decodes, and the pipes to it."""

    def __init__(self) -> None:
        own = str(Path(__file__).resolve().parents[2])
        # Not what lies in the current folder: a file there must not be run.
        places = [own, *(place for place in sys.path if place and place != own)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COV_CORE")}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", START, json.dumps(places)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the process that asks.
            )
        except OSError as error:
            raise ResourceError(
                f"no process to decode images can be started: {error.strerror or error}",
                code="T26",
                hint=f"{VARIABLE}=0 decodes in the process itself",
            ) from None
        self.since = 0.0
        self.why = ""

    def ask(self, request: dict[str, Any], data: bytes, room: NDArray[np.uint8]) -> dict[str, Any]:
        """Its answer; pixels go into `room`."""
        requests, answers = self.process.stdin, self.process.stdout
        assert requests is not None and answers is not None
        self.since = time.monotonic()
        try:
            send(requests, request, data)  # type: ignore[arg-type]
            reply = receive(answers)  # type: ignore[arg-type]
            if "error" not in reply:
                fill(answers, memoryview(room.reshape(-1)))  # type: ignore[arg-type]
        except (OSError, ValueError, Ended):
            self.end()
            raise LostWorker(self.why or _spoken(self.process.returncode)) from None
        except BaseException:
            self.end()  # Half an answer may lie in the pipe.
            raise
        finally:
            self.since = 0.0
        return reply

    def end_if_overdue(self) -> None:
        """End it if it has worked on one image for too long."""
        if self.since and time.monotonic() - self.since > PATIENCE:
            self.why = f"did not answer for {PATIENCE:.0f} seconds"
            self.process.kill()

    def end(self) -> None:
        """End it, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()


def _spoken(status: int | None) -> str:
    """How a process ended, in words."""
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"


_shared: dict[tuple[int, int], Decoders] = {}
_sharing = threading.Lock()


def shared_decoders(count: int) -> Decoders:
    """The processes of this process: all data sets share them.

    A process that was forked off this one gets its own. After one was lost, new ones are started.
    """
    with _sharing:
        key = (os.getpid(), count)
        if key not in _shared or _shared[key].broken:
            if key in _shared:
                _shared[key].close()
            _shared[key] = Decoders(count)
        return _shared[key]


@atexit.register
def _end_all() -> None:
    for (pid, _), decoders in _shared.items():
        if pid == os.getpid():
            decoders.close()
