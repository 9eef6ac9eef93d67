"""Opening a file that nobody vouches for: regular files only, bounded, one family of errors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from convscope.errors import (
    CheckpointError,
    ConvscopeError,
    DataError,
    ResourceError,
    UsageError,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file: how large and how deep it may be, and which error its faults are.

    Attributes:
        what: How error texts call it.
        largest: Bytes.
        error: Raised when the file is missing, damaged, too large or no regular file.
        missing: Code of the error for a file that is not there.
        damaged: Code of the error for a file that cannot be understood.
        special: Code of the error for folders, pipes, devices and sockets.
        deepest: Levels of nesting (JSON, TOML, XML).
        not_finite: Whether JSON may hold NaN and Infinity.
        hint: What to do about a damaged one.
    """

    what: str
    largest: int
    error: type[ConvscopeError] = DataError
    missing: str = "U02"
    damaged: str = ""
    special: str = "I22"
    deepest: int = 64
    not_finite: bool = False
    hint: str = ""


MB = 1 << 20
_RUN = {"error": CheckpointError, "missing": "C07", "damaged": "C08", "special": "C18"}

SETTINGS = Kind(
    what="settings", largest=MB, error=UsageError, damaged="U11", special="U02", deepest=16
)
ENVIRONMENT = Kind(what="env.json", largest=16 * MB, **_RUN)  # type: ignore[arg-type]
MANIFEST = Kind(what="a manifest", largest=MB, deepest=8, **_RUN)  # type: ignore[arg-type]
STATE = Kind(what="state.json", largest=64 * MB, not_finite=True, **_RUN)  # type: ignore[arg-type]
TENSORS = Kind(what="a file of weights", largest=1 << 36, **_RUN)  # type: ignore[arg-type]
METRICS = Kind(
    what="metrics.csv", largest=64 * MB, hint="restore it, or delete it to go on without curves"
)
MODEL_CONFIG = Kind(
    what="a model's description",
    largest=64 * MB,
    error=CheckpointError,
    missing="C07",
    damaged="C17",
    special="C18",
    not_finite=True,
)
CLASS_NAMES = Kind(what="a list of class names", largest=16 * MB)
REPORT = Kind(what="report.json", largest=64 * MB)
PICTURE = Kind(what="a picture", largest=64 * MB)
DRAWING = Kind(what="an SVG drawing", largest=8_000_000, deepest=100)
RESULT = Kind(what="result.json", largest=256 * MB, deepest=100)
ARRAYS = Kind(what="arrays.npz", largest=1 << 34)

# Without O_NONBLOCK, opening a pipe waits for a writer; O_NOCTTY keeps terminals at bay.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def opened(path: Path | str, kind: Kind) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file, open for reading, and its size in bytes.

    Nothing hangs and nothing is touched that is not a file: the type is looked at before opening
    (a device may act on being opened) and again on what was opened (the name may have been given
    to something else in between). Links are followed, to regular files only.

    Args:
        path: The file.
        kind: Its limits and errors.

    Raises:
        ConvscopeError: Of the kind's class: missing, no regular file, too large, no usable path.
        ResourceError: No permission, or the disk fails.
    """
    with reading(path, kind):
        _refuse_special(os.stat(path).st_mode, path, kind)  # noqa: PTH116 - str or Path
        descriptor = os.open(path, _FLAGS)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no Path
            status = os.fstat(file.fileno())
            _refuse_special(status.st_mode, path, kind)
            if status.st_size > kind.largest:
                raise kind.error(
                    f"file has {status.st_size:,} bytes",
                    code=kind.damaged,
                    where=path,
                    expected=f"{kind.what} of at most {kind.largest:,} bytes",
                )
            yield file, status.st_size


def read_bytes(path: Path | str, kind: Kind) -> bytes:
    """The whole content of a regular file that is no larger than its kind may be.

    Raises:
        ConvscopeError: See `opened`.
        ResourceError: No permission, no memory, or the disk fails.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "classes.txt"
        >>> _ = file.write_text("cat")
        >>> read_bytes(file, CLASS_NAMES)
        b'cat'
    """
    with opened(path, kind) as (file, size):
        try:
            data = file.read(size + 1)
        except MemoryError:
            raise ResourceError(
                f"not enough memory to read {size:,} bytes", code="T16", where=path
            ) from None
    if len(data) > max(size, 0):
        raise kind.error("file grew while it was read", code=kind.damaged, where=path)
    return data


def read_text(path: Path | str, kind: Kind) -> str:
    """The text of a UTF-8 file; a byte order mark is dropped.

    Raises:
        ConvscopeError: See `opened`; also for bytes that are no UTF-8 and for NUL bytes.
    """
    return decoded(read_bytes(path, kind), kind, where=path)


def decoded(data: bytes, kind: Kind, *, where: object) -> str:
    """Bytes as UTF-8 text.

    Raises:
        ConvscopeError: Of the kind's class: no UTF-8, or NUL bytes in it.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind.error(
            f"not UTF-8 text: byte {error.start:,} is {data[error.start]:#04x}",
            code=kind.damaged,
            where=where,
            hint=kind.hint or "save it as UTF-8",
        ) from None
    if "\0" in text:
        raise kind.error("NUL bytes in a text", code=kind.damaged, where=where, hint=kind.hint)
    return text


