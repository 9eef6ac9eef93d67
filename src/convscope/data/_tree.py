"""Walking a folder of class folders: what is there, what is odd, what is wrong."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from convscope.data._image import ENDINGS
from convscope.errors import DataError, ResourceError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
MOST_FILES = 2_000_000
DEEPEST = 4
"""Levels of folders in which a list may name images."""


@dataclass
class Tree:
    """Image files by class, and what was noticed on the way.

    Args:
        classes: Files of every class folder, sorted by name.
        problems: Things that make the data set unusable unless bad items are skipped (D21).
        notes: Things worth a warning (D22 and files that are no images).
        seen: Device and inode of everything visited, so that links cannot lead in circles.
    """

    classes: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)


def split_folders(root: Path) -> dict[str, Path]:
    """``train``, ``validation`` and ``test`` folders, if those are what `root` is made of.

    One of them is enough. Folders without a single image in or below them, such as annotations,
    do not count.

    Raises:
        DataError: `root` cannot be listed; D21, two folders of the same split.
    """
    folders = {entry.name: Path(entry.path) for entry in _entries(root) if _is_dir(entry)}
    splits = {word: split for split, words in SPLIT_FOLDERS.items() for word in words}
    found: dict[str, Path] = {}
    others = []
    for name, path in folders.items():
        split = splits.get(name.lower())
        if split is None:
            others.append(path)
        elif split in found:
            raise DataError(
                f"{found[split].name}/ and {name}/ are both {split} images",
                code="D21",
                where=root,
                hint=f"name the one to use: --data folder:{path}",
            )
        else:
            found[split] = path
    return {} if any(image_files(path, 1) for path in others) else found


def image_files(root: Path, depth: int = DEEPEST) -> list[Path]:
    """Image files in a folder and below it, folder by folder, by name.

    Hidden ones are passed over, and so are links to folders and folders that cannot be listed.

    Args:
        root: The folder.
        depth: Levels of folders below it.
    """
    found = loose_files(root)
    for entry in _entries(root) if depth else ():
        if _is_dir(entry) and not entry.is_symlink():
            try:
                found += image_files(Path(entry.path), depth - 1)
            except (DataError, ResourceError):
                continue
        if len(found) > MOST_FILES:
            raise DataError(f"more than {MOST_FILES:,} files", code="D21", where=root)
    return found


def visible(root: Path) -> list[Path]:
    """Everything in a folder that is not hidden.

    Raises:
        DataError: It is no folder, or cannot be listed.
    """
    return [Path(entry.path) for entry in _entries(root)]


def loose_files(root: Path) -> list[Path]:
    """Image files that lie in a folder itself, by name."""
    return sorted(
        Path(entry.path)
        for entry in _entries(root)
        if Path(entry.name).suffix.lower() in ENDINGS and not _is_dir(entry)
    )


def walk_classes(root: Path, seen: set[tuple[int, int]] | None = None) -> Tree:
    """The class folders of `root` and the images directly in them.

    Hidden files are passed over. Links are followed once: what has been seen is not seen again.

    Args:
        root: Folder of class folders.
        seen: What other walks have visited.

    Returns:
        The tree; nothing has been opened yet.

    Raises:
        DataError: `root` cannot be listed, or holds too many files.
    """
    tree = Tree(seen=set() if seen is None else seen)
    tree.seen.add(_identity(root.stat()))
    loose = 0
    for entry in _entries(root):
        if _is_dir(entry):
            if _new(entry, tree):
                tree.classes[entry.name] = _class_files(Path(entry.path), root, tree)
        else:
            loose += 1
    if loose:
        tree.notes.append(f"{loose} files beside the class folders are not used")
    tree.classes = dict(sorted(tree.classes.items(), key=lambda item: class_order(item[0])))
    return tree


def class_order(name: str) -> tuple[int, int, str]:
    """Classes that are all digits count as numbers: 2 comes before 10.

    Example:
        >>> sorted(["10", "2", "cat"], key=class_order)
        ['2', '10', 'cat']
    """
    if name.isascii() and name.isdigit() and len(name) < 10:
        return 0, int(name), name
    return 1, 0, name


def _class_files(folder: Path, root: Path, tree: Tree) -> list[Path]:
    """Images of one class folder; subfolders are problems, empty folders are worth a note."""
    files, others, repeated = [], 0, 0
    shown = folder.relative_to(root)
    try:
        entries = _entries(folder)
    except (DataError, ResourceError) as error:
        tree.problems.append(f"{shown}/: {error.what}")
        return []
    for entry in entries:
        if _is_dir(entry):
            tree.problems.append(f"{shown}/{entry.name}/: a folder inside a class folder")
        elif Path(entry.name).suffix.lower() not in ENDINGS:
            others += 1
        elif _new(entry, tree):
            files.append(Path(entry.path))
        else:
            repeated += 1
        if len(files) > MOST_FILES:
            raise DataError(f"more than {MOST_FILES:,} files", code="D21", where=folder)
    files.sort(key=lambda path: path.name)
    if not files and not repeated:
        tree.notes.append(f"{shown}/: no images, left out")
    if others:
        tree.notes.append(f"{shown}/: {others} files are not images by name and are not used")
    if repeated:
        tree.notes.append(f"D22: {shown}/: {repeated} links lead to images already taken")
    return files


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Everything in a folder that is not hidden, by name; links last, so the real thing counts."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except NotADirectoryError:
        raise DataError("not a folder", code="U02", where=folder) from None
    except FileNotFoundError:
        raise DataError("no such folder", code="U02", where=folder) from None
    except PermissionError:
        raise ResourceError("no permission to list", code="I23", where=folder) from None
    except OSError as error:
        raise DataError(f"cannot list: {error.strerror}", code="D22", where=folder) from None
    return sorted(visible, key=lambda entry: (entry.is_symlink(), entry.name))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _new(entry: os.DirEntry[str], tree: Tree) -> bool:
    """Whether the entry was not seen before; dead links count as new, reading will tell."""
    try:
        status = Path(entry.path).stat()
    except OSError:
        return True
    identity = _identity(status)
    if identity in tree.seen:
        if stat.S_ISDIR(status.st_mode):
            tree.notes.append(f"D22: {entry.name}/ leads to a folder already visited; passed over")
        return False
    tree.seen.add(identity)
    return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
