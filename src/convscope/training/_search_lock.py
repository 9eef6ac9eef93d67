"""Who may write to a journal file: one process at a time, by a lock that was seen to work."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from convscope.errors import ResourceError, UsageError
from convscope.training._checkpoints import disk_errors

KERNEL, EXCLUSIVE = "kernel", "exclusive"
DATABASE = "another --storage: a file on a local disk, or a database such as postgresql://server/n"


class Lock(Protocol):
    """What Optuna asks of a lock."""

    def acquire(self) -> bool:
        """Wait for it."""

    def release(self) -> None:
        """Let others in."""


def journal_lock(path: Path) -> Lock:
    """The lock of a journal, the same for all processes that write to it.

    ``FILE.locking`` says which kind it is; whoever comes first decides:

    - a lock of the kernel on ``FILE.locking``, which ends with its process;
    - on a file system without: Optuna's `JournalFileOpenLock`, a file ``FILE.lock`` that only one
      process can make. One that a killed process leaves behind is waited for, 30 seconds.

    Each is tried against itself before it is trusted: some file systems answer that they locked
    and did not. Optuna's other lock, by symbolic links, is not used: it is for NFS version 2, and
    where the link points nowhere (another mount point, a relative path) it is waited for without
    pause and without end.

    Args:
        path: The journal; its folder exists.

    Raises:
        ResourceError: T22, neither works, or not the one by which others write; T04, the folder
            may not be written to.
        UsageError: U13, ``FILE.locking`` is something else.
    """
    note = path.with_name(path.name + ".locking")
    if note.exists() and not note.is_file():
        raise UsageError("not a regular file", code="U13", where=note, hint="remove it")
    with disk_errors(note):
        able = [kind for kind, works in _KINDS.items() if works(note)]
        with note.open("a") as made:
            if able and not note.stat().st_size:
                made.write(able[0] + "\n")
        # Of two processes that came first at once, both read the line that was written first.
        with note.open("rb") as file:
            agreed = file.read(20).decode("ascii", "replace").partition("\n")[0]
    if agreed in able:
        return _KernelLock(note) if agreed == KERNEL else _ExclusiveLock(path)
    raise ResourceError(
        "this file system cannot keep two processes from writing at once"
        if not able
        else f"other processes lock this journal by {agreed!r}, which does not work here",
        code="T22",
        where=path,
        expected=DATABASE,
    )


def kernel_locks(path: Path) -> bool:
    """Whether the kernel keeps a second holder away from this file."""
    if sys.platform == "win32":
        return True
    import fcntl

    with path.open("a") as first, path.open("a") as second:
        try:
            # Another process may hold it right now: then it works.
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
    return False


def exclusive_files(path: Path) -> bool:
    """Whether a file beside `path` that is there cannot be made once more."""
    probe = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        for _ in range(2):
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return False


_KINDS = {KERNEL: kernel_locks, EXCLUSIVE: exclusive_files}
"""The better one first."""


class _KernelLock:
    """A lock of the kernel; Optuna's own outlive a killed process by 30 seconds.

    Args:
        path: The file to hold.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.RLock()
        self._file: Any = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._threads.acquire()
        try:
            self._file = self._path.open("a")
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(self._file.fileno(), msvcrt.LK_LOCK, 1)
            else:
                import fcntl

                fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise
        return True

    def release(self) -> None:
        """Let others in."""
        self._file.close()
        self._threads.release()


class _ExclusiveLock:
    """Optuna's lock by a file that only one process can make.

    Args:
        path: The journal.
    """

    def __init__(self, path: Path) -> None:
        from optuna.storages.journal import JournalFileOpenLock

        self._lock = JournalFileOpenLock(str(path))

    def acquire(self) -> bool:
        """Wait for the lock."""
        return self._lock.acquire()

    def release(self) -> None:
        """Let others in; nothing if they took this process for dead."""
        with suppress(RuntimeError):
            self._lock.release()
