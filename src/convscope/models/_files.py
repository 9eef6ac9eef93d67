"""Reading a weight file at most once, and writing one so that it is whole or not there."""

import os
import stat
from pathlib import Path

from convscope.errors import CheckpointError, ResourceError

_STARTS = (
    (b"version https://git-lfs", "a git-LFS pointer, not the weights it stands for"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML page"),
    (b"{", "a JSON text"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89png", "a PNG image"),
    (b"\x89hdf", "an HDF5 file"),
)


def read_whole(path: Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        CheckpointError: There is no such file, or it is a folder, a pipe or a device.
        ResourceError: It may not be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError("not a regular file", code="C18", where=path)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError("no such file", code="C07", where=path) from error
    except OSError as error:
        raise ResourceError(f"cannot be read: {error.strerror}", code="C18", where=path) from error


def refuse_impostors(data: bytes, path: Path) -> None:
    """Name files that are something else altogether.

    Raises:
        CheckpointError: C07 for an empty file, C18 for a git-LFS pointer, a web page and the like.
    """
    if not data:
        raise CheckpointError("file is empty", code="C07", where=path, hint="copy it again")
    start = data[:64].lstrip().lower()
    for magic, what in _STARTS:
        if start.startswith(magic):
            hint = "run `git lfs pull`" if b"git-lfs" in magic else "download the file itself"
            raise CheckpointError(f"this is {what}", code="C18", where=path, hint=hint)


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` under `path` and wait until the disk has it.

    Raises:
        ResourceError: Disk full, no permission; what was half written is removed.
    """
    try:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ResourceError(f"cannot be written: {error.strerror}", where=path) from error


def replace_durably(source: Path, target: Path) -> None:
    """Rename `source` to `target` in one step, over what was there.

    Raises:
        ResourceError: The folder does not allow it.
    """
    try:
        source.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ResourceError(f"cannot be replaced: {error.strerror}", where=target) from error
