"""Select images: `digits:test/0-9`, files, folders; and a random sample of rows."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope._readable import readable
from convscope.data._classes import match_classes
from convscope.data._dataset import Dataset
from convscope.data._file import check_memory
from convscope.data._image import ENDINGS, Fit, read_pixels
from convscope.data._layouts import class_order
from convscope.data._names import class_number
from convscope.data._open import Chosen, open_dataset, understood
from convscope.errors import ConvscopeError, DataError, ImageError, UsageError
from convscope.files import usable_path
from convscope.progress import announce, stage
from convscope.types import Images, Labels, TakesImages


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Images chosen for a method.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) true classes, or None if they are not known for every image.
        names: What to call each image: ``"mnist:test/7"`` or the file's path.
        notes: What was done to some of them on the way (colors, transparency, orientation).
        refused: Files left out, with the reason.
    """

    images: Images
    labels: Labels | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)


def select_files(spec: str, *, like: TakesImages, fit: Fit = "crop") -> Selection:
    """Images of one file, or those of a folder or pattern that can be read.

    Args:
        spec: A file, a folder of images or of class folders, or a glob pattern.
        like: Says the shape, and the class names that folders may have.
        fit: How files are brought to size.

    Returns:
        Images, with labels if they lie in folders named like the classes.

    Raises:
        DataError: No file, or none that can be read.
    """
    path = usable_path(spec, DataError)
    files = files_of(spec)
    several = files != [path]
    channels, height, width = like.input_shape
    rule = getattr(like, "resize", None)
    check_memory(4 * len(files) * channels * height * width, f"{len(files):,} images", where=spec)
    images = []
    folders: list[str] = []
    names: list[str] = []
    notes: list[str] = []
    refused: list[str] = []
    for count, file in enumerate(files, 1):
        if several:
            announce(count / len(files), spec)
        try:
            pixels, remarks = read_pixels(
                file, channels=channels, size=(height, width), fit=fit, resize=rule
            )
        except ConvscopeError as error:
            if not several:
                raise _with_specs(error, spec) from None
            refused.append(f"{file}: {error.code} {error.what}")
            continue
        images.append(pixels)
        names.append(str(file))
        notes.extend(f"{file}: {remark}" for remark in remarks)
        if several and file.parent != path:
            folders.append(file.parent.name)
    if not images:
        what = f"none of {len(files)} files can be read: {refused[0]}"
        raise ImageError(what, code="I21", where=spec)
    return Selection(
        images=torch.stack(images).to(torch.float32).div_(255),
        labels=_labels(folders, like) if len(folders) == len(images) else None,
        names=tuple(names),
        notes=tuple(notes),
        refused=tuple(refused),
    )


def _labels(folders: list[str], like: TakesImages) -> Labels | None:
    """The network's classes of the folders' names; None unless every one has a match."""
    names = sorted(set(folders))
    try:
        match = match_classes(names, like.class_names)
    except DataError:
        return None
    if match.how == "order" or None in match.numbers:
        return None
    numbers = dict(zip(names, match.numbers, strict=True))
    return torch.tensor([numbers[folder] for folder in folders])


def files_of(spec: str) -> list[Path]:
    """The file that was named, or the image files of a folder or pattern.

    Raises:
        DataError: U02, there are none.
    """
    path = usable_path(spec, DataError)
    if not path.is_dir() and (path.exists() or not glob.has_magic(spec)):
        return [path]
    files = _expand(path, spec)
    if not files:
        kinds = "PNG, JPEG, GIF, BMP or WebP files"
        raise DataError("no images here", code="U02", where=spec, expected=kinds)
    return files


def _expand(path: Path, spec: str) -> list[Path]:
    """Files of a folder (or of its class folders) or of a pattern, in a stable order."""
    if not path.is_dir():
        entries = [Path(name) for name in sorted(glob.glob(str(path)))]  # noqa: PTH207 - absolute too
    else:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        folders = [entry for entry in entries if entry.is_dir()]
        folders.sort(key=lambda folder: class_order(folder.name))
        if folders and not any(entry.is_file() for entry in entries):
            entries = [file for folder in folders for file in sorted(folder.iterdir())]
    return [file for file in entries if file.suffix.lower() in ENDINGS and not file.is_dir()]


def _with_specs(error: ConvscopeError, spec: str) -> ConvscopeError:
    """A missing file may have been meant as the name of a data set."""
    if error.code == "U02" and ":" in spec:
        error.expected = "an image file, or DATA:SPLIT/ROWS such as mnist:test/7"
    return error


