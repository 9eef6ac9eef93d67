"""Lists beside images: which file is of which class (CSV, TSV, or lines of a text file).

What people have: a table with a header (``file,label``, Kaggle's ``ImageId,PredictionString``),
lines of ``NAME NUMBER`` (Caffe's ``val.txt``), or one label per line in the order of the files'
names (the ground truth of an ImageNet copy). A list only says labels: no path is opened because a
list names it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from convscope.data._file import read_file
from convscope.data._image import ENDINGS
from convscope.data._names import IMAGENET_CLASSES, imagenet_classes
from convscope.errors import DataError

LARGEST_LIST = 1 << 26
LIST_ENDINGS = (".csv", ".tsv", ".txt")
FILE_COLUMNS = [
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_name",
    "imagename",
    "image_id",
    "imageid",
    "img",
    "img_name",
    "path",
    "name",
    "id",
]
LABEL_COLUMNS = [
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "category",
    "target",
    "species",
    "breed",
    "synset",
    "wnid",
    "predictionstring",
    "ground_truth",
    "y",
]
SPLIT_COLUMNS = ["split", "set", "subset", "partition"]
CLASS_LISTS = [
    "classes",
    "class_names",
    "names",
    "label_names",
    "synsets",
    "synset_words",
    "wnids",
    "imagenet_classes",
    "imagenet_synsets",
    "loc_synset_mapping",
]
"""Names of text files that name the classes, a line each."""

ONE_PER_LINE = ["label", "truth", "class", "synset", "target"]
"""Words in the names of files whose lines are labels, and nothing else: a README is none."""

WITH_ENDING = re.compile(
    rf"(.*?(?:{'|'.join(re.escape(e) for e in ENDINGS)}))\s+(\S.*)", re.IGNORECASE
)
IMAGENET_PHOTO = re.compile(r"ILSVRC2012_(?:val|test)_\d{8}", re.IGNORECASE)


@dataclass(frozen=True)
class Listed:
    """What one list says.

    Args:
        path: The list.
        labels: Class of each image that is here, in the order of the images' names.
        splits: Word of the split column for each of them; empty without such a column.
        notes: Sentences for the report.
    """

    path: Path
    labels: dict[Path, str]
    splits: dict[Path, str]
    notes: tuple[str, ...]


def read_list(path: Path, images: Sequence[Path], root: Path, beside: Sequence[Path]) -> Listed:
    r"""The labels that a list gives to images.

    Args:
        path: A .csv, .tsv or .txt file.
        images: All image files that labels may be for.
        root: Their folder.
        beside: Folders that may hold the names of numbered classes.

    Returns:
        Labels of the images that are listed.

    Raises:
        DataError: D21, the list contradicts itself, or its numbers have no certain meaning.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "labels.csv"
        ...     _ = table.write_text("file,label\n1.jpg,cat\n2.jpg,dog\n")
        ...     listed = read_list(table, [Path(folder) / "1.jpg"], Path(folder), [])
        >>> list(listed.labels.values()), listed.notes
        (['cat'], ('labels.csv: 1 of 2 listed images is not here',))
    """
    text = read_file(path, limit=LARGEST_LIST, code="D20").data.decode("utf-8-sig", "replace")
    rows = _rows(text, path)
    known = _by_name(images, root)
    if all(len(row) == 1 for row in rows):
        listed = {}
        if any(word in path.stem.lower() for word in ONE_PER_LINE):
            listed = _in_order([row[0] for row in rows], images, path)
        return Listed(path, listed, {}, ())
    rows = [row for row in rows if len(row) > 1]
    file, label, split, body = _columns(rows, known)
    labels: dict[Path, str] = {}
    splits: dict[Path, str] = {}
    missing = 0
    for row in body:
        if len(row) <= max(file, label) or not row[file].strip():
            continue
        image = _find(row[file], known)
        if image is None:
            missing += 1
            continue
        name = _label(row[label])
        if labels.setdefault(image, name) != name:
            raise DataError(
                f"{image.name} is listed as {labels[image]!r} and as {name!r}",
                code="D21",
                where=path,
            )
        if split is not None and split < len(row):
            splits[image] = row[split].strip().lower()
    if not labels:
        return Listed(path, {}, {}, ())
    everything = [_label(row[label]) for row in body if len(row) > label]
    photos = [row[file] for row in body if len(row) > file]
    labels, notes = _named(labels, everything, photos, beside, path)
    if missing:
        total = missing + len(labels)
        verb = "is" if missing == 1 else "are"
        notes += (f"{path.name}: {missing:,} of {total:,} listed images {verb} not here",)
    ordered = {image: labels[image] for image in images if image in labels}
    return Listed(path, ordered, splits, notes)


def _rows(text: str, path: Path) -> list[list[str]]:
    """Cells of every line that is not empty or a comment."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return []
    if path.suffix.lower() == ".txt" and not any(mark in lines[0] for mark in ",\t;"):
        return [_words(line) for line in lines]
    mark = max(",\t;", key=lines[0].count)
    try:
        return [row for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=mark) if row]
    except csv.Error:
        return []


