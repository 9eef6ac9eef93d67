"""What can be said about an image file without decoding it: format, completeness, size, frames.

Decoders forgive much: a JPEG without its end or a PNG without its last chunk may open. Here the
file is walked from its first to its last byte, so that a cut file is always called a cut file, and
its declared size is known before a decoder takes memory for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from convscope.data._file import sniff
from convscope.errors import ImageError

SIGNATURES = {
    "PNG": b"\x89PNG\r\n\x1a\n",
    "JPEG": b"\xff\xd8\xff",
    "GIF": b"GIF8",
    "BMP": b"BM",
    "WEBP": b"RIFF",
}
PNG_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
JPEG_DROPPED = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # all application data but JFIF's and Adobe's


@dataclass(frozen=True)
class Structure:
    """A complete image file.

    Args:
        format: ``"PNG"``, ``"JPEG"``, ``"GIF"``, ``"BMP"`` or ``"WEBP"``.
        data: What to decode: the file; for PNG and JPEG without texts, profiles, camera data and
            further frames.
        size: Width and height that the header declares; (0, 0) if it could not be found.
        orientation: EXIF orientation 1 to 8; 0 if there is one that cannot be read.
        animated: Whether there is more than one frame.
        dropped: What was left out, in words.
    """

    format: str
    data: bytes
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    animated: bool = False
    dropped: tuple[str, ...] = ()


def inspect_image(data: bytes, *, where: object) -> Structure:
    """Format of an image file, after its structure has been walked to the end.

    Args:
        data: The whole file.
        where: For the error texts.

    Returns:
        What to give to the decoder.

    Raises:
        ImageError: ``I01`` empty, ``I05`` cut off, ``I07`` not one of the five formats.

    Example:
        >>> inspect_image(b"<html>", where="photo.png")
        Traceback (most recent call last):
        convscope.errors.ImageError: photo.png: not an image; it looks like an HTML page ...
          expected: PNG, JPEG, GIF, BMP or WebP
    """
    if not data:
        raise ImageError("file is empty", code="I01", where=where)
    kind = next((name for name, start in SIGNATURES.items() if data.startswith(start)), "")
    if kind == "WEBP" and len(data) >= 12 and data[8:12] != b"WEBP":
        kind = ""
    if not kind:
        if any(start.startswith(data) for start in SIGNATURES.values()):
            raise _cut(where)
        kind = sniff(data)
        raise ImageError(
            "not an image" + (f"; it looks like {kind}" if kind else ""),
            code="I07",
            where=where,
            expected="PNG, JPEG, GIF, BMP or WebP",
        )
    try:
        return WALKS[kind](data)
    except (EOFError, IndexError, struct.error):
        raise _cut(where) from None


def _bmp(data: bytes) -> Structure:
    if struct.unpack_from("<I", data, 2)[0] > len(data):
        raise EOFError
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return Structure("BMP", data, struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return Structure("BMP", data, (abs(width), abs(height)))


def _webp(data: bytes) -> Structure:
    """Walk the chunks of the container, if it is of the kind that has several."""
    end = struct.unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise EOFError
    size = _webp_size(data)
    if data[12:16] != b"VP8X":
        return Structure("WEBP", data, size)
    orientation = 1
    position = 12
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            orientation = read_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return Structure("WEBP", data, size, orientation, animated=bool(data[20] & 2))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height, which each of the three kinds of WebP writes elsewhere."""
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _png(data: bytes) -> Structure:
    """Walk the chunks; keep those that make the picture."""
    kept = [SIGNATURES["PNG"]]
    dropped = set()
    animated = False
    orientation = 1
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise EOFError
        if kind in PNG_KEPT:
            kept.append(data[position:end])
        elif kind == b"eXIf":
            orientation = read_orientation(data[position + 8 : end - 4])
        elif kind == b"acTL":
            animated = True
        elif kind in (b"iCCP", b"gAMA", b"cHRM"):
            dropped.add("color profile")
        position = end
        if kind == b"IEND":
            size = struct.unpack_from(">II", data, 16)
            parts = b"".join(kept)
            return Structure("PNG", parts, size, orientation, animated, tuple(sorted(dropped)))


def _jpeg(data: bytes) -> Structure:
    """Walk the segments up to the first scan, then look for the end marker behind it."""
    kept = [data[:2]]
    size, orientation = (0, 0), 1
    dropped: tuple[str, ...] = ()
    position = 2
    while True:
        while data[position] == 0xFF and data[position + 1] == 0xFF:
            position += 1
        marker = data[position + 1]
        if data[position] != 0xFF or marker == 0xD9:
            return Structure("JPEG", data, size)  # the decoder will say what is wrong
        (length,) = struct.unpack_from(">H", data, position + 2)
        body, end = position + 4, position + 2 + length
        if end > len(data):
            raise EOFError
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, body + 1)
            size = (max(size[0], width), max(size[1], height))
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            orientation = read_orientation(data[body:end])
        elif marker == 0xE2 and data[body : body + 4] == b"ICC_":
            dropped = ("color profile",)
        if marker not in JPEG_DROPPED:
            kept.append(data[position:end])
        position = end
        if marker == 0xDA:
            if data.rfind(b"\xff\xd9", position) < 0:
                raise EOFError
            kept.append(data[position:])
            return Structure("JPEG", b"".join(kept), size, orientation, dropped=dropped)


def _gif(data: bytes) -> Structure:
    """Walk the blocks up to the trailer and count the frames."""

    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def after_blocks(position: int) -> int:
        while data[position]:
            position += data[position] + 1
        return position + 1

    size = struct.unpack_from("<HH", data, 6)
    position = 13 + table(data[10])
    frames = 0
    while data[position] in (0x2C, 0x21):
        if data[position] == 0x2C:
            frames += 1
            position = after_blocks(position + 11 + table(data[position + 9]))
        else:
            position = after_blocks(position + 2)
    return Structure("GIF", data, size, animated=frames > 1)


WALKS = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "BMP": _bmp, "WEBP": _webp}


def _cut(where: object) -> ImageError:
    return ImageError("image file is cut off", code="I05", where=where, hint="copy it again")


ORIENTATION = 0x0112
UNREADABLE = 0


def read_orientation(exif: bytes) -> int:
    r"""Orientation 1 to 8 from an EXIF block; 1 if it names none, 0 if the block makes no sense.

    Example:
        >>> block = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
        >>> read_orientation(b"Exif\0\0" + block), read_orientation(b"II*")
        (6, 0)
    """
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        if order is None or struct.unpack_from(f"{order}H", data, 2)[0] != 42:
            return UNREADABLE
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, entry)
            if tag == ORIENTATION:
                return value if kind == 3 and 1 <= value <= 8 else UNREADABLE
    except struct.error:
        return UNREADABLE
    return 1
