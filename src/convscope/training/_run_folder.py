"""The folder of a run: files, lock, history."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from convscope import files
from convscope.errors import (
    CheckpointError,
    DataError,
    ResourceError,
    UsageError,
)
from convscope.files import checked_path
from convscope.training._checkpoints import disk_errors, write_atomically
from convscope.training._events import Measured
from convscope.training._faults import failpoint
from convscope.training._settings import TrainSettings, read_settings, settings_to_toml

NAME = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[str]:
    """Hold a run folder while the block runs, as `convscope.files.locked` does.

    Args:
        folder: An existing run folder.

    Yields:
        Empty, or a sentence about the dead process whose lock was taken over.

    Raises:
        RunBusyError: T10, another process is at work.
        ResourceError: The disk is full or refuses to write.
    """
    hint = "wait until it ends, stop it, or train into another folder"
    with disk_errors(folder / NAME), files.locked(folder / NAME, hint=hint) as note:
        yield note


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
        with new_folder(folder), disk_errors(folder):
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
    return [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != NAME]


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
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


def write_config(folder: Path, settings: TrainSettings) -> None:
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


def clean_up(folder: Path) -> None:
    """Remove temporary files that a killed process left. Call it with the folder locked."""
    for stale in folder.glob(".tmp-*"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


COLUMNS = tuple(field.name for field in fields(Measured))


def row_text(point: Measured) -> str:
    """One line of ``metrics.csv``: seven digits, no clock time, so equal runs give equal bytes."""
    values = (f"{v:.7g}" if isinstance(v, float) else str(v) for v in astuple(point))
    return ",".join(values) + "\n"


def history_text(points: list[Measured]) -> str:
    """The whole of ``metrics.csv``."""
    return ",".join(COLUMNS) + "\n" + "".join(map(row_text, points))


@failpoint("log.append")
def append(path: Path, point: Measured) -> None:
    """Add one row to the file."""
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(row_text(point))


def read_history(path: Path) -> tuple[Measured, ...]:
    """The rows of a ``metrics.csv``; a last line that was cut off is left out.

    Args:
        path: The file, or the run folder that holds it.

    Raises:
        DataError: It is damaged; the text names the line.
        ResourceError: It may not be read.

    Example:
        >>> read_history(Path("runs/none"))
        ()
    """
    path = files.usable_path(path, DataError)
    path = path / "metrics.csv" if path.is_dir() else path
    if not path.exists():
        return ()
    return parse_history(files.read_text(path, files.METRICS), where=path)


def parse_history(text: str, *, where: object = "") -> tuple[Measured, ...]:
    """The rows of the text of a ``metrics.csv``.

    Raises:
        DataError: A column is missing, or a value is no number; the text names the line.
    """
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    points: list[Measured] = []
    try:
        if whole and (lost := [name for name in COLUMNS if name not in (reader.fieldnames or ())]):
            raise ValueError(f"no column {lost[0]!r}")
        for row in reader:
            points.append(_point(row))
    except (csv.Error, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"line {max(reader.line_num, 1)}: {error}",
            where=where or "metrics.csv",
            expected="a row of numbers for " + ",".join(COLUMNS),
            hint=files.METRICS.hint,
        ) from None
    return tuple(points)


def _point(row: dict[str, str]) -> Measured:
    texts = {name: row.get(name) for name in COLUMNS}
    for name, text in texts.items():
        if text is None or len(text) > 40:
            raise ValueError(f"{name} is {'missing' if text is None else text[:20] + '...'}")
    numbers: dict[str, Any] = {name: float(str(text)) for name, text in texts.items()}
    whole = {name: int(str(texts[name])) for name in ("step", "validation_images")}
    return Measured(**{**numbers, **whole})
