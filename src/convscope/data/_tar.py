"""Reading single files out of a tar archive into memory; nothing is ever written to disk."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, Any

from convscope.errors import DataError

MOST_ENTRIES = 10_000
MOST_BYTES = 1 << 29
LARGEST_READ = 1 << 26


def read_members(
    archive: bytes, wanted: Collection[str], *, where: Path, largest: int = LARGEST_READ
) -> dict[str, bytes]:
    """The wanted files of a ``.tar`` or ``.tar.gz``.

    Every entry is looked at: an archive that has one leading outside, a link, or a device is not a
    data set and is refused whole. Sizes are bounded before bytes are inflated.

    Args:
        archive: The archive.
        wanted: Base names of the files to read.
        where: For the error texts.
        largest: Most bytes that one wanted file may have.

    Returns:
        Bytes by base name, for those that are there.

    Raises:
        DataError: ``D20`` for a hostile archive, ``D13`` for a damaged one.

    Example:
        >>> buffer = io.BytesIO()
        >>> with tarfile.open(fileobj=buffer, mode="w") as tar:
        ...     entry = tarfile.TarInfo("set/a.bin")
        ...     entry.size = 3
        ...     tar.addfile(entry, io.BytesIO(b"abc"))
        >>> read_members(buffer.getvalue(), {"a.bin"}, where=Path("set.tar"))
        {'a.bin': b'abc'}
    """
    stream: Any = io.BytesIO(archive)
    if archive.startswith(b"\x1f\x8b"):
        stream = gzip.GzipFile(fileobj=stream)
    found: dict[str, bytes] = {}
    try:
        bounded: Any = _Bounded(stream, where, max(largest, LARGEST_READ))
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for count, entry in enumerate(tar):
                if count >= MOST_ENTRIES:
                    raise _hostile(f"archive has more than {MOST_ENTRIES:,} entries", where)
                _check(entry, where)
                name = PurePosixPath(entry.name).name
                if not entry.isfile() or name not in wanted:
                    continue
                if entry.size > largest:
                    raise _hostile(f"{entry.name} declares {entry.size:,} bytes", where)
                if name in found:
                    raise _hostile(f"archive has {name} twice", where)
                file = tar.extractfile(entry)
                found[name] = file.read() if file else b""
                if len(found[name]) != entry.size:
                    raise EOFError("cut off")
        while bounded.read(1 << 16):  # to the end, so that gzip compares its checksum
            pass
    except DataError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(
            f"archive is damaged ({error})", code="D13", where=where, hint="download it again"
        ) from None
    return found


def _check(entry: tarfile.TarInfo, where: Path) -> None:
    """Refuse what an honest data set never holds."""
    path = PurePosixPath(entry.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
        raise _hostile(f"archive holds {entry.name!r}, which leads outside", where)
    if not (entry.isfile() or entry.isdir()) or entry.issparse():
        kind = "a link" if entry.islnk() or entry.issym() else "a special file"
        raise _hostile(f"archive holds {entry.name!r}, which is {kind}", where)
    if entry.size < 0 or entry.size > MOST_BYTES:
        raise _hostile(f"{entry.name!r} declares {entry.size:,} bytes", where)


def _hostile(what: str, where: Path) -> DataError:
    return DataError(
        what,
        code="D20",
        where=where,
        expected="an archive of plain files",
        hint="nothing was unpacked; get the archive from the data set's official page",
    )


class _Bounded:
    """A stream that gives no more than `MOST_BYTES` in all and `largest` at once."""

    def __init__(self, stream: IO[bytes], where: Path, largest: int) -> None:
        self.stream = stream
        self.where = where
        self.largest = largest

    def read(self, size: int = -1) -> bytes:
        """Read, or refuse what an honest archive never asks for."""
        if size < 0 or size > self.largest:
            raise _hostile(f"archive asks for {size:,} bytes at once", self.where)
        data = self.stream.read(size)
        if self.stream.tell() > MOST_BYTES:
            raise _hostile(f"archive inflates to more than {MOST_BYTES:,} bytes", self.where)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Go on; inflating what lies between is bounded too."""
        if whence != 0 or position > MOST_BYTES:
            raise _hostile("archive leads beyond its end", self.where)
        return self.stream.seek(position)

    def tell(self) -> int:
        """Position in the unpacked archive."""
        return self.stream.tell()
