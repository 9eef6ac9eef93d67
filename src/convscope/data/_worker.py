"""A process that decodes image files for another one: bytes in, pixels out, over two pipes.

It opens no file and needs no torch, so it is small: who asks sends the bytes of a file and what is
wanted of them, and gets pixels, or the error. When the asking process ends, however it ends, the
pipe ends, and so does this process.

A message is the length of a JSON text (4 bytes, little-endian), the text, and the bytes that it
announces.
"""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

from convscope.data._image import decoded_array
from convscope.errors import ConvscopeError
from convscope.resizing import Resize

LARGEST_TEXT = 1 << 20
"""Bytes of the text of a message: names of files are short."""


class Ended(Exception):
    """The other side of a pipe is gone."""


def send(pipe: BinaryIO, text: dict[str, Any], data: bytes | memoryview = b"") -> None:
    """Write a message; `text` has to announce the length of `data`."""
    head = json.dumps(text).encode("ascii")
    pipe.write(len(head).to_bytes(4, "little") + head)
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> dict[str, Any]:
    """The text of the next message.

    Raises:
        Ended: There is none, or it is cut off.
    """
    size = int.from_bytes(exactly(pipe, 4), "little")
    if size > LARGEST_TEXT:
        raise Ended
    found = json.loads(exactly(pipe, size))
    assert isinstance(found, dict)
    return found


def exactly(pipe: BinaryIO, size: int) -> bytearray:
    """The next `size` bytes.

    Raises:
        Ended: There are fewer.
    """
    data = bytearray(size)
    fill(pipe, memoryview(data))
    return data


def fill(pipe: BinaryIO, room: memoryview) -> None:
    """Read as many bytes as `room` has.

    Raises:
        Ended: There are fewer.
    """
    done = 0
    while done < len(room):
        count = pipe.readinto(room[done:])  # type: ignore[attr-defined]
        if not count:
            raise Ended
        done += count


def resize_from(table: dict[str, Any] | None) -> Resize | None:
    """A rule that went through JSON, where pairs become lists."""
    if table is None:
        return None
    pairs = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    return Resize(**{**table, **pairs})


def answer(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes | memoryview]:
    """Pixels of an image file and what was done to them, or why there are none."""
    channels, height, width = request["shape"]
    try:
        pixels, notes = decoded_array(
            data,
            request["where"],
            ending=request["ending"],
            channels=channels,
            size=(height, width),
            resize=resize_from(request["resize"]),
        )
    except ConvscopeError as error:
        fields = ("what", "code", "where", "expected", "hint")
        return {
            "error": {name: getattr(error, name) for name in fields},
            "kind": type(error).__name__,
        }, b""
    return {"notes": notes}, pixels.reshape(-1).data


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the other side closes the pipe."""
    while True:
        try:
            request = receive(requests)
            data = bytes(exactly(requests, request["size"]))
        except Ended:
            return
        text, pixels = answer(request, data)
        try:
            send(answers, text, pixels)
        except BrokenPipeError:
            return


def main() -> None:
    """Serve the process that started this one."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints is no answer
    serve(sys.stdin.buffer, answers)
