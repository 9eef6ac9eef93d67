"""The run folder: where a run keeps everything, checked before any work is done."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convscope.errors import CheckpointError, ResourceError, UsageError
from convscope.files import checked_path
from convscope.training._checkpoints import disk_errors, write_atomically
from convscope.training._lock import NAME as LOCK
from convscope.training._settings import TrainSettings
from convscope.training._toml import read_settings, settings_to_toml

CONFIG = "config.toml"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"


def check_run_folder(folder: Path, *, resume: bool = False) -> None:
    """Find out now whether a run can be kept in this folder.

    Call it before data is loaded, so that nobody waits for a refusal. It leaves nothing behind.

    Args:
        folder: Where the run shall live.
        resume: Whether a run that is already there shall go on.

    Raises:
        UsageError: U13, the folder holds something and `resume` is false, or something else than
            a run.
        ResourceError: T11, it cannot be written: read-only, no permission, a file in its place.
    """
    checked_path(folder)
    if folder.is_dir():
        inside = contents(folder)
        if inside and not (folder / CONFIG).exists():
            raise UsageError(
                f"holds {inside[0]!r} and is no run folder",
                code="U13",
                where=folder,
                hint="choose a new folder with --out",
            )
        if inside and not resume:
            raise UsageError(
                "there is a run in this folder",
                code="U13",
                where=folder,
                hint="--resume goes on with it; --out names another folder",
            )
    try:
        with made(folder), disk_errors(folder):
            probe = folder / f".tmp-probe-{os.getpid()}"
            try:
                probe.write_bytes(bytes(4096))
            finally:
                probe.unlink(missing_ok=True)
            raise _Checked
    except _Checked:
        pass
    except ResourceError as error:
        error.code = "T11"
        error.hint = "choose a folder that you may write to with --out, or free some space"
        raise


class _Checked(Exception):
    """The folder can be made; undo it."""


def contents(folder: Path) -> list[str]:
    """What a folder holds, temporary files and the lock left out."""
    return [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != LOCK]


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make `folder`; when the block fails and left it empty, remove it and what was made above it.

    Raises:
        ResourceError: It cannot be made.
    """
    fresh = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in fresh:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def begun(folder: Path) -> Iterator[None]:
    """Hold a run folder; when the disk is full before anything worth keeping is in it, empty it.

    Raises:
        ResourceError: From the block.
    """
    new = not contents(folder)
    try:
        yield
    except ResourceError:
        if new and not any((folder / CHECKPOINTS).glob("step-*")):
            for name in (CONFIG, METRICS, "env.json"):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        raise


def settle_config(folder: Path, settings: TrainSettings) -> None:
    """Write ``config.toml``, or compare with the one that is there.

    Raises:
        CheckpointError: C16, the run in the folder has other settings; the text lists them.
    """
    path = folder / CONFIG
    if not path.exists():
        write_atomically(path, settings_to_toml(settings).encode())
        return
    before = settings_to_toml(read_settings(path)).splitlines()
    now = settings_to_toml(settings).splitlines()
    if before != now:
        changed = [
            f"{a} -> {b.partition('= ')[2]}" for a, b in zip(before, now, strict=True) if a != b
        ]
        raise CheckpointError(
            f"this run has other settings: {'; '.join(changed[:4])}",
            code="C16",
            where=path,
            hint="resume without changing settings, or train into another folder",
        )


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left. Call it with the folder locked."""
    for stale in folder.glob(".tmp-*"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)
