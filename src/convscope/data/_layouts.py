"""The layouts in which people keep labeled images, told apart without opening an image.

Class folders; ``train``, ``val``, ``test`` folders (some or one of them) of any layout; image files
with a list beside them; image files whose names begin with their class.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from convscope.data._image import ENDINGS
from convscope.data._lists import CLASS_LISTS, LIST_ENDINGS, Listed, read_list
from convscope.data._names import WORDNET
from convscope.errors import DataError, ResourceError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
MOST_FILES = 2_000_000
DEEPEST = 4
"""Levels of folders in which a list may name images."""

NUMBERED = re.compile(r"(.+?)[ _.\-]*[ _.\-(\[]\d+[)\]]?")
"""``bell_pepper_001``, ``bell pepper (2)``, ``cat.17``: a class and a number."""

ATTACHED = re.compile(r"(.*\D)\d+")
"""``cat17``: only if several files agree on what stands before the number."""


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


def read_layout(folder: Path) -> dict[str, Tree]:
    """The images of a folder by split and class.

    Args:
        folder: The folder, or a list of files and labels in it.

    Returns:
        One tree per split that is there; the one tree of images that nobody split is called ``""``.

    Raises:
        DataError: D21, the folder is ambiguous or a list in it cannot be read; U02, no such folder.
    """
    seen: set[tuple[int, int]] = set()
    if folder.is_file():
        images = image_files(folder.parent)
        return _by_split(read_list(folder, images, folder.parent, [folder.parent]), folder.parent)
    folder = _unwrapped(folder)
    roots = split_folders(folder)
    if roots:
        return {split: _one(root, split, folder, seen) for split, root in roots.items()}
    listed = _list_of(folder, "", [folder])
    return _by_split(listed, folder) if listed else {"": _unlisted(folder, seen)}


def _unwrapped(folder: Path) -> Path:
    """The folder that counts: archives often hold one folder, and everything in that."""
    for _ in range(DEEPEST):
        entries = visible(folder)
        inner = entries[0] if len(entries) == 1 else folder
        splits = {word for words in SPLIT_FOLDERS.values() for word in words}
        if inner == folder or not inner.is_dir() or inner.is_symlink():
            break
        if inner.name.lower() in splits or loose_files(inner):
            break
        folder = inner
    return folder


def class_in_name(stem: str) -> str:
    """The class that a file name begins with: what is left of it without its number.

    Example:
        >>> [class_in_name(stem) for stem in ("bell_pepper_001", "bell pepper", "cat.17", "mp3")]
        ['bell_pepper', 'bell pepper', 'cat', 'mp3']
    """
    match = NUMBERED.fullmatch(stem)
    return match[1] if match else stem


def _one(root: Path, split: str, folder: Path, seen: set[tuple[int, int]]) -> Tree:
    """One split folder in whatever layout it has."""
    listed = _list_of(root, split, [root, folder])
    if listed:
        tree = Tree()
        _fill(tree, listed, root, set(listed.labels))
    else:
        tree = _unlisted(root, seen)
    tree.problems = [f"{root.name}/{text}" for text in tree.problems]
    tree.notes = [f"{root.name}/: {text}" for text in tree.notes]
    return tree


def _unlisted(root: Path, seen: set[tuple[int, int]]) -> Tree:
    """Class folders, or else files named by class."""
    tree = walk_classes(root, seen)
    if any(tree.classes.values()):
        return tree
    files = loose_files(root)
    if not files:
        return tree
    stems = [class_in_name(file.stem) for file in files]
    attached = [None if WORDNET.fullmatch(stem) else ATTACHED.fullmatch(stem) for stem in stems]
    starts = [match[1] if match else stem for match, stem in zip(attached, stems, strict=True)]
    for file, stem, start in zip(files, stems, starts, strict=True):
        name = start if starts.count(start) > 1 and stem != start else stem
        tree.classes.setdefault(name, []).append(file)
    tree.notes = [note for note in tree.notes if "beside the class folders" not in note]
    known = sum(map(bool, tree.classes.values()))
    tree.notes.append(f"no class folders: {known} classes are read from the names of the files")
    return tree


def _by_split(listed: Listed, folder: Path) -> dict[str, Tree]:
    """One tree, or one per word of the list's split column."""
    words = {word: split for split, names in SPLIT_FOLDERS.items() for word in names}
    parts: dict[str, set[Path]] = {}
    for image in listed.labels:
        word = listed.splits.get(image, "")
        if word not in words and listed.splits:
            raise DataError(
                f"split {word!r} of {image.name}",
                code="D21",
                where=listed.path,
                expected="train, validation or test",
            )
        parts.setdefault(words.get(word, ""), set()).add(image)
    trees = {}
    for split, images in parts.items():
        trees[split] = Tree()
        _fill(trees[split], listed, folder, images)
    if not trees:
        raise DataError(
            "names no image that is here",
            code="D21",
            where=listed.path,
            expected="a table with the columns file and label, or lines of FILE LABEL",
        )
    return trees


