"""Reading files that nobody vouches for: regular files only, bounded, hashed as read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from convscope.errors import DataError
from convscope.files import Kind, read_bytes

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
        code: Catalogue row for a file that is too large.
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
