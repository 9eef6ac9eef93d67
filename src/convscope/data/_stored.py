"""Images that stay where they are, on the disk, and are read when they are used.

`StoredImages` stands where a tensor of all images would stand: it has a shape, and rows of it are
tensors. Behind it is a `Source`: image files, or rows of an array in a file. Whoever goes through
many rows asks for them part after part (`StoredImages.parts`): the next part is read while the one
before is worked on, and no more than that is held.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from convscope.data import _file
from convscope.data._decoders import shared_decoders, worker_count
from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.files import Kind, opened
from convscope.types import ByteImages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convscope.data._items import Item
    from convscope.resizing import Resize

VARIABLE = "CONVSCOPE_IMAGE_MEMORY"
MOST_IN_MEMORY = 2.0
"""Gigabytes of decoded images that are kept in memory when nobody says how many."""

SHARE_OF_FREE = 0.5
"""Of the free memory, at most, whatever is asked for: batches need some, too."""

PART_BYTES = 1 << 25
"""Pixels that are read at once by whoever goes through all of them."""


def stays_in_memory(size: int) -> bool:
    """Whether decoded images of `size` bytes are kept in memory, or are read when they are used.

    They are kept up to ``$CONVSCOPE_IMAGE_MEMORY`` gigabytes, by default 2, and half of what is
    free.

    Raises:
        UsageError: U12, the variable is no number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        most = float(text) if text else MOST_IN_MEMORY
        usable = 0 <= most < math.inf
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{VARIABLE} is {text!r}", code="U12", expected="gigabytes, such as 2")
    free = _file.free_memory()
    return size <= most * 1e9 and (free is None or size <= SHARE_OF_FREE * free)


class Source(Protocol):
    """Where stored images come from."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of all images."""
        ...

    def parts(self, parts: Iterable[Sequence[int]]) -> Iterator[ByteImages]:
        """The images of each part, in order; the next part is read ahead."""
        ...


class StoredImages:
    """(N, C, H, W) bytes, read when rows of them are asked for.

    Args:
        source: Where they are.
        rows: Which images of the source, in which order; all by default.

    Example:
        >>> from types import SimpleNamespace
        >>> pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
        >>> source = SimpleNamespace(shape=(6, 1, 1, 1),
        ...     parts=lambda parts: (pixels[part] for part in parts))
        >>> images = StoredImages(source).view([5, 3, 1])
        >>> images.shape, images[1:].flatten().tolist()
        (torch.Size([3, 1, 1, 1]), [3, 1])
    """

    dtype = torch.uint8
    ndim = 4
    device = torch.device("cpu")

    def __init__(self, source: Source, rows: Tensor | None = None) -> None:
        self.source = source
        self.rows = torch.arange(source.shape[0]) if rows is None else rows

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Shape instead of pixels."""
        return f"StoredImages({'x'.join(map(str, self.shape))} bytes)"

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        return torch.Size((len(self.rows), *self.source.shape[1:]))

    def view(self, rows: Tensor | Sequence[int]) -> StoredImages:
        """Some of the images, in the order of `rows`; nothing is read."""
        return StoredImages(self.source, self.rows[torch.as_tensor(rows, dtype=torch.int64)])

    def __getitem__(self, rows: Tensor | Sequence[int] | slice) -> ByteImages:
        """The images of `rows` as a tensor.

        Raises:
            ResourceError: They do not fit into memory.
            DataError: They are not there any more, or are others.
        """
        index = self.rows[rows if isinstance(rows, slice) else torch.as_tensor(rows)]
        if index.ndim != 1:
            raise IndexError("rows of stored images are named by a list or a slice")
        size = len(index) * math.prod(self.shape[1:])
        _file.check_memory(size, f"{len(index):,} images")
        return next(iter(self.source.parts([index.tolist()])))

    def parts(self, parts: Iterable[Tensor]) -> Iterator[ByteImages]:
        """The images of each part of the rows, in order; the next part is read ahead."""
        return self.source.parts(self.rows[part].tolist() for part in parts)


@dataclass(frozen=True)
class KnownDigest:
    """A hash over the first images of a source and their labels, from when each was decoded.

    Attributes:
        labels: Of the training and of the validation images, which are the first ones.
        sha256: Over pixels and labels of the ones, then of the others.
    """

    labels: tuple[Tensor, Tensor]
    sha256: str


def known_digest(
    images: Sequence[ByteImages | StoredImages], labels: Sequence[Tensor]
) -> str | None:
    """SHA-256 over pixels and labels of training and validation images, if it is known.

    It is known if they are those that were decoded when the data set was opened, in that order,
    with those labels; any other images have to be hashed.
    """
    stored = [part for part in images if isinstance(part, StoredImages)]
    known = getattr(stored[0].source, "digest", None) if len(stored) == len(images) else None
    if known is None or any(part.source is not stored[0].source for part in stored):
        return None
    rows = torch.cat([part.rows for part in stored])
    same = torch.equal(rows, torch.arange(len(rows))) and all(
        torch.equal(one, other) for one, other in zip(labels, known.labels, strict=True)
    )
    return known.sha256 if same else None


def part_size(shape: Sequence[int], *, values: int = PART_BYTES) -> int:
    """How many images of a shape one reads at once, at least one.

    Example:
        >>> part_size((3, 224, 224))
        222
    """
    return max(1, values // max(1, math.prod(shape)))


@dataclass(frozen=True)
class EncodedImages:
    """Image files, decoded whenever they are used.

    Attributes:
        items: Where each is.
        hashes: SHA-256 of each, from when the data set was opened.
        image_shape: Channels, height and width that every image is brought to.
        resize: How the network wants files brought to that size.
        digest: What `known_digest` knows.
    """

    items: Sequence[Item]
    hashes: Sequence[bytes]
    image_shape: tuple[int, int, int]
    resize: Resize | None = None
    digest: KnownDigest | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of all images."""
        return (len(self.items), *self.image_shape)

    def parts(self, parts: Iterable[Sequence[int]]) -> Iterator[ByteImages]:
        """The images of each part, in order; the next part is decoded ahead.

        Raises:
            DataError: D24, a file is another one than when the data set was opened.
            ResourceError: T26, a process that decodes was lost.
        """
        workers = worker_count()
        decoders = shared_decoders(workers)

        def fill(row: int, room: NDArray[np.uint8]) -> None:
            item = self.items[row]
            try:
                file = item.read()
            except DataError as error:
                raise self._changed(item, error.what) from None
            if bytes.fromhex(file.sha256) != self.hashes[row]:
                raise self._changed(item, "its content is another one")
            decoders.decode(
                file.data, item.where, shape=self.image_shape, ending=item.ending,
                resize=self.resize, out=room,
            )  # fmt: skip

        waiting: deque[tuple[Tensor, list[Future[None]]]] = deque()
        threads = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1))
        try:
            for part in parts:
                pixels = torch.empty((len(part), *self.image_shape), dtype=torch.uint8)
                rooms = pixels.numpy()
                futures = [threads.submit(fill, row, rooms[k]) for k, row in enumerate(part)]
                waiting.append((pixels, futures))
                if len(waiting) > 1:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            threads.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _changed(item: Item, what: str) -> ConvscopeError:
        return DataError(
            f"changed while it was used: {what}",
            code="D24",
            where=item.where,
            hint="leave the data alone while they are used, and begin again",
        )