def _fill(tree: Tree, listed: Listed, root: Path, images: set[Path]) -> None:
    for image, label in listed.labels.items():
        if image in images:
            tree.classes.setdefault(label, []).append(image)
    unlisted = len(image_files(root)) - len(listed.labels)
    tree.notes.append(f"labels are those of {listed.path.name}")
    tree.notes.extend(listed.notes)
    if unlisted > 0:
        tree.notes.append(f"{unlisted:,} images are not in {listed.path.name} and are not used")


def _list_of(root: Path, split: str, places: list[Path]) -> Listed | None:
    """The list that labels the images of `root`, if it is not made of class folders.

    Raises:
        DataError: D21, two lists say different things, or the only one cannot be understood.
    """
    if sum(map(bool, walk_classes(root).classes.values())) > 1:
        return None
    images = image_files(root)
    if not images:
        return None
    words = SPLIT_FOLDERS.get(split, ())
    best: Listed | None = None
    for place in places:
        for path in visible(place):
            own = place == root or not split or any(word in path.stem.lower() for word in words)
            names_only = path.suffix.lower() == ".txt" and path.stem.lower() in CLASS_LISTS
            if path.suffix.lower() not in LIST_ENDINGS or not own or names_only:
                continue
            if not path.is_file():
                continue
            listed = read_list(path, images, root, places)
            if not listed.labels or (best and len(listed.labels) < len(best.labels)):
                continue
            if best and len(listed.labels) == len(best.labels) and listed.labels != best.labels:
                raise DataError(
                    f"{best.path.name} and {path.name} give other labels to the same images",
                    code="D21",
                    where=root,
                    hint=f"name the one to use: --data folder:{path}",
                )
            best = listed
    return best


def split_folders(root: Path) -> dict[str, Path]:
    """``train``, ``validation`` and ``test`` folders, if those are what `root` is made of.

    One of them is enough. Folders without a single image in or below them, such as annotations,
    do not count.

    Raises:
        DataError: `root` cannot be listed; D21, two folders of the same split.
    """
    folders = {entry.name: Path(entry.path) for entry in _entries(root) if _is_dir(entry)}
    splits = {word: split for split, words in SPLIT_FOLDERS.items() for word in words}
    roots: dict[str, Path] = {}
    others = []
    for name, path in folders.items():
        split = splits.get(name.lower())
        if split is None:
            others.append(path)
        elif split in roots:
            raise DataError(
                f"{roots[split].name}/ and {name}/ are both {split} images",
                code="D21",
                where=root,
                hint=f"name the one to use: --data folder:{path}",
            )
        else:
            roots[split] = path
    return {} if any(image_files(path, 1) for path in others) else roots


def image_files(root: Path, depth: int = DEEPEST) -> list[Path]:
    """Image files in a folder and below it, folder by folder, by name.

    Hidden ones are passed over, and so are links to folders and folders that cannot be listed.

    Args:
        root: The folder.
        depth: Levels of folders below it.
    """
    files = loose_files(root)
    for entry in _entries(root) if depth else ():
        if _is_dir(entry) and not entry.is_symlink():
            try:
                files += image_files(Path(entry.path), depth - 1)
            except (DataError, ResourceError):
                continue
        if len(files) > MOST_FILES:
            raise DataError(f"more than {MOST_FILES:,} files", code="D21", where=root)
    return files


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
