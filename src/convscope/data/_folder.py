"""folder:DIRECTORY: your own images, one folder per class.

Either class folders (cut into train, validation and test by a seeded, stratified rule) or folders
``train``, ``val`` and ``test`` of class folders; a missing one is cut from ``train``.

Size of the images, unless you say it: if all have one size of at most 256 pixels, that size;
otherwise a square with the median of the shorter sides, at most 224 and at least 28. Every image is
resized by its shorter side and cropped in the center. Gray if every image is gray, else RGB.
"""

import hashlib
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from convscope.data._memory import check_memory
from convscope.data._picture import PictureHeader, decode, fit_to, read_header
from convscope.data._split import content_warnings
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.files import Kind, opened, usable_path

LARGEST_OWN_SIZE = 256
LARGEST_SQUARE = 224
SMALLEST_SQUARE = 28
Result = TypeVar("Result")


def open_folder(
    folder: Path,
    *,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Images in class folders as a data set.

    Args:
        folder: Class folders, or ``train`` / ``val`` / ``test`` of class folders.
        skip_bad: Leave unreadable images out and list them in `Dataset.refused`.
        input_shape: (C, H, W) to bring every image to; the folder decides if None.
        seed: Another seed, another cut.
        progress: Called with (folder, images so far, images in all).

    Returns:
        The data set; classes are in the order of their folders' names (numbers by value).

    Raises:
        DataError: ``D21``: empty, nested or unreadable class folders; the first five are listed.
        ResourceError: The images would not fit into memory.
    """
    folder = usable_path(folder, DataError)
    _refuse_file(folder)
    found = take_inventory(folder, seed=seed)
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
    check_memory(2 * size, f"{len(items):,} images of {_times(shape)}", where=folder)

    kept: list[Item] = []
    pixels: list[Tensor] = []
    notes: Counter[str] = Counter()
    digest = hashlib.sha256()
    decoded = _read_all(items, lambda path: _pixels(path, shape))
    for count, (item, result) in enumerate(zip(items, decoded, strict=True), 1):
        if progress is not None:
            progress(folder.name, count, len(items))
        if isinstance(result, ConvscopeError):
            problems.append(_problem(item, result))
            continue
        tensor, sha256, remarks = result
        digest.update(f"{item.name}\0{sha256}\n".encode("utf-8", "surrogateescape"))
        kept.append(item)
        pixels.append(tensor)
        notes.update(remarks)
    stop_on(problems, folder, skip_bad=skip_bad)
    if len({item.label for item in kept}) < 2:
        raise DataError("fewer than two classes have readable images", code="D21", where=folder)
    train, validation, test = (
        _split(name, kept, pixels, folder) for name in ("train", "validation", "test")
    )
    return Dataset(
        name=f"folder:{folder}",
        class_names=found.class_names,
        train=train,
        validation=validation,
        test=test,
        source=f"{len(kept):,} images of {_times(shape)} in {len(found.class_names)} class folders "
        f"of {folder.name} ({size / 1e6:,.1f} MB): {len(train):,} to fit, {len(validation):,} to "
        f"choose, {len(test):,} to judge",
        hashes={"folder": digest.hexdigest()},
        warnings=(
            *found.notes,
            *(f"{note} ({count} images)" for note, count in sorted(notes.items())),
            *content_warnings(train, validation, test),
        ),
        refused=tuple(problems),
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


def _pixels(path: Path, shape: tuple[int, int, int]) -> tuple[Tensor, str, list[str]]:
    """Bytes of one image in the wanted shape, the file's hash, and notes on its decoding."""
    file = read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError)
    picture = decode(file.data, where=path, ending=path.suffix)
    fitted = fit_to(picture.image, channels=shape[0], size=shape[1:])
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


def _split(name: str, items: list[Item], pixels: list[Tensor], folder: Path) -> Split:
    rows = [row for row, item in enumerate(items) if item.split == name]
    if not rows:
        raise DataError(f"empty split: no {name} images", code="D11", where=folder)
    return Split(
        name=name,
        images=torch.stack([pixels[row] for row in rows]),
        labels=torch.tensor([items[row].label for row in rows]),
        names=tuple(items[row].name for row in rows),
    )


def _refuse_file(path: Path) -> None:
    """A file where a folder is expected: say what to do with it."""
    if path.is_dir() or not path.exists():
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
