"""folder:DIRECTORY: your own images, in any layout that says their classes.

Class folders (cut into train, validation and test by a seeded, stratified rule); folders
``train``, ``val`` and ``test``, or some of them; image files with a list of labels beside them;
image files named by class. A validation or test split that has no folder is cut from the training
images.

Size of the images, unless you say it: if all have one size of at most 256 pixels, that size;
otherwise a square with the median of the shorter sides, at most 224 and at least 28. Every image is
resized by its shorter side and cropped in the center. Gray if every image is gray, else RGB.
"""

import hashlib
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from convscope.data._dataset import Dataset, Split
from convscope.data._download import Progress
from convscope.data._file import read_file, sniff
from convscope.data._folder_items import Item, stop_on, take_inventory
from convscope.data._image import LARGEST_FILE, to_tensor
from convscope.data._lists import LIST_ENDINGS
from convscope.data._memory import check_memory
from convscope.data._picture import PictureHeader, decode, fit_to, read_header
from convscope.data._split import content_warnings
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.files import Kind, opened, usable_path
from convscope.resizing import Resize

LARGEST_OWN_SIZE = 256
LARGEST_SQUARE = 224
SMALLEST_SQUARE = 28
SPLITS = ("train", "validation", "test")
Result = TypeVar("Result")


def open_folder(
    folder: Path,
    *,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Labelled images of a folder as a data set.

    Args:
        folder: The folder, or a list (.csv, .tsv, .txt) of files and labels in it.
        skip_bad: Leave unreadable images out and list them in `Dataset.refused`.
        input_shape: (C, H, W) to bring every image to; the folder decides if None.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names before an image is decoded.
        seed: Another seed, another cut.
        progress: Called with (folder, images so far, images in all).

    Returns:
        The data set; classes are in the order of their names (numbers by value). A split may be
        empty.

    Raises:
        DataError: ``D21``: no images, nested class folders or unreadable images; the first five
            are listed.
        ResourceError: The images would not fit into memory.
    """
    folder = usable_path(folder, DataError)
    _refuse_file(folder)
    found = take_inventory(folder, seed=seed)
    if check_classes is not None:
        check_classes(found.class_names)
    items, problems = found.items, found.problems
    if input_shape is None:
        headers = []
        items, readable = [], items
        for item, header in zip(readable, _read_all(readable, _header), strict=True):
            if isinstance(header, ConvscopeError):
                problems.append(_problem(item, header))
            else:
                items.append(item)
                headers.append(header)
        stop_on(problems, folder, skip_bad=skip_bad)
        input_shape = own_shape(headers)
    shape = input_shape
    size = len(items) * shape[0] * shape[1] * shape[2]
    check_memory(size, f"{len(items):,} images of {_times(shape)}", where=folder)

    # One block, split after split: a split is a part of it, and no image is held twice.
    items = sorted(items, key=lambda item: SPLITS.index(item.split))
    block = torch.empty((len(items), *shape), dtype=torch.uint8)
    kept: list[Item] = []
    hashes: dict[str, str] = {}
    notes: Counter[str] = Counter()
    decoded = _read_all(items, lambda path: _pixels(path, shape, resize))
    for count, (item, result) in enumerate(zip(items, decoded, strict=True), 1):
        if progress is not None:
            progress(folder.name, count, len(items))
        if isinstance(result, ConvscopeError):
            problems.append(_problem(item, result))
            continue
        block[len(kept)], hashes[item.name], remarks = result
        kept.append(item)
        notes.update(remarks)
    stop_on(problems, folder, skip_bad=skip_bad)
    if not kept:
        raise DataError("no readable images", code="D21", where=folder)
    train, validation, test = (_split(name, kept, block) for name in SPLITS)
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(hashes.items()))
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
    return Dataset(
        name=f"folder:{folder}",
        class_names=found.class_names,
        train=train,
        validation=validation,
        test=test,
        source=f"{len(kept):,} images of {_times(shape)} in {len(found.class_names)} classes "
        f"of {folder.name} ({size / 1e6:,.1f} MB"
        + (f"; {resize}" if resize is not None and resize.output == shape[1:] else "")
        + f"): {len(train):,} to fit, {len(validation):,} to choose, {len(test):,} to judge",
        hashes={"folder": digest.hexdigest()},
        warnings=(
            *found.notes,
            *(f"{note} ({count} images)" for note, count in sorted(notes.items())),
            *content_warnings(train, validation, test),
        ),
        refused=tuple(problems),
        cut=found.cut,
    )


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


def _header(path: Path) -> PictureHeader:
    file = read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError)
    return read_header(file.data, where=path)


def _pixels(
    path: Path, shape: tuple[int, int, int], resize: Resize | None
) -> tuple[Tensor, str, list[str]]:
    """Bytes of one image in the wanted shape, the file's hash, and notes on its decoding."""
    file = read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError)
    picture = decode(file.data, where=path, ending=path.suffix)
    fitted = fit_to(picture.image, channels=shape[0], size=shape[1:], resize=resize)
    return to_tensor(fitted), file.sha256, list(picture.notes)


def _read_all(
    items: Iterable[Item], read: Callable[[Path], Result]
) -> Iterator[Result | ConvscopeError]:
    """`read` for every file, in order, in a few threads (decoding leaves Python's lock)."""

    def attempt(item: Item) -> Result | ConvscopeError:
        try:
            return read(item.path)
        except ConvscopeError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        yield from threads.map(attempt, items)


def _split(name: str, items: list[Item], block: Tensor) -> Split:
    rows = [row for row, item in enumerate(items) if item.split == name]
    first = rows[0] if rows else 0
    return Split(
        name=name,
        images=block[first : first + len(rows)],
        labels=torch.tensor([items[row].label for row in rows], dtype=torch.int64),
        names=tuple(items[row].name for row in rows),
    )


def _refuse_file(path: Path) -> None:
    """A file where a folder is expected: say what to do with it."""
    if not path.is_file() or path.suffix.lower() in LIST_ENDINGS:
        return
    with opened(path, Kind(what="a folder of class folders", largest=1 << 62)) as (file, _):
        kind = sniff(file.read(64))
    numpy = "NumPy" in kind or path.suffix.lower() in (".npz", ".npy")
    raise DataError(
        "not a folder" + (f"; it looks like {kind}" if kind else ""),
        code="D19" if numpy else "U02",
        where=path,
        expected="a folder of class folders with images",
        hint="NumPy files may hold code and are not opened; save the images as PNG files"
        if numpy
        else "unpack it first if it is an archive",
    )


def _problem(item: Item, error: ConvscopeError) -> str:
    return f"{item.name}: {error.code} {error.what}"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
