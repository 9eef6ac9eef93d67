"""A file that one process holds: the lock is the kernel's and ends with its process."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from convscope.errors import ConvscopeError, RunBusyError, UsageError
from convscope.files._door import ENVIRONMENT
from convscope.files._texts import read_json_table
from convscope.files._writing import disk_errors


@contextmanager
def locked(path: Path, *, hint: str) -> Iterator[str]:
    """Hold a lock file while the block runs.

    The lock belongs to the kernel, so it ends with the process, however that ends. The file only
    says who holds it; it goes when the block ends, and one that a killed process left behind is
    taken over.

    Args:
        path: The lock file; its folder exists.
        hint: What to do while another process holds it.

    Yields:
        Empty, or a sentence about the dead process whose lock was taken over.

    Raises:
        RunBusyError: T10, another process is at work; the text has its pid, host and start time.
        ResourceError: The disk is full or refuses to write.
    """
    with disk_errors(path):
        file, note = _locked_file(path, hint)
        try:
            file.truncate(0)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": now}
            file.write(json.dumps(owner))
            file.flush()
        except BaseException:
            _release(file, path)
            raise
    try:
        yield note
    finally:
        _release(file, path)


def _locked_file(path: Path, hint: str) -> tuple[IO[str], str]:
    """The lock file, held, and what is to be said about its last owner."""
    while True:
        if path.exists() and not path.is_file():
            raise UsageError("not a regular file", code="U13", where=path, hint="remove it")
        file = path.open("a+", encoding="utf-8")
        if not _take(file):
            file.close()
            owner = _owner(path)
            raise RunBusyError(
                f"process {owner.get('pid', '?')} on {owner.get('host', '?')} works here "
                f"since {owner.get('started', '?')}",
                code="T10",
                where=path.parent,
                hint=hint,
            )
        # Whoever held it before may have removed it between our opening and our locking.
        if os.name != "posix" or _is_still_there(file, path):
            break
        file.close()
    before = _owner(path)
    if not before:
        return file, ""
    return file, (
        f"process {before.get('pid', '?')} (started {before.get('started', '?')}) "
        "ended without tidying up; its lock was taken over"
    )


def _is_still_there(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _release(file: IO[str], path: Path) -> None:
    """Remove the file while it is held, so that nobody else can be holding it."""
    if os.name == "posix":
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):
        file.close()
    if os.name != "posix":
        with suppress(OSError):
            path.unlink()


def _owner(path: Path) -> dict[str, str]:
    try:
        environment = read_json_table(path, ENVIRONMENT)
    except ConvscopeError:
        return {}
    return {key: str(value) for key, value in environment.items()}


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
        # A file system without locks: better to work unguarded than not at all.
        return True
    return True
