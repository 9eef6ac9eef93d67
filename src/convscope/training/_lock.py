"""One process at a time in a run folder."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from convscope.errors import RunBusyError

NAME = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold the folder while the block runs.

    The lock belongs to the kernel, so it ends with the process, however that ends. The file only
    says who holds it, and a file left behind by a killed process is taken over.

    Args:
        folder: An existing run folder.

    Yields:
        Empty, or a sentence about the dead process whose lock was taken over.

    Raises:
        RunBusyError: Another process is at work; the text has its pid, host and start time.
    """
    path = folder / NAME
    with path.open("a+", encoding="utf-8") as file:
        if not _take(file):
            owner = _owner(path)
            raise RunBusyError(
                f"process {owner.get('pid', '?')} on {owner.get('host', '?')} works here "
                f"since {owner.get('started', '?')}",
                code="T10",
                where=folder,
                hint="wait until it ends, stop it, or train into another folder",
            )
        before = _owner(path)
        note = ""
        if before:
            note = (
                f"process {before.get('pid', '?')} (started {before.get('started', '?')}) "
                "ended without tidying up; its lock was taken over"
            )
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "started": now}, file)
        file.flush()
        try:
            yield note
        finally:
            file.truncate(0)


def _owner(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _take(file: IO[str]) -> bool:
    """Whether the kernel gave us the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0x7FFFFFFF)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # A file system without locks: better to train unguarded than not at all.
        return True
    return True
