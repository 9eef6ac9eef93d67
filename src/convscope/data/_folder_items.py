"""Which image of a folder belongs to which class and split."""

from dataclasses import dataclass, replace
from pathlib import Path

from convscope.data._split import TEST_SHARE, VALIDATION_SHARE, stratified_parts
from convscope.data._tree import split_folders, walk_classes
from convscope.errors import DataError

FEWEST_PER_CLASS = 3


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
    """

    items: list[Item]
    class_names: tuple[str, ...]
    notes: list[str]
    problems: list[str]


def take_inventory(folder: Path, *, seed: int = 0) -> Inventory:
    """List the images of a folder and give each its class and split.

    Args:
        folder: Class folders, or ``train`` / ``val`` / ``test`` of class folders.
        seed: Another seed, another cut of what has no folder of its own.

    Returns:
        The inventory.

    Raises:
        DataError: ``D21``: fewer than two usable classes; or the folder cannot be listed.
    """
    roots = split_folders(folder) or {"train": folder}
    seen: set[tuple[int, int]] = set()
    trees = {split: walk_classes(root, seen) for split, root in roots.items()}
    prefix = {split: f"{root.name}/" if root != folder else "" for split, root in roots.items()}
    notes = [note for tree in trees.values() for note in tree.notes]
    problems = [prefix[split] + text for split, tree in trees.items() for text in tree.problems]
    needed = 1 if len(trees) == 3 else FEWEST_PER_CLASS
    names = []
    for name, files in trees["train"].classes.items():
        if len(files) >= needed:
            names.append(name)
        elif files:
            problems.append(f"{prefix['train']}{name}/: {len(files)} image(s), {needed} are needed")
    if len(names) < 2:
        raise DataError(
            f"{len(names)} class folders with images" + _listed(problems),
            code="D21",
            where=folder,
            expected="two or more folders, one per class, of PNG, JPEG, GIF, BMP or WebP images",
        )
    for split, tree in trees.items():
        for name in sorted(set(tree.classes) ^ set(trees["train"].classes)):
            problems.append(f"{prefix[split]}{name}/: not a class in every split")
    items = [
        Item(split, label, path, path.relative_to(folder).as_posix())
        for split, tree in trees.items()
        for label, name in enumerate(names)
        for path in tree.classes.get(name, [])
    ]
    return Inventory(_cut(items, set(trees), seed), tuple(map(_as_text, names)), notes, problems)


def _cut(items: list[Item], present: set[str], seed: int) -> list[Item]:
    """Take the splits that have no folder out of the training images."""
    shares = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}
    absent = [split for split in shares if split not in present]
    rows = [row for row, item in enumerate(items) if item.split == "train"]
    parts = stratified_parts(
        [items[row].label for row in rows],
        [items[row].name for row in rows],
        shares=[shares[split] for split in absent],
        seed=seed,
    )
    for split, part in zip(absent, parts, strict=False):
        for place in part:
            items[rows[place]] = replace(items[rows[place]], split=split)
    return items


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
