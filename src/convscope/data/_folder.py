"""Folders of images, one folder per class or a list of labels."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from convscope.data._dataset import (
    TEST_SHARE,
    VALIDATION_SHARE,
    Dataset,
    Split,
    content_warnings,
    stratified_parts,
)
from convscope.data._file import read_file, sniff
from convscope.data._image import (
    LARGEST_FILE,
    PictureHeader,
    decode,
    fit_to,
    read_header,
    to_tensor,
)
from convscope.data._layouts import Tree, class_order, read_layout
from convscope.data._lists import LIST_ENDINGS
from convscope.data._room import in_threads, make_room
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.files import Kind, opened, usable_path
from convscope.progress import announce
from convscope.resizing import Resize


@dataclass(frozen=True)
class Item:
    """One image file.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        label: Class number.
        path: Where it is.
        name: Path relative to the data set's folder.
    """

    split: str
    label: int
    path: Path
    name: str


@dataclass(frozen=True)
class Inventory:
    """Everything that a folder holds, before any image is opened.

    Args:
        items: The images.
        class_names: One name per class number; bytes that are no text are escaped.
        notes: Sentences for the report.
        problems: What must be mended or skipped (D21).
        cut: Splits that were cut here from what nobody had split.
    """

    items: list[Item]
    class_names: tuple[str, ...]
    notes: list[str]
    problems: list[str]
    cut: tuple[str, ...]


def take_inventory(folder: Path, *, seed: int = 0) -> Inventory:
    """List the images of a folder and give each its class and split.

    Args:
        folder: A folder in one of the layouts of `convscope.data._layouts`, or a list in it.
        seed: Another seed, another cut of what has no folder of its own.

    Returns:
        The inventory.

    Raises:
        DataError: ``D21``: no class with images; or the folder cannot be listed.
    """
    trees = read_layout(folder)
    root = folder.parent if folder.is_file() else folder
    notes = [note for tree in trees.values() for note in tree.notes]
    problems = [text for tree in trees.values() for text in tree.problems]
    filled = {name for tree in trees.values() for name, files in tree.classes.items() if files}
    names = sorted(filled, key=class_order)
    if not names:
        raise DataError(
            "no images" + _listed(problems or notes),
            code="D21",
            where=folder,
            expected="folders, one per class, of PNG, JPEG, GIF, BMP or WebP images; or image "
            "files named by class, or with a list (file,label) beside them",
        )
    notes += _absent(trees, names)
    items = [
        Item(split or "train", label, path, path.relative_to(root).as_posix())
        for split, tree in trees.items()
        for label, name in enumerate(names)
        for path in tree.classes.get(name, [])
    ]
    absent = [split for split in SHARES if split not in trees]
    cut = tuple(absent) if trees.keys() & {"", "train"} else ()
    if cut:
        items, kept = _cut(items, cut, seed)
        if kept:
            few = ", ".join(f"{names[label]} ({count})" for label, count in kept[:3])
            notes.append(
                f"{len(kept)} of {len(names)} classes have too few images to cut "
                f"{' and '.join(cut)} images from, and stay whole: {few}"
                + (", ..." if len(kept) > 3 else "")
            )
    return Inventory(items, tuple(map(_as_text, names)), notes, problems, cut)


SHARES = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}


def _absent(trees: dict[str, Tree], names: list[str]) -> list[str]:
    """Classes that some split folder has and another has not."""
    notes = []
    for split, tree in trees.items():
        lost = [name for name in names if not tree.classes.get(name)]
        if lost and len(trees) > 1:
            more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
            notes.append(
                f"{len(lost)} of {len(names)} classes have no {split} images: "
                f"{', '.join(lost[:5])}{more}"
            )
    return notes


def _cut(
    items: list[Item], absent: tuple[str, ...], seed: int
) -> tuple[list[Item], list[tuple[int, int]]]:
    """Take the splits that have no folder out of the training images.

    A class with fewer images than there are splits to fill stays whole.

    Returns:
        The items, and (class, images) of the classes that stayed whole.
    """
    rows = [row for row, item in enumerate(items) if item.split == "train"]
    counts = Counter(items[row].label for row in rows)
    whole = [(label, n) for label, n in sorted(counts.items()) if n <= len(absent)]
    rows = [row for row in rows if counts[items[row].label] > len(absent)]
    parts = stratified_parts(
        [items[row].label for row in rows],
        [items[row].name for row in rows],
        shares=[SHARES[split] for split in absent],
        seed=seed,
    )
    for split, part in zip(absent, parts, strict=False):
        for place in part:
            items[rows[place]] = replace(items[rows[place]], split=split)
    return items, whole


def _as_text(name: str) -> str:
    """File names may hold bytes that no text file can: those are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _listed(problems: Sequence[str]) -> str:
    """The first five problems, as the rest of a sentence."""
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f": {'; '.join(problems[:5])}{more}" if problems else ""


