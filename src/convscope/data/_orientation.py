"""How a camera was held: the one number of an EXIF block that matters here.

Source: EXIF 2.3, tag 0x0112. Read here rather than by Pillow, which looks at the whole block and
warns about whatever else is wrong with it.
"""

import struct

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