def _done(pixels: Tensor, futures: list[Future[None]]) -> Tensor:
    for future in futures:
        future.result()
    return pixels


@dataclass(frozen=True)
class ArrayRows:
    """Images that lie in a file as bytes, row after row, and are read from there.

    The file is not mapped into memory: what a mapping has touched counts as memory of the process,
    and a file that becomes shorter ends a process that has mapped it.

    Attributes:
        path: The file.
        start: Where the first row begins, in bytes.
        stored: Shape of one row as it lies there.
        count: Rows.
        stamp: Size and time of the last change of the file, from when it was opened.
    """

    path: Path
    start: int
    stored: tuple[int, ...]
    count: int
    stamp: tuple[int, int]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of an image, however it lies there."""
        if len(self.stored) == 2:
            return (1, *self.stored)
        first, second, third = self.stored
        return (third, first, second) if self.channels_last else (first, second, third)

    @property
    def channels_last(self) -> bool:
        """Whether the channels are the last axis of a row."""
        return len(self.stored) == 3 and self.stored[-1] in (1, 3) and self.stored[0] not in (1, 3)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W) of all images."""
        return (self.count, *self.image_shape)

    def parts(self, parts: Iterable[Sequence[int]]) -> Iterator[ByteImages]:
        """The images of each part, in order.

        Raises:
            DataError: D24, the file is another one than when it was opened.
        """
        size = math.prod(self.stored)
        for part in parts:
            rows = np.empty((len(part), *self.stored), dtype=np.uint8)
            flat = rows.reshape(-1).data if len(part) else memoryview(b"")
            with opened(self.path, ARRAY) as (file, _):
                if stamp_of(file.fileno()) != self.stamp:
                    raise self._changed()
                for k, row in enumerate(part):
                    if not k or row != part[k - 1] + 1:
                        file.seek(self.start + row * size)
                    room = flat[k * size : (k + 1) * size]
                    if file.readinto(room) != size:  # type: ignore[attr-defined]
                        raise self._changed()
            found = torch.from_numpy(rows)
            if len(self.stored) == 2:
                found = found[:, None]
            elif self.channels_last:
                found = found.permute(0, 3, 1, 2).contiguous()
            yield found

    def _changed(self) -> DataError:
        return DataError(
            "changed while it was used",
            code="D24",
            where=self.path,
            hint="leave the data alone while they are used, and begin again",
        )


ARRAY = Kind(what="an array of images", largest=1 << 50, damaged="D27")


def stamp_of(descriptor: int) -> tuple[int, int]:
    """Size and time of the last change of an open file."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def digest_of(pixels: NDArray[np.uint8]) -> bytes:
    """What two images with the same pixels have in common."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
