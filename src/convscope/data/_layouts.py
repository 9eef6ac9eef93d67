"""The layouts in which people keep labeled images, told apart without opening an image.

Class folders; ``train``, ``val``, ``test`` folders (some or one of them) of any layout; image files
with a list beside them; image files whose names begin with their class.
"""

from __future__ import annotations

import re
from pathlib import Path

from convscope.data._lists import CLASS_LISTS, LIST_ENDINGS, Listed, read_list
from convscope.data._names import WORDNET
from convscope.data._tree import (
    DEEPEST,
    SPLIT_FOLDERS,
    Tree,
    image_files,
    loose_files,
    split_folders,
    visible,
    walk_classes,
)
from convscope.errors import DataError

NUMBERED = re.compile(r"(.+?)[ _.\-]*[ _.\-(\[]\d+[)\]]?")
"""``bell_pepper_001``, ``bell pepper (2)``, ``cat.17``: a class and a number."""

ATTACHED = re.compile(r"(.*\D)\d+")
"""``cat17``: only if several files agree on what stands before the number."""


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
            found = read_list(path, images, root, places)
            if not found.labels or (best and len(found.labels) < len(best.labels)):
                continue
            if best and len(found.labels) == len(best.labels) and found.labels != best.labels:
                raise DataError(
                    f"{best.path.name} and {path.name} give other labels to the same images",
                    code="D21",
                    where=root,
                    hint=f"name the one to use: --data folder:{path}",
                )
            best = found
    return best
