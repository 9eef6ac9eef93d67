"""One journal, several processes: with locks of the kernel, without, and where none works."""

import errno
import os
import time
import warnings
from dataclasses import replace

import pytest

from convscope.errors import ResourceError, UsageError
from convscope.training import _search_lock, search
from convscope.training._search_lock import exclusive_files, journal_lock, kernel_locks

fcntl = pytest.importorskip("fcntl")
pytest.importorskip("optuna")

SPACE = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
TURNS = 15


def refused(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def answered(*_):
    """As some file systems do: yes, and nothing is locked."""


def without_exclusive(monkeypatch):
    opened = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *a, **k: opened(path, flags & ~os.O_EXCL, *a, **k)
    )


def children(*works):
    """Run each in a process of its own; their exit codes."""
    numbers = []
    for work in works:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            number = os.fork()
        if number == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        numbers.append(number)
    return [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers]


@pytest.mark.parametrize(
    ("flock", "kind"), [(fcntl.flock, "kernel"), (refused, "exclusive"), (answered, "exclusive")]
)
def test_processes_write_one_after_the_other(monkeypatch, tmp_path, flock, kind):
    monkeypatch.setattr(fcntl, "flock", flock)
    journal, counter = tmp_path / "s.journal", tmp_path / "counter"
    counter.write_text("0")

    def count():
        lock = journal_lock(journal)
        for _ in range(TURNS):
            lock.acquire()
            number = int(counter.read_text())
            time.sleep(0.002)
            counter.write_text(f"{number + 1}")
            lock.release()

    assert children(count, count) == [0, 0]
    assert counter.read_text() == str(2 * TURNS)
    assert (tmp_path / "s.journal.locking").read_text() == f"{kind}\n"


@pytest.mark.parametrize("flock", [refused, answered])
def test_a_search_of_two_processes_without_locks_of_the_kernel(
    monkeypatch, tmp_path, dataset, settings, flock
):

    monkeypatch.setattr(fcntl, "flock", flock)
    settings = replace(settings, model="mnist-conv1", evals_per_epoch=1, epochs=1)

    def go():
        return search(settings, dataset, space=SPACE, storage=tmp_path / "s", trials=6)

    assert children(go, go) == [0, 0]
    found = go()
    assert [trial.number for trial in found.trials] == list(range(6))
    assert {trial.state for trial in found.trials} <= {"complete", "pruned"}


def test_the_lock_of_a_killed_process_is_taken_over(monkeypatch, tmp_path):
    monkeypatch.setattr(fcntl, "flock", refused)
    lock = journal_lock(tmp_path / "s.journal")
    monkeypatch.setattr(lock._lock, "grace_period", 0.2)
    assert children(lock.acquire) == [0]
    began = time.monotonic()
    lock.acquire()
    assert time.monotonic() - began > 0.2
    lock.release()
    lock.release()  # Others took this process for dead, and removed its lock.


@pytest.mark.parametrize("flock", [refused, answered])
def test_where_no_lock_works_the_search_is_refused(monkeypatch, tmp_path, dataset, settings, flock):
    monkeypatch.setattr(fcntl, "flock", flock)
    without_exclusive(monkeypatch)
    with pytest.raises(ResourceError, match="cannot keep two processes from writing") as caught:
        search(settings, dataset, space=SPACE, storage=tmp_path / "s", trials=2)
    assert caught.value.code == "T22" and "postgresql://" in caught.value.expected
    assert not (tmp_path / "s").exists()


def test_all_processes_lock_in_the_way_of_the_first(monkeypatch, tmp_path):
    """Two kinds of lock keep nobody out."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(fcntl, "flock", refused)
        first = journal_lock(tmp_path / "a")
    assert type(journal_lock(tmp_path / "a")) is type(first)
    journal_lock(tmp_path / "b")
    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(ResourceError, match="other processes lock this journal by 'kernel'") as e:
        journal_lock(tmp_path / "b")
    assert e.value.code == "T22"
    (tmp_path / "c.locking").write_bytes(bytes(range(256)) * 1000)
    with pytest.raises(ResourceError, match="other processes lock this journal by"):
        journal_lock(tmp_path / "c")
    (tmp_path / "d.locking").mkdir()
    with pytest.raises(UsageError, match="not a regular file"):
        journal_lock(tmp_path / "d")


def test_locks_are_tried_and_leave_no_files(monkeypatch, tmp_path):
    note = tmp_path / "note"
    assert kernel_locks(note) and exclusive_files(note)
    with note.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert kernel_locks(note)
    without_exclusive(monkeypatch)
    assert not exclusive_files(note)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert list(_search_lock._KINDS) == ["kernel", "exclusive"]