def refuse_problems(problems: Sequence[str], where: Path | str, *, skip_bad: bool) -> None:
    """Refuse a data set because of its problems, unless they are to be skipped.

    Raises:
        DataError: ``D21`` with the first five.
    """
    if problems and not skip_bad:
        raise DataError(
            f"{len(problems)} bad item{'s' if len(problems) > 1 else ''}{_listed(problems)}",
            code="D21",
            where=where,
            hint="mend or remove them, or leave them out with --skip-bad",
        )


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
) -> Dataset:
    """Labelled images of a folder as a data set.

    Args:
        folder: The folder, or a list (.csv, .tsv, .txt) of files and labels in it.
        skip_bad: Leave unreadable images out and list them in `Dataset.refused`.
        input_shape: (C, H, W) to bring every image to; the folder decides if None.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names before an image is decoded.
        seed: Another seed, another cut.

    Returns:
        The data set; classes are in the order of their names (numbers by value). A split may be
        empty.

    Raises:
        DataError: ``D21``: no images, nested class folders or unreadable images; the first five
            are listed.
        ResourceError: The images would fit neither into memory nor on the disk.
    """
    folder = usable_path(folder, DataError)
    _refuse_file(folder)
    inventory = take_inventory(folder, seed=seed)
    if check_classes is not None:
        check_classes(inventory.class_names)
    items, problems = inventory.items, inventory.problems
    if input_shape is None:
        headers = []
        items, readable = [], items
        for item, header in zip(readable, _read_all(readable, _header), strict=True):
            if isinstance(header, ConvscopeError):
                problems.append(_problem(item, header))
            else:
                items.append(item)
                headers.append(header)
        refuse_problems(problems, folder, skip_bad=skip_bad)
        input_shape = own_shape(headers)
    shape = input_shape
    size = len(items) * shape[0] * shape[1] * shape[2]
    # One block, split after split: a split is a part of it, and no image is held twice.
    items = sorted(items, key=lambda item: SPLITS.index(item.split))
    what = f"{len(items):,} images of {_times(shape)}"
    block = make_room((len(items), *shape), what, where=folder)
    kept: list[Item] = []
    hashes: dict[str, str] = {}
    notes: Counter[str] = Counter()
    decoded = _read_all(items, lambda path: _pixels(path, shape, resize))
    for count, (item, result) in enumerate(zip(items, decoded, strict=True), 1):
        announce(count / len(items), folder.name)
        if isinstance(result, ConvscopeError):
            problems.append(_problem(item, result))
            continue
        block[len(kept)], hashes[item.name], remarks = result
        kept.append(item)
        notes.update(remarks)
    refuse_problems(problems, folder, skip_bad=skip_bad)
    if not kept:
        raise DataError("no readable images", code="D21", where=folder)
    train, validation, test = (_split(name, kept, block) for name in SPLITS)
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(hashes.items()))
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
    return Dataset(
        name=f"folder:{folder}",
        class_names=inventory.class_names,
        train=train,
        validation=validation,
        test=test,
        source=f"{len(kept):,} images of {_times(shape)} in {len(inventory.class_names)} classes "
        f"of {folder.name} ({size / 1e6:,.1f} MB"
        + (f"; {resize}" if resize is not None and resize.output == shape[1:] else "")
        + f"): {len(train):,} for training, {len(validation):,} for validation, {len(test):,} "
        "for testing",
        hashes={"folder": digest.hexdigest()},
        warnings=(
            *inventory.notes,
            *(f"{note} ({count} images)" for note, count in sorted(notes.items())),
            *content_warnings(train, validation, test),
        ),
        refused=tuple(problems),
        cut=inventory.cut,
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
    """`read` for every file, in order, errors of single files in their place."""

    def attempt(item: Item) -> Result | ConvscopeError:
        try:
            return read(item.path)
        except ConvscopeError as error:
            return error

    return in_threads(attempt, items)


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
