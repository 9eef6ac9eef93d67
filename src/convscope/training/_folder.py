"""The run folder: where a run keeps everything, checked before any work is done."""

import os
import shutil
from pathlib import Path

from convscope.errors import CheckpointError, ResourceError, UsageError
from convscope.training._checkpoints import disk_errors, write_atomically
from convscope.training._lock import NAME as LOCK
from convscope.training._settings import TrainSettings
from convscope.training._toml import read_settings, settings_to_toml

CONFIG = "config.toml"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"


def check_run_folder(folder: Path, *, resume: bool = False) -> None:
    """Make the folder, and find out now whether a run can be kept in it.

    Call it before data is loaded, so that nobody waits for a refusal.

    Args:
        folder: Where the run shall live.
        resume: Whether a run that is already there shall go on.

    Raises:
        UsageError: U13, the folder holds something and `resume` is false, or something else than
            a run.
        ResourceError: T11, it cannot be written: read-only, no permission, a file in its place.
    """
    if folder.is_dir():
        inside = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != LOCK]
        if inside and not (folder / CONFIG).is_file():
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
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".tmp-probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
    except ResourceError as error:
        error.code = "T11"
        error.hint = "choose a folder that you may write to with --out"
        raise


def settle_config(folder: Path, settings: TrainSettings) -> None:
    """Write ``config.toml``, or compare with the one that is there.

    Raises:
        CheckpointError: C16, the run in the folder has other settings; the text lists them.
    """
    path = folder / CONFIG
    if not path.is_file():
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
