"""Where Optuna keeps a study: a journal file, or a database."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convscope.errors import ResourceError, UsageError
from convscope.training._checkpoints import disk_errors
from convscope.training._search_lock import journal_lock

PAUSE = 0.5
"""Seconds until a database is tried again."""


@contextmanager
def quiet() -> Iterator[Any]:
    """Optuna, without its messages and its notes on what is experimental.

    Raises:
        UsageError: M22, it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        raise UsageError(
            "--method tpe needs Optuna, which is not installed",
            code="M22",
            expected="--method random or --method grid, which need nothing",
            hint='pip install "convscope[search]"',
        ) from None
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (optuna.exceptions.ExperimentalWarning, UserWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)
            yield optuna
    finally:
        optuna.logging.set_verbosity(level)


def public(text: str) -> str:
    """A URL without the password in it."""
    head, at, tail = text.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at and "://" in head else text


def database(optuna: Any, url: str) -> Any:
    """A database as a storage of Optuna.

    Raises:
        ResourceError: T22, it cannot be reached, or is of a kind that SQLAlchemy does not know.
    """
    options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    for attempt in range(3):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
        except Exception as error:  # each database has its own
            # Two processes that make the tables at once: the second one finds them made.
            if attempt < 2 and "already exists" in str(error):
                time.sleep(PAUSE)
                continue
            raise ResourceError(
                f"the database cannot be used: {type(error).__name__}: {error}",
                code="T22",
                where=public(url),
                expected="a URL such as sqlite:///search.db or postgresql://user@server/name",
            ) from error
    raise AssertionError


def journal(optuna: Any, path: Path) -> Any:
    """A journal file that one process writes at a time, and whose torn last line is cut off.

    Raises:
        UsageError: U13, it is something else, or damaged.
        ResourceError: T04, it may not be written; T22, its file system has no lock that works.
    """
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            lock.acquire()
            try:
                mend(path)
                with path.open("ab") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                lock.release()

    if path.exists() and not path.is_file():
        raise UsageError(
            "not a file: Optuna's trials are kept in a journal file or a database",
            code="U13",
            where=path,
            hint="another --storage, such as search.journal or sqlite:///search.db",
        )
    if path.exists():
        with path.open("rb") as file:
            if file.read(1) not in (b"", b"{"):
                raise UsageError("is no journal of Optuna", code="U13", where=path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock: Any = journal_lock(path)  # It is no subclass of Optuna's, which is not imported here.
        try:
            return JournalStorage(Journal(str(path), lock_obj=lock))
        except OSError:
            raise
        except Exception as error:  # Optuna replays the lines, whatever they say
            raise UsageError(f"is a damaged journal: {error}", code="U13", where=path) from None


def mend(path: Path) -> None:
    """Cut off a last line that has no end: the process that wrote it was killed."""
    if not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rpartition(b"\n")
        file.truncate(len(whole[0]) + len(whole[1]))
