"""Folders of images, one folder per class or a list of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from convscope.data._dataset import Dataset
from convscope.data._file import sniff
from convscope.data._items import Inventory, Item, as_text, listed, with_splits
from convscope.data._layouts import Tree, class_order, read_layout
from convscope.data._lists import LIST_ENDINGS
from convscope.data._survey import open_inventory
from convscope.errors import DataError
from convscope.files import Kind, opened, usable_path
from convscope.resizing import Resize


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
            "no images" + listed(problems or notes),
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
    items, cut, small = with_splits(items, names, set(trees), seed=seed)
    notes += small
    return Inventory(items, tuple(map(as_text, names)), notes, problems, cut)


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


def open_folder(
    folder: Path | str,
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
        ResourceError: T26, a process that decodes images was lost.
    """
    folder = usable_path(folder, DataError)
    _refuse_file(folder)
    return open_inventory(
        take_inventory(folder, seed=seed),
        name=f"folder:{folder}",
        where=folder,
        shown=folder.name,
        skip_bad=skip_bad,
        input_shape=input_shape,
        resize=resize,
        check_classes=check_classes,
    )


def folder_inventory(address: str) -> Inventory:
    """The images of a folder or list, none of which has been opened."""
    folder = usable_path(address, DataError)
    _refuse_file(folder)
    return take_inventory(folder)


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
        hint=f"--data npy:{path}, with labels beside it"
        if path.suffix.lower() == ".npy"
        else "NumPy archives may hold code and are not opened; save the images as PNG files"
        if numpy
        else f"--data tar:{path} for shards; unpack it if it is another archive",
    )
