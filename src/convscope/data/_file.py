"""Read data files: size limits, gzip, memory."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

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
            raise _damaged(where, f"{extra:,} bytes after the end of the gzip data")
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
                raise _damaged(where, f"gzip data are damaged ({error})") from None
            if at_end and not piece and not machine.eof:
                raise _damaged(where, "gzip data are cut off")
            pending = machine.unconsumed_tail
            if produced == limit and piece:
                return b"".join(out), False
            out.append(piece)
            produced += len(piece)
        position -= len(machine.unused_data)
    return b"".join(out), True


def _damaged(where: Path, what: str) -> DataError:
    return DataError(
        what, code="D13", where=where, expected="complete gzip data", hint="download it again"
    )
