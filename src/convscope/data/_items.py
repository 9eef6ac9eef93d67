"""Image files of a data set before one is opened: where each lies, its class, its split.

A file may be a part of another one: of a tar shard, of a table of Arrow. Nothing is unpacked; what
is needed is read from where it lies.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from convscope.data._file import FileBytes
from convscope.data._image import LARGEST_FILE, read_image_file
from convscope.data._stratified import TEST_SHARE, VALIDATION_SHARE, stratified_parts
from convscope.errors import DataError, ImageError
from convscope.files import Kind, opened

SPLITS = ("train", "validation", "test")
SHARES = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}

WHOLE = Kind(what="a file that holds images", largest=1 << 50, damaged="D27")
"""A shard or table: it is never read whole."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image file.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.
        label: Class number.
        path: Where it is, or the file of which it is a part.
        name: What to call it: its path relative to the data set's folder, or its name in the file.
        span: First byte and length, if it is a part of `path`.
    """

    split: str
    label: int
    path: Path
    name: str
    span: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """What error texts call it."""
        return str(self.path) if self.span is None else f"{self.path}: {self.name}"

    @property
    def ending(self) -> str:
        """The ending of its name."""
        return self.path.suffix if self.span is None else PurePosixPath(self.name).suffix

    def read(self) -> FileBytes:
        """Its bytes and their hash.

        Raises:
            ImageError: It is not there, no regular file, too large, or cut off.
            ResourceError: It may not be read.
        """
        if self.span is None:
            return read_image_file(self.path)
        start, size = self.span
        if size > LARGEST_FILE:
            raise ImageError(f"file has {size:,} bytes", code="I02", where=self.where)
        with opened(self.path, WHOLE) as (file, _):
            file.seek(start)
            data = file.read(size)
        if len(data) != size:
            raise ImageError("image file is cut off", code="I05", where=self.where)
        return FileBytes(self.path, data, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Inventory:
    """Everything that a data set holds, before any image is opened.

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


def with_splits(
    items: list[Item], names: Sequence[str], present: set[str], *, seed: int = 0
) -> tuple[list[Item], tuple[str, ...], list[str]]:
    """Cut the splits that nobody made out of the training images.

    Args:
        items: Images; those that nobody split are training images.
        names: Of the classes.
        present: Splits that are there; ``""`` stands for images that nobody split.
        seed: Another seed, another cut.

    Returns:
        The items, the splits that were cut, and what has to be said of classes that are too small.
    """
    absent = tuple(split for split in SHARES if split not in present)
    if not absent or not present & {"", "train"}:
        return items, (), []
    items, kept = _cut(items, absent, seed)
    if not kept:
        return items, absent, []
    few = ", ".join(f"{names[label]} ({count})" for label, count in kept[:3])
    return items, absent, [
        f"{len(kept)} of {len(names)} classes have too few images to cut "
        f"{' and '.join(absent)} images from, and stay whole: {few}"
        + (", ..." if len(kept) > 3 else "")
    ]  # fmt: skip


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
    items = list(items)
    for split, part in zip(absent, parts, strict=False):
        for place in part:
            items[rows[place]] = replace(items[rows[place]], split=split)
    return items, whole


def as_text(name: str) -> str:
    """File names may hold bytes that no text file can: those are escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def listed(problems: Sequence[str]) -> str:
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
            f"{len(problems)} bad item{'s' if len(problems) > 1 else ''}{listed(problems)}",
            code="D21",
            where=where,
            hint="mend or remove them, or leave them out with --skip-bad",
        )
