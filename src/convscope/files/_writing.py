"""Writing so that it is whole or not there, and so that a full disk is one clear error."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convscope.errors import ResourceError, UsageError
from convscope.files._door import checked_path

HINT = "free space or permissions, and try again"


@contextmanager
def disk_errors(
    where: Path | str, *, cleanup: Path | None = None, hint: str = HINT
) -> Iterator[None]:
    """Turn what the disk says no to into a `ResourceError`, and remove the half-written `cleanup`.

    Args:
        where: What was to be written; the error names it.
        cleanup: A file or folder to remove when the block fails, however it fails.
        hint: What to do.

    Raises:
        ResourceError: Disk full, read-only, no permission, a file where a folder should be.
    """
    try:
        yield
    except OSError as error:
        _remove(cleanup)
        raise ResourceError(
            f"cannot write: {error.strerror or error}", code="T04", where=where, hint=hint
        ) from error
    except BaseException:
        _remove(cleanup)
        raise


@contextmanager
def whole_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """A folder to write into that gets its name when the block is through.

    When the block fails, nothing is left: neither the draft nor folders made on the way to it.

    Args:
        folder: Where to; new or empty unless `force`.
        force: Files may replace those that are there; others stay.

    Yields:
        A draft in the same place.

    Raises:
        ResourceError: The disk says no.
    """
    parents = missing_parents(folder)
    with disk_errors(folder), _undone(parents):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
        try:
            yield draft
            draft.chmod(0o755)
            if folder.is_dir() and force:
                _merge(draft, folder)
            else:
                if folder.is_dir():
                    folder.rmdir()
                draft.replace(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` under `path` and wait until the disk has it.

    Raises:
        ResourceError: Disk full, no permission; what was half written is removed.
    """
    with disk_errors(path, cleanup=path), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: a reader sees the old bytes or the new ones, never a mixture.

    Raises:
        UsageError: U13, there is a folder, a pipe or a device of this name.
        ResourceError: The disk says no; the old file is untouched.
    """
    parents = missing_parents(path)
    if path.exists() and not path.is_file():
        raise UsageError("not a regular file: it would be replaced", code="U13", where=path)
    with disk_errors(path), _undone(parents):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def missing_parents(path: Path) -> list[Path]:
    """The folders above `path` that are not there yet, innermost first."""
    checked_path(path)
    return [parent for parent in path.parents if not parent.exists()]


@contextmanager
def _undone(parents: list[Path]) -> Iterator[None]:
    """Remove the empty folders of `made` when the block fails."""
    try:
        yield
    except BaseException:
        for folder in parents:
            with suppress(OSError):
                folder.rmdir()
        raise


def _merge(draft: Path, folder: Path) -> None:
    for fresh in sorted(draft.iterdir(), key=lambda path: not path.is_dir()):
        old = folder / fresh.name
        if fresh.is_dir() and old.is_dir():
            _merge(fresh, old)
        else:
            fresh.replace(old)


def _remove(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