@contextmanager
def reading(path: Path | str, kind: Kind) -> Iterator[None]:
    """Turn what the system says to reading `path` into one error of the family."""
    try:
        yield
    except ConvscopeError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise kind.error("no such file", code=kind.missing, where=path) from None
    except PermissionError:
        raise ResourceError(
            "no permission to read", code="I23", where=path, hint="check the file's owner and mode"
        ) from None
    except OSError as error:
        if error.errno in _UNUSABLE:
            raise unusable(path, error, kind.error) from None
        raise ResourceError(
            f"cannot be read: {error.strerror or error}", code="D26", where=path
        ) from None
    except ValueError as error:
        if "null" not in str(error) and not isinstance(error, UnicodeError):
            raise
        raise unusable(path, error, kind.error) from None


_UNUSABLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)


def unusable(
    path: object, error: OSError | ValueError | RuntimeError, kind: type[ConvscopeError]
) -> ConvscopeError:
    """The error for a path that no file can have."""
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return kind(f"not a usable path: {reason}", code="U02", where=path)


def usable_path(text: str | Path, error: type[ConvscopeError] = UsageError) -> Path:
    """The path that a user wrote, ``~`` expanded.

    Args:
        text: As it was written.
        error: Raised when no file can have this path.

    Raises:
        ConvscopeError: A name that is too long, a NUL character, links in a circle, the home of an
            unknown user.
        ResourceError: A folder on the way may not be entered.

    Example:
        >>> usable_path("runs/m")
        PosixPath('runs/m')
        >>> usable_path("m" * 300)
        Traceback (most recent call last):
        convscope.errors.UsageError: mmm... not a usable path: File name too long
    """
    try:
        return checked_path(Path(text).expanduser(), error)
    except RuntimeError as fault:
        raise unusable(text, fault, error) from None


def checked_path(text: str | Path, error: type[ConvscopeError] = UsageError) -> Path:
    """The path as it was written, when a file can have it. See `usable_path`."""
    try:
        path = Path(text)
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except PermissionError:
        raise ResourceError("no permission to enter its folder", code="I23", where=text) from None
    except OSError as fault:
        if fault.errno in _UNUSABLE:
            raise unusable(text, fault, error) from None
        raise ResourceError(
            f"cannot be read: {fault.strerror or fault}", code="D26", where=text
        ) from None
    except ValueError as fault:
        raise unusable(text, fault, error) from None
    return path


def of_system(error: OSError) -> ConvscopeError:
    """What the system said, as an error of the family: the last resort of the command line."""
    where = error.filename if error.filename is not None else ""
    reason = error.strerror or str(error)
    usage = (*_UNUSABLE, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
    if error.errno in usage:
        return UsageError(f"not a usable path: {reason}", code="U02", where=where)
    hint = "free some space, or write elsewhere" if error.errno == errno.ENOSPC else ""
    return ResourceError(f"the system says: {reason}", code="T04", where=where, hint=hint)


def _refuse_special(mode: int, path: Path | str, kind: Kind) -> None:
    if stat.S_ISREG(mode):
        return
    kind_of_file = next((name for is_one, name in _SPECIAL if is_one(mode)), "something else")
    raise kind.error(
        f"not a regular file but {kind_of_file}", code=kind.special, where=path, expected=kind.what
    )