def select_images(
    spec: str | Path | Sequence[str | Path],
    *,
    like: TakesImages,
    data_dir: str | Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
    skip_bad: bool = False,
    fit: Fit = "crop",
) -> Selection:
    """Images of a data set, of files, or of both, ready for a network.

    Args:
        spec: ``"mnist:test/7"``, ``"mnist:test/0-999"`` (both ends included),
            ``"digits:validation/0,5,9"``, ``"cifar10:test"`` (all), ``"mnist:test?class=7"`` (the
            sevens), ``"mnist:test?class=7/0-4"`` (the first five of them), ``"folder:DIR:all/3"``,
            ``"folder:DIR"``, an image file, a folder of images or of class folders, a glob
            pattern; or several of these.
        like: The network (or anything with `input_shape` and `class_names`). Files are resized to
            its input shape; data sets must have it.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: Go on with data files whose checksum is not the registered one.
        skip_bad: Leave unreadable files of a data set out; they are listed in
            `Selection.refused`.
        fit: How files are brought to size: ``"crop"``, ``"stretch"`` or ``"pad"``.

    Returns:
        Images with names, and labels where all are known, in the network's numbers: classes are
        matched by name (`match_classes`). Images of classes that the network lacks are left out,
        unless no other was chosen. Files of a folder or pattern that cannot be read are left out
        and listed in `Selection.refused`.

    Raises:
        UsageError: A specification that cannot be understood, or rows that do not exist.
        DataError: Data or images cannot be read; a file named by itself is never left out.

    Example:
        >>> from types import SimpleNamespace
        >>> network = SimpleNamespace(input_shape=(1, 28, 28), class_names=tuple("0123456789"))
        >>> chosen = select_images("digits:test/0-2,7", like=network)
        >>> chosen.names
        ('digits:test/0', 'digits:test/1', 'digits:test/2', 'digits:test/7')
    """
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    opened: dict[str, Dataset] = {}
    parts = []
    for count, one in enumerate(specs):
        with stage(count / len(specs), (count + 1) / len(specs)):
            chosen = None if isinstance(one, Path) else understood(one)
            if chosen is None:
                parts.append(select_files(str(one), like=like, fit=fit))
                continue
            if chosen.data not in opened:
                opened[chosen.data] = open_dataset(
                    chosen.data,
                    data_dir=data_dir,
                    offline=offline,
                    accept_modified=accept_modified,
                    skip_bad=skip_bad,
                    input_shape=like.input_shape,
                    resize=getattr(like, "resize", None),
                )
            data = opened[chosen.data]
            parts.append(_from_dataset(data, chosen.split, _rows(data, chosen, one), like))
    return _joined(parts)


def _rows(data: Dataset, chosen: Chosen, where: str | Path) -> list[int]:
    """The rows of its split that a specification names: of all, or of those of a class."""
    split = data.split(chosen.split)
    among = list(range(len(split)))
    if chosen.named is not None:
        number = class_number(chosen.named, data.class_names)
        among = (split.labels == number).nonzero()[:, 0].tolist()
        if not among:
            raise UsageError(
                f"no {chosen.split} image of class {data.class_names[number]!r}",
                code="U01",
                where=str(where),
            )
    return [among[place] for place in parse_rows(chosen.rows, len(among), where=str(where))]