def _words(line: str) -> list[str]:
    """A file with its label, or a label alone; names may hold spaces."""
    match = WITH_ENDING.fullmatch(line.strip())
    if match:
        return [match[1], match[2]]
    first, _, last = line.strip().rpartition(" ")
    return [first, last] if first and last.isdigit() else [line.strip()]


def _by_name(images: Sequence[Path], root: Path) -> dict[str, Path | None]:
    """Images by path below `root`, by name and by name without ending; None if two have it."""
    known: dict[str, Path | None] = {}
    for image in images:
        below = image.relative_to(root)
        for name in {below.as_posix(), below.with_suffix("").as_posix(), image.name, image.stem}:
            known[name] = None if name in known else image
    return known


def _find(cell: str, known: dict[str, Path | None]) -> Path | None:
    name = cell.strip().replace("\\", "/").removeprefix("./")
    for key in (name, PurePosixPath(name).name, PurePosixPath(name).stem):
        if known.get(key) is not None:
            return known[key]
    return None


def _columns(
    rows: list[list[str]], known: dict[str, Path | None]
) -> tuple[int, int, int | None, list[list[str]]]:
    """Which columns hold file, label and split; and the rows below the header."""
    head = [cell.strip().lower() for cell in rows[0]]
    file = next((head.index(name) for name in FILE_COLUMNS if name in head), None)
    label = next((head.index(name) for name in LABEL_COLUMNS if name in head), None)
    split = next((head.index(name) for name in SPLIT_COLUMNS if name in head), None)
    if file is not None and label is None and len(head) == 2:
        label = 1 - file
    if file is not None and label is not None and file != label:
        return file, label, split, rows[1:]
    file = next((i for i, cell in enumerate(rows[0]) if _find(cell, known)), 0)
    return file, 1 if file == 0 else 0, None, rows


def _label(cell: str) -> str:
    """The first word of a Kaggle prediction string (``n03995372 85 1 499 272``), else the cell."""
    words = cell.split()
    if len(words) > 1 and re.fullmatch(r"n\d{8}", words[0]) and words[1].isdigit():
        return words[0]
    return cell.strip()


def _in_order(labels: list[str], images: Sequence[Path], path: Path) -> dict[Path, str]:
    """One label per line for the images in the order of their names."""
    if len(labels) != len(images):
        return {}
    if all(label.strip().isdigit() for label in labels):
        raise DataError(
            "one number per line: the numbers of ImageNet's development kit are in an order of "
            "their own, not those of classes",
            code="D21",
            where=path,
            expected="a class name or a WordNet id (n01440764) on each line",
            hint="meta.mat of the development kit says which WordNet id each number is",
        )
    ordered = sorted(images, key=lambda image: image.name)
    return {image: label.strip() for image, label in zip(ordered, labels, strict=True)}


def _named(
    labels: dict[Path, str],
    everything: list[str],
    photos: list[str],
    beside: Sequence[Path],
    path: Path,
) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Names for numbers, from a list of names beside it, or ImageNet's for ImageNet's photos."""
    if not all(label.isascii() and label.isdigit() and len(label) < 10 for label in everything):
        return labels, ()
    numbers = [int(label) for label in everything]
    name_list = _name_list(beside, path)
    if name_list is not None:
        file, names = name_list
        first = 1 if min(numbers) >= 1 and max(numbers) == len(names) else 0
        if max(numbers) - first < len(names):
            note = f"{path.name}: numbers are lines of {file.name}, counted from {first}"
            return {image: names[int(n) - first] for image, n in labels.items()}, (note,)
    if all(IMAGENET_PHOTO.search(photo) for photo in photos):
        if min(numbers) > 0 or max(numbers) >= IMAGENET_CLASSES:
            raise DataError(
                f"numbers from {min(numbers)} to {max(numbers)}: they may be ImageNet's class "
                "numbers or those of the development kit, which are others",
                code="D21",
                where=path,
                expected="numbers from 0 to 999, names, or WordNet ids",
                hint="put the names of the classes beside it as classes.txt, one per line",
            )
        table = imagenet_classes()
        note = f"{path.name}: numbers are ImageNet's, counted from 0 in the order of WordNet ids"
        return {image: " ".join(table[int(n)]) for image, n in labels.items()}, (note,)
    return labels, ()


def _name_list(beside: Sequence[Path], path: Path) -> tuple[Path, list[str]] | None:
    for folder in beside:
        for stem in (*CLASS_LISTS, "labels"):
            file = next(
                (one for one in sorted(folder.glob("*.txt")) if one.stem.lower() == stem), None
            )
            if file is None or file == path:
                continue
            text = read_file(file, limit=LARGEST_LIST, code="D20").data.decode(
                "utf-8-sig", "replace"
            )
            names = [line.strip() for line in text.splitlines() if line.strip()]
            heads = [re.match(r"(\d+)[\s:,]+(\S.*)", name) for name in names]
            if names and all(
                head is not None and int(head[1]) == i for i, head in enumerate(heads)
            ):
                names = [head[2] for head in heads if head is not None]
            if names:
                return file, names
    return None
