"""Images read while one goes through them: memory does not grow with their number.

`catalog` lists the labeled files of a data set, `read_files` decodes files a few at a time ahead of
whoever takes them, `stream_images` gives the images that a command names, in batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.data._decoders import shared_decoders, worker_count
from convscope.data._items import SPLITS, Item
from convscope.data._names import class_number
from convscope.data._open import Chosen, address_and_side, understood
from convscope.data._pets import find_folder, read_lists
from convscope.data._registry import ADDRESSES, address_of
from convscope.data._select import (
    Selection,
    files_of,
    parse_rows,
    select_images,
)
from convscope.data._stored import stays_in_memory
from convscope.data._survey import each_read
from convscope.errors import ConvscopeError, ImageError, UsageError
from convscope.resizing import Resize
from convscope.types import TakesImages

BATCH = 32
"""Images of one piece."""


@dataclass(frozen=True)
class Catalog:
    """A data set of image files, none of which has been opened.

    Attributes:
        name: Of the data set.
        class_names: One name per class.
        items: The files, each with its split and class.
        notes: Sentences for people.
        problems: What has to be mended, or is left out.
    """

    name: str
    class_names: tuple[str, ...]
    items: list[Item]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def split(self, name: str) -> list[Item]:
        """The files of ``"train"``, ``"validation"``, ``"test"`` or ``"all"``."""
        return [item for item in self.items if name in (item.split, "all")]


def catalog(data: str, *, data_dir: str | Path | None = None) -> Catalog | None:
    """The files of a data set that is made of image files; None for any other.

    Args:
        data: ``"pets"``, data of one's own such as ``"folder:DIRECTORY"``, or the name of another
            data set.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.

    Raises:
        DataError: As for `convscope.data.open_dataset`.
    """
    if data == "pets":
        folder = find_folder(data_dir)
        if folder is None:
            return None
        listing = read_lists(folder)
        items = sorted(listing.items, key=lambda item: SPLITS.index(item.split))
        return Catalog("pets", listing.class_names, items, (), tuple(listing.problems))
    address = address_of(data)
    if address is None or not ADDRESSES.spec(address[0]).inventory:
        return None
    where, side = address_and_side(address[1])
    if side:
        return None
    found = ADDRESSES.spec(address[0]).take_inventory(where)
    items = sorted(found.items, key=lambda item: SPLITS.index(item.split))
    return Catalog(data, found.class_names, items, tuple(found.notes), tuple(found.problems))


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class ReadFile:
    """An image file that was read.

    Attributes:
        sha256: Of the file.
        pixels: ``(channel, height, width)`` bytes; None if they were not wanted.
        notes: What was done to them on the way.
    """

    sha256: str
    pixels: Tensor | None
    notes: tuple[str, ...] = ()


def read_files(
    files: Sequence[Path] | Sequence[Item],
    *,
    shape: tuple[int, int, int],
    resize: Resize | None,
    wanted: Callable[[str], bool] = lambda sha256: True,
) -> Iterator[ReadFile | ConvscopeError]:
    """Each file as the network takes it, in order, or why it cannot be read.

    Many files are decoded by other processes (`convscope.data._decoders`), few by threads; never
    more than a few files ahead.

    Args:
        files: Paths, or the items of a `Catalog`.
        shape: ``(channel, height, width)`` of every image.
        resize: How the network wants files brought to that size.
        wanted: Called with a file's hash; pixels that nobody wants are not decoded.

    Raises:
        ResourceError: T26, a process that decodes was lost.
    """
    workers = 0 if stays_in_memory(len(files) * math.prod(shape)) else worker_count()
    decoders = shared_decoders(workers)

    def read(file: Path | Item) -> ReadFile | ConvscopeError:
        item = file if isinstance(file, Item) else Item("", 0, file, str(file))
        found = item.read()
        if not wanted(found.sha256):
            return ReadFile(sha256=found.sha256, pixels=None)
        pixels, notes = decoders.decode(
            found.data, item.where, shape=shape, ending=item.ending, resize=resize
        )
        return ReadFile(sha256=found.sha256, pixels=torch.from_numpy(pixels), notes=notes)

    return each_read(files, read, workers)


@dataclass(frozen=True)
class ImageStream:
    """Images that are read while one goes through `pieces`, once.

    Attributes:
        count: How many there are, those that cannot be read included.
        pieces: The images, a batch at a time, each with names, notes and what was refused.
    """

    count: int
    pieces: Iterator[Selection] = field(repr=False)


def stream_images(
    specs: Sequence[str | Path],
    *,
    like: TakesImages,
    data_dir: str | Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
    skip_bad: bool = False,
) -> ImageStream:
    """As `select_images`, a batch at a time, without labels; what cannot be read is refused.

    Image files, those of ``folder:DIRECTORY`` and the like and the pets are read when their turn
    comes. Other data sets are in memory as bytes.

    Args:
        specs: As for `select_images`.
        like: The network (or anything with `input_shape` and `class_names`).
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: As for `open_dataset`.
        skip_bad: Leave unreadable files of a data set in memory out.

    Returns:
        The stream; a piece of which nothing could be read has no images. Image files are in it
        whatever their class; of data sets in memory, images of classes that the network lacks are
        left out as by `select_images`.

    Raises:
        UsageError: A specification that cannot be understood, or rows that do not exist.
        DataError: Nothing is where a specification points to.

    Example:
        >>> from types import SimpleNamespace
        >>> network = SimpleNamespace(input_shape=(1, 28, 28), class_names=tuple("0123456789"))
        >>> stream = stream_images(["digits:test/0-39"], like=network)
        >>> stream.count, [len(piece) for piece in stream.pieces]
        (40, [32, 8])
    """
    parts: list[tuple[int, Callable[[], Iterator[Selection]]]] = []
    for spec in specs:
        chosen = None if isinstance(spec, Path) else understood(spec)
        if chosen is None:
            paths = files_of(str(spec))
            names = [str(path) for path in paths]
            parts.append((len(paths), partial(_decoded, paths, names, like)))
            continue
        found = catalog(chosen.data, data_dir=data_dir)
        if found is not None:
            parts.append(_of_catalog(found, chosen, str(spec), like))
            continue
        selection = select_images(
            spec, like=like, data_dir=data_dir, offline=offline, skip_bad=skip_bad,
            accept_modified=accept_modified,
        )  # fmt: skip
        count = len(selection) + len(selection.refused)
        parts.append((count, partial(_cut, selection)))
    if not parts:
        raise UsageError("no images were named", code="U01", expected="mnist:test/7 or a file")
    return ImageStream(
        count=sum(count for count, _ in parts),
        pieces=(piece for _, pieces in parts for piece in pieces()),
    )


def _cut(selection: Selection) -> Iterator[Selection]:
    """Images that are in memory, in pieces; what was said of all stands on the first."""
    for start in range(0, max(1, len(selection)), BATCH):
        rows = slice(start, start + BATCH)
        yield replace(
            selection,
            images=selection.images[rows],
            labels=None,
            names=selection.names[rows],
            notes=selection.notes if start == 0 else (),
            refused=selection.refused if start == 0 else (),
        )


def _of_catalog(
    found: Catalog, chosen: Chosen, where: str, like: TakesImages
) -> tuple[int, Callable[[], Iterator[Selection]]]:
    """The rows of a split of a data set of files."""
    items = found.split(chosen.split)
    if chosen.named is not None:
        number = class_number(chosen.named, found.class_names)
        items = [item for item in items if item.label == number]
        if not items:
            raise UsageError(
                f"no {chosen.split} image of class {found.class_names[number]!r}",
                code="U01",
                where=where,
            )
    items = [items[row] for row in parse_rows(chosen.rows, len(items), where=where)]
    names = [item.name for item in items]
    first = Selection(
        images=torch.empty(0, *like.input_shape),
        labels=None,
        names=(),
        notes=found.notes,
        refused=found.problems,
    )

    def pieces() -> Iterator[Selection]:
        yield first
        yield from _decoded(items, names, like)

    return len(items) + len(found.problems), pieces


def _decoded(
    files: Sequence[Path] | Sequence[Item], names: Sequence[str], like: TakesImages
) -> Iterator[Selection]:
    """Files a batch at a time; those that cannot be read are listed."""
    rule = getattr(like, "resize", None)
    images: list[Tensor] = []
    rows: list[int] = []
    notes: list[str] = []
    refused: list[str] = []
    for row, read in enumerate(read_files(files, shape=like.input_shape, resize=rule)):
        if isinstance(read, ConvscopeError):
            refused.append(f"{names[row]}: {read.code} {read.what}")
        else:
            assert read.pixels is not None, "all pixels are wanted"
            images.append(read.pixels)
            rows.append(row)
            notes.extend(f"{names[row]}: {note}" for note in read.notes)
        if len(images) + len(refused) == BATCH or row == len(files) - 1:
            shape = (0, *like.input_shape)
            yield Selection(
                images=torch.stack(images).float().div_(255) if images else torch.empty(shape),
                labels=None,
                names=tuple(names[row] for row in rows),
                notes=tuple(notes),
                refused=tuple(refused),
            )
            images, rows, notes, refused = [], [], [], []


def refuse_nothing_read(count: int, refused: Sequence[str]) -> None:
    """Where not one image could be read, there is nothing to go on with.

    Raises:
        ImageError: I21 with the first reason.
    """
    if refused and len(refused) == count:
        what = "cannot be read" if count == 1 else f"none of {count:,} images can be read"
        raise ImageError(f"{what}: {refused[0]}", code="I21")
