"""Read data files in bounded memory: whole files, gzip, and members of a tar archive.

Nothing is ever unpacked to disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from convscope.errors import DataError, ResourceError
from convscope.files import Kind, read_bytes

MOST_OF_FREE = 0.8


def free_memory() -> int | None:
    """Bytes that this machine can give without swapping; None where nobody tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def check_memory(needed: int, what: str, *, where: object = "") -> None:
    """Refuse work that needs more than most of the free memory.

    Args:
        needed: Bytes.
        what: What needs them.
        where: For the error text.

    Raises:
        ResourceError: With both sizes.
    """
    free = free_memory()
    if free is not None and needed > MOST_OF_FREE * free:
        raise ResourceError(
            f"{what} need {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free",
            where=where,
            hint="use fewer or smaller images",
        )


SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"PK\x03\x04", "a zip archive (or .npz, .docx, .pt)"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run: git lfs pull)"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "an EPS document"),
    (b"8BPS", "a Photoshop document"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
)


@dataclass(frozen=True)
class FileBytes:
    """What was read from one file.

    Args:
        path: Where.
        data: The bytes.
        sha256: Hash of exactly these bytes, whatever happens to the file later.
    """

    path: Path
    data: bytes
    sha256: str


def read_file(path: Path, *, limit: int, code: str, kind: type[DataError] = DataError) -> FileBytes:
    """The whole content of a regular file of at most `limit` bytes.

    Devices, pipes, sockets and folders are refused before they are opened, so nothing hangs.

    Args:
        path: File to read.
        limit: Largest size in bytes.
        code: Code of the error for a file that is too large.
        kind: The error to raise.

    Returns:
        The bytes and their SHA-256.

    Raises:
        DataError: Missing, not a regular file, or larger than `limit`; of the given kind.
        ResourceError: No permission, or the disk fails.
    """
    data = read_bytes(path, Kind(what="a file", largest=limit, error=kind, damaged=code))
    return FileBytes(path, data, hashlib.sha256(data).hexdigest())


def sniff(data: bytes) -> str:
    """What a file looks like from its first bytes, as a phrase; empty when unknown.

    Example:
        >>> sniff(bytes.fromhex("1f8b0800"))
        'a gzip file'
        >>> sniff(b"  <!DOCTYPE html><title>404</title>")
        'an HTML page (a failed download?)'
    """
    for signature, kind in SIGNATURES:
        if data.startswith(signature):
            return kind
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page (a failed download?)"
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith(b"<?xml"):
        return "an XML document"
    if start.startswith(b"%!ps") or start.startswith(b"%pdf"):
        return "a PostScript or PDF document"
    return ""


MOST_MEMBERS = 16
CHUNK = 1 << 18


def inflate(data: bytes, *, limit: int, where: Path) -> tuple[bytes, bool]:
    """The first `limit` bytes of a gzip file, and whether that was all of it.

    Memory stays below `limit` plus one chunk whatever the file declares. When the end of the
    stream is reached, its CRC and length have been checked.

    Args:
        data: The compressed file, one to sixteen members.
        limit: Most bytes to produce.
        where: For the error texts.

    Returns:
        At most `limit` bytes; True if the stream ended there.

    Raises:
        DataError: ``D13``: not gzip, damaged, cut, or followed by something else.

    Example:
        >>> import gzip
        >>> inflate(gzip.compress(b"abcdef"), limit=4, where=Path("x.gz"))
        (b'abcd', False)
        >>> inflate(gzip.compress(b"abcdef"), limit=9, where=Path("x.gz"))
        (b'abcdef', True)
    """
    if not data.startswith(b"\x1f\x8b"):
        kind = sniff(data)
        raise DataError(
            "named .gz but not gzip data" + (f"; it looks like {kind}" if kind else ""),
            code="D13",
            where=where,
            expected="a gzip file",
            hint="remove the .gz from its name if it is not compressed",
        )
    out: list[bytes] = []
    produced, position, members = 0, 0, 0
    while position < len(data):
        members += 1
        if members > MOST_MEMBERS or data[position : position + 2] != b"\x1f\x8b":
            extra = len(data) - position
            raise _damaged_gzip(where, f"{extra:,} bytes after the end of the gzip data")
        machine = zlib.decompressobj(31)
        pending = b""
        while not machine.eof:
            if not pending:
                pending = data[position : position + CHUNK]
                position += len(pending)
            at_end = not pending
            try:
                piece = machine.decompress(pending, max(1, limit - produced))
            except zlib.error as error:
                raise _damaged_gzip(where, f"gzip data are damaged ({error})") from None
            if at_end and not piece and not machine.eof:
                raise _damaged_gzip(where, "gzip data are cut off")
            pending = machine.unconsumed_tail
            if produced == limit and piece:
                return b"".join(out), False
            out.append(piece)
            produced += len(piece)
        position -= len(machine.unused_data)
    return b"".join(out), True


