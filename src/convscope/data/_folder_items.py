"""Which image of a folder belongs to which class and split."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from convscope.data._layouts import read_layout
from convscope.data._split import TEST_SHARE, VALIDATION_SHARE, stratified_parts
from convscope.data._tree import Tree, class_order
from convscope.errors import DataError


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
    found = {name for tree in trees.values() for name, files in tree.classes.items() if files}
    names = sorted(found, key=class_order)
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


def _listed(problems: list[str]) -> str:
    """The first five problems, as the rest of a sentence."""
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f": {'; '.join(problems[:5])}{more}" if problems else ""


def stop_on(problems: list[str], folder: Path, *, skip_bad: bool) -> None:
    """Refuse the folder because of its problems, unless they are to be skipped.

    Raises:
        DataError: ``D21`` with the first five.
    """
    if problems and not skip_bad:
        raise DataError(
            f"{len(problems)} bad item{'s' if len(problems) > 1 else ''}{_listed(problems)}",
            code="D21",
            where=folder,
            hint="mend or remove them, or leave them out with --skip-bad",
        )