def parse_rows(text: str | None, count: int, *, where: str) -> list[int]:
    """Row numbers from ``"7"``, ``"0-999"``, ``"0,5,9"`` or a mixture; all if there is none.

    Raises:
        UsageError: Not numbers, backwards, or beyond the last row.

    Example:
        >>> parse_rows("2,5-7", 10, where="digits:test/2,5-7")
        [2, 5, 6, 7]
    """
    if text is None:
        return list(range(count))
    rows: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", piece, re.ASCII)
        if not match:
            raise UsageError(
                f"{piece!r} names no images", code="U01", where=where, expected="7, 0-999 or 0,5,9"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= count:
            raise UsageError(
                f"no images {piece.strip()}",
                code="U01",
                where=where,
                expected=f"numbers from 0 to {count - 1}",
            )
        rows.extend(range(first, last + 1))
    return rows


def _from_dataset(data: Dataset, split: str, rows: list[int], like: TakesImages) -> Selection:
    if data.input_shape != tuple(like.input_shape):
        raise DataError(
            f"images of {data.name} are {_times(data.input_shape)}",
            code="U10",
            expected=f"{_times(like.input_shape)}, which is what this network takes",
            hint="choose the data set that the network was trained on",
        )
    images = data.split(split)
    theirs = images.labels[torch.tensor(rows, dtype=torch.int64)]
    rows, labels, notes = _in_their_numbers(data, rows, theirs, like)
    return Selection(
        images=images.to_float(rows),
        labels=labels,
        names=tuple(f"{data.name}:{split}/{row}" for row in rows),
        notes=(*notes, *data.warnings),
        refused=data.refused,
    )


def _in_their_numbers(
    data: Dataset, rows: list[int], labels: Labels, like: TakesImages
) -> tuple[list[int], Labels | None, tuple[str, ...]]:
    """Rows whose class the network has, with its numbers; all rows without labels if none is."""
    try:
        match = match_classes(data.class_names, like.class_names, where=data.name)
    except DataError as error:
        return rows, None, (f"true classes are not known to the network: {error.what}",)
    if match.how == "equal":
        return rows, labels, ()
    numbers = [match.numbers[label] for label in labels.tolist()]
    known = [place for place, number in enumerate(numbers) if number is not None]
    if not known:
        names = ", ".join(sorted({data.class_names[label] for label in labels.tolist()})[:5])
        return rows, None, (f"the network has no class of the name {names}",)
    lost = len(rows) - len(known)
    notes = match.notes
    if lost:
        notes += (f"{lost} image{'s' * (lost > 1)} of classes that the network lacks left out",)
    return [rows[k] for k in known], torch.tensor([numbers[k] for k in known]), notes


def _joined(parts: list[Selection]) -> Selection:
    if not parts:
        raise UsageError("no images were named", code="U01", expected="mnist:test/7 or a file")
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return Selection(
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat(labels) if len(labels) == len(parts) else None,
        names=tuple(name for part in parts for name in part.names),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        refused=tuple(item for part in parts for item in part.refused),
    )


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


MOST_SEED = 2**63


def sample_rows(labels: Labels, count: int, *, seed: int = 0, balanced: bool = False) -> Tensor:
    """Rows of a stratified random sample: each class in proportion, random within the class.

    Data sets are often sorted by class, so their first images are all of one: every command and
    study that looks at some of the images takes its rows from here.

    The sample is a function of its arguments alone: no generator, the same on every machine and
    version. Its order is part of it: the first k rows of a sample are the sample of size k, and
    classes take turns, so a part of a sample is a sample again.

    Args:
        labels: (N,) class numbers.
        count: How many rows; all N if there are fewer.
        seed: Another seed, another sample.
        balanced: The same number of every class instead of a number in proportion: for pictures
            to look at, never for a share of a whole.

    Returns:
        (min(count, N),) different rows. Of n images of a class among N, about ``count * n / N`` are
        in it, to the next whole number; a class with less than half an image to its name is left
        out.

    Raises:
        UsageError: U05, count below 1; U12, a seed outside 0 to 2^63 - 1.

    Example:
        Sorted by class, three times as many zeros as ones:

        >>> labels = torch.tensor([0] * 30 + [1] * 10)
        >>> labels[sample_rows(labels, 8)].bincount().tolist()
        [6, 2]

    Source:
        Seats in proportion: A. Sainte-Lague, 1910 (the r-th image of a class of n ranks at
        ``(2 r + 1) / 2 n``). Order within a class: splitmix64 of the seed and the row (G. Steele,
        D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    if count < 1:
        raise UsageError(f"{count} images", code="U05", expected="at least 1")
    if not 0 <= seed < MOST_SEED:
        raise UsageError(f"seed {seed}", code="U12", expected="0 to 2^63 - 1")
    classes: NDArray[np.int64] = labels.detach().cpu().numpy().astype(np.int64)
    total = len(classes)
    keys = _mixed(np.arange(total, dtype=np.uint64) + _mixed(np.array([seed], dtype=np.uint64)))
    by_class = np.lexsort((keys, classes))
    _, starts, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    place = np.arange(total) - np.repeat(starts, sizes)
    rank = np.empty(total)
    rank[by_class] = place if balanced else (2 * place + 1) / (2 * np.repeat(sizes, sizes))
    order = np.lexsort((keys, rank))
    return torch.from_numpy(order[: min(count, total)].astype(np.int64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64: each number to another that looks random; arithmetic is modulo 2^64."""
    z = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