def _damaged_gzip(where: Path, what: str) -> DataError:
    return DataError(
        what, code="D13", where=where, expected="complete gzip data", hint="download it again"
    )


MOST_ENTRIES = 10_000
MOST_UNPACKED = 1 << 29
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
    members: dict[str, bytes] = {}
    try:
        bounded: Any = _Bounded(stream, where, max(largest, LARGEST_READ))
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            for count, entry in enumerate(tar):
                if count >= MOST_ENTRIES:
                    raise hostile_archive(f"archive has more than {MOST_ENTRIES:,} entries", where)
                check_entry(entry, where)
                name = PurePosixPath(entry.name).name
                if not entry.isfile() or name not in wanted:
                    continue
                if entry.size > largest:
                    raise hostile_archive(f"{entry.name} declares {entry.size:,} bytes", where)
                if name in members:
                    raise hostile_archive(f"archive has {name} twice", where)
                file = tar.extractfile(entry)
                members[name] = file.read() if file else b""
                if len(members[name]) != entry.size:
                    raise EOFError("cut off")
        while bounded.read(1 << 16):  # to the end, so that gzip compares its checksum
            pass
    except DataError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError) as error:
        raise DataError(
            f"archive is damaged ({error})", code="D13", where=where, hint="download it again"
        ) from None
    return members


def check_entry(entry: tarfile.TarInfo, where: Path) -> None:
    """Refuse what an honest data set never holds.

    Raises:
        DataError: D20.
    """
    path = PurePosixPath(entry.name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.as_posix()[1:2] == ":":
        raise hostile_archive(f"archive holds {entry.name!r}, which leads outside", where)
    if not (entry.isfile() or entry.isdir()) or entry.issparse():
        kind = "a link" if entry.islnk() or entry.issym() else "a special file"
        raise hostile_archive(f"archive holds {entry.name!r}, which is {kind}", where)
    if entry.size < 0 or entry.size > MOST_UNPACKED:
        raise hostile_archive(f"{entry.name!r} declares {entry.size:,} bytes", where)


def hostile_archive(what: str, where: Path) -> DataError:
    """The error for an archive that is not what a data set is served as."""
    return DataError(
        what,
        code="D20",
        where=where,
        expected="an archive of plain files",
        hint="nothing was unpacked; get the archive from the data set's official page",
    )


class _Bounded:
    """A stream that gives no more than `MOST_UNPACKED` in all and `largest` at once."""

    def __init__(self, stream: IO[bytes], where: Path, largest: int) -> None:
        self.stream = stream
        self.where = where
        self.largest = largest

    def read(self, size: int = -1) -> bytes:
        """Read, or refuse what an honest archive never asks for."""
        if size < 0 or size > self.largest:
            raise hostile_archive(f"archive asks for {size:,} bytes at once", self.where)
        data = self.stream.read(size)
        if self.stream.tell() > MOST_UNPACKED:
            raise hostile_archive(
                f"archive inflates to more than {MOST_UNPACKED:,} bytes", self.where
            )
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Go on; inflating what lies between is bounded too."""
        if whence != 0 or position > MOST_UNPACKED:
            raise hostile_archive("archive leads beyond its end", self.where)
        return self.stream.seek(position)

    def tell(self) -> int:
        """Position in the unpacked archive."""
        return self.stream.tell()
