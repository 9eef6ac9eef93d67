"""Open a data set of image files: look at every file once, then keep the pixels or the way to them.

Every image is decoded when a data set is opened, so that what cannot be read, and what is in two
splits, is known before anything is computed. What fits into memory is kept; of larger data sets
only hashes are kept, and images are decoded again whenever they are used (`StoredImages`).
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from convscope.data._content_warnings import content_warnings
from convscope.data._dataset import Dataset
from convscope.data._decoders import shared_decoders, worker_count
from convscope.data._image import PictureHeader, read_header
from convscope.data._items import SPLITS, Inventory, Item, refuse_problems
from convscope.data._room import in_threads
from convscope.data._split import Split
from convscope.data._stored import (
    EncodedImages,
    KnownDigest,
    StoredImages,
    digest_of,
    stays_in_memory,
)
from convscope.errors import ConvscopeError, DataError, ResourceError
from convscope.progress import announce
from convscope.resizing import Resize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_OWN_SIZE = 256
LARGEST_SQUARE = 224
SMALLEST_SQUARE = 28
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Looked:
    """What was found out about an image file."""

    pixels: NDArray[np.uint8]
    sha256: str
    digest: bytes
    notes: tuple[str, ...]


@dataclass
class _Kept:
    """The images that can be read."""

    items: list[Item] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    trained_on: _TrainedOn = field(default_factory=lambda: _TrainedOn())


class _TrainedOn:
    """The hash that a training run keeps of its images, made while they are at hand.

    Training images come first, then validation images, each followed by their labels.
    """

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.labels: dict[str, list[int]] = {split: [] for split in SPLITS}

    def add(self, item: Item, pixels: NDArray[np.uint8]) -> None:
        """An image; they come split after split."""
        if item.split == "validation" and not self.labels[item.split]:
            self.hash.update(self._labels("train").numpy().data)
        if item.split != "test":
            self.hash.update(pixels.data)
        self.labels[item.split].append(item.label)

    def known(self) -> KnownDigest:
        """The hash, and of which labels it is."""
        train, validation = self._labels("train"), self._labels("validation")
        whole = self.hash.copy()
        whole.update((validation if len(validation) else train).numpy().data)
        return KnownDigest((train, validation), whole.hexdigest())

    def _labels(self, split: str) -> Tensor:
        return torch.tensor(self.labels[split], dtype=torch.int64)


def open_inventory(
    inventory: Inventory,
    *,
    name: str,
    where: Path | str,
    shown: str,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """The images of an inventory as a data set.

    Args:
        inventory: What there is.
        name: Of the data set.
        where: For error texts.
        shown: What the sentence on its source calls it.
        skip_bad: Leave unreadable images out and list them in `Dataset.refused`.
        input_shape: (C, H, W) to bring every image to; the images decide if None.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names before an image is decoded.

    Returns:
        The data set; a split may be empty.

    Raises:
        DataError: ``D21``: unreadable images; the first five are listed.
        ResourceError: T26, a process that decodes was lost.
    """
    if check_classes is not None:
        check_classes(inventory.class_names)
    items, problems = inventory.items, inventory.problems
    if input_shape is None:
        headers = []
        items, readable = [], items
        for item, header in zip(readable, each_read(readable, _header, 0), strict=True):
            if isinstance(header, ConvscopeError):
                problems.append(_problem(item, header))
            else:
                items.append(item)
                headers.append(header)
        refuse_problems(problems, where, skip_bad=skip_bad)
        input_shape = own_shape(headers)
    shape = input_shape
    size = len(items) * shape[0] * shape[1] * shape[2]
    # Split after split: a split is a part of one block, and no image is held twice.
    items = sorted(items, key=lambda item: SPLITS.index(item.split))
    block = torch.empty((len(items), *shape), dtype=torch.uint8) if stays_in_memory(size) else None
    kept = _looked_at(items, block, shape, resize, problems, shown)
    refuse_problems(problems, where, skip_bad=skip_bad)
    if not kept.items:
        raise DataError("no readable images", code="D21", where=where)
    images = (
        StoredImages(
            EncodedImages(
                kept.items,
                [bytes.fromhex(one) for one in kept.hashes],
                shape,
                resize,
                kept.trained_on.known(),
            )
        )
        if block is None
        else block
    )
    train, validation, test = (_split(name, kept.items, images) for name in SPLITS)
    named = zip((item.name for item in kept.items), kept.hashes, strict=True)
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(named))
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
    return Dataset(
        name=name,
        class_names=inventory.class_names,
        train=train,
        validation=validation,
        test=test,
        source=f"{len(kept.items):,} images of {_times(shape)} in {len(inventory.class_names)} "
        f"classes of {shown} ({size / 1e6:,.1f} MB"
        + (f"; {resize}" if resize is not None and resize.output == shape[1:] else "")
        + f"): {len(train):,} for training, {len(validation):,} for validation, {len(test):,} "
        "for testing",
        hashes={name.partition(":")[0]: digest.hexdigest()},
        warnings=(
            *inventory.notes,
            *(f"{note} ({count} images)" for note, count in sorted(kept.notes.items())),
            *content_warnings(train, validation, test, digests=kept.digests),
        ),
        refused=tuple(problems),
        cut=inventory.cut,
    )


def _looked_at(
    items: list[Item],
    block: Tensor | None,
    shape: tuple[int, int, int],
    resize: Resize | None,
    problems: list[str],
    shown: str,
) -> _Kept:
    """Decode every image once; its pixels go into `block`, if there is one."""
    kept = _Kept()
    # Few images are decoded sooner than processes are started.
    workers = worker_count() if block is None else 0
    decoders = shared_decoders(workers)

    def look(item: Item) -> _Looked:
        file = item.read()
        pixels, notes = decoders.decode(
            file.data, item.where, shape=shape, ending=item.ending, resize=resize
        )
        spoken = tuple(note for note in notes if not note.startswith("I17"))
        return _Looked(pixels, file.sha256, digest_of(pixels), spoken)

    for count, (item, found) in enumerate(
        zip(items, each_read(items, look, workers), strict=True), 1
    ):
        announce(count / len(items), shown)
        if isinstance(found, ConvscopeError):
            problems.append(_problem(item, found))
            continue
        if block is not None:
            block[len(kept.items)] = torch.from_numpy(found.pixels)
        else:
            kept.trained_on.add(item, found.pixels)
        kept.items.append(item)
        kept.hashes.append(found.sha256)
        kept.digests.append(found.digest)
        kept.notes.update(found.notes)
    return kept


def own_shape(headers: list[PictureHeader]) -> tuple[int, int, int]:
    """Channels, height and width that suit all images.

    Example:
        >>> own_shape([PictureHeader(300, 200, False), PictureHeader(90, 80, True)])
        (3, 140, 140)
        >>> own_shape([PictureHeader(40, 30, True)] * 2)
        (1, 30, 40)
    """
    if not headers:
        raise DataError("no readable images", code="D21")
    channels = 1 if all(header.gray for header in headers) else 3
    sizes = {(header.height, header.width) for header in headers}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and max(height, width) <= LARGEST_OWN_SIZE:
        return channels, height, width
    shorter = statistics.median(min(header.height, header.width) for header in headers)
    side = min(LARGEST_SQUARE, max(SMALLEST_SQUARE, int(shorter)))
    return channels, side, side


def _header(item: Item) -> PictureHeader:
    return read_header(item.read().data, where=item.where)


def each_read(
    items: Iterable[Any], work: Callable[[Any], Result], workers: int
) -> Iterator[Result | ConvscopeError]:
    """`work` for every item, in order, errors of single files in their place.

    Raises:
        ResourceError: T26, a process that decodes was lost.
    """

    def attempt(item: Any) -> Result | ConvscopeError:
        try:
            return work(item)
        except ResourceError as error:
            if error.code == "T26":  # That is no fault of the file.
                raise
            return error
        except ConvscopeError as error:
            return error

    return in_threads(attempt, items, threads=workers)


def _split(name: str, items: list[Item], images: Tensor | StoredImages) -> Split:
    rows = [row for row, item in enumerate(items) if item.split == name]
    part = slice(rows[0] if rows else 0, rows[-1] + 1 if rows else 0)
    return Split(
        name=name,
        images=images[part] if isinstance(images, Tensor) else images.view(rows),
        labels=torch.tensor([items[row].label for row in rows], dtype=torch.int64),
        names=tuple(items[row].name for row in rows),
    )


def _problem(item: Item, error: ConvscopeError) -> str:
    return f"{item.name}: {error.code} {error.what}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
