"""Inflating gzip data up to a known size and not one byte further."""

import zlib
from pathlib import Path

from convscope.data._file import sniff
from convscope.errors import DataError

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
