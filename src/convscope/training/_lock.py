"""One process at a time in a run folder."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from convscope import files
from convscope.errors import ConvscopeError, RunBusyError, UsageError
from convscope.files import disk_errors

NAME = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold the folder while the block runs.

    The lock belongs to the kernel, so it ends with the process, however that ends. The file only
    says who holds it; it goes when the block ends, and one that a killed process left behind is
    taken over.

    Args:
        folder: An existing run folder.

    Yields:
        Empty, or a sentence about the dead process whose lock was taken over.

    Raises:
        RunBusyError: Another process is at work; the text has its pid, host and start time.
        ResourceError: The disk is full or says no.
    """
    path = folder / NAME
    with disk_errors(path):
        file, note = _locked_file(path)
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


def _locked_file(path: Path) -> tuple[IO[str], str]:
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
                hint="wait until it ends, stop it, or train into another folder",
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
        found = files.read_json_table(path, files.ENVIRONMENT)
    except ConvscopeError:
        return {}
    return {key: str(value) for key, value in found.items()}


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
