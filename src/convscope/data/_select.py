"""select_images: the images that a command is about, from one short specification."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from convscope.data._dataset import Split
from convscope.data._download import Progress
from convscope.data._image import read_pixels
from convscope.data._memory import check_memory
from convscope.data._open import DATASETS, open_dataset
from convscope.data._picture import ENDINGS, Fit
from convscope.data._tree import class_order
from convscope.errors import ConvscopeError, DataError, ImageError, UsageError
from convscope.types import Images, Labels

DATASET_SPEC = re.compile(r"(?P<data>[\w-]+|folder:.+):(?P<split>[a-z]+)(?:/(?P<rows>[^/]*))?")


class TakesImages(Protocol):
    """Anything that says which images it takes: a `Classifier`, for example."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Images chosen for a method.

    Args:
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


def select_images(
    spec: str | Path | Sequence[str | Path],
    *,
    like: TakesImages,
    data_dir: Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
    fit: Fit = "crop",
    progress: Progress | None = None,
) -> Selection:
    """Images of a data set, of files, or of both, ready for a network.

    Args:
        spec: ``"mnist:test/7"``, ``"mnist:test/0-999"`` (both ends included),
            ``"digits:validation/0,5,9"``, ``"cifar10:test"`` (all), ``"folder:DIR:test/3"``, an
            image file, a folder of images or of class folders, a glob pattern; or several of these.
        like: The network (or anything with `input_shape` and `class_names`). Files are resized to
            its input shape; data sets must have it.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: Go on with data files whose checksum is not the registered one.
        fit: How files are brought to size: ``"crop"``, ``"stretch"`` or ``"pad"``.
        progress: Called during downloads.

    Returns:
        Images with names, and labels where all are known. Files of a folder or pattern that cannot
        be read are left out and listed in `Selection.refused`.

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
    parts = []
    for one in [spec] if isinstance(spec, str | Path) else spec:
        match = None if isinstance(one, Path) else DATASET_SPEC.fullmatch(one)
        if match and (match["data"] in DATASETS or match["data"].startswith("folder:")):
            data = open_dataset(
                match["data"],
                data_dir=data_dir,
                offline=offline,
                accept_modified=accept_modified,
                input_shape=like.input_shape,
                progress=progress,
            )
            split = data.split(match["split"])
            rows = parse_rows(match["rows"], len(split), where=str(one))
            parts.append(_from_split(split, rows, data.name, data.warnings, like))
        else:
            parts.append(_from_files(str(one), like, fit))
    return _joined(parts)


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


def check_images(images: Tensor, *, where: str = "images") -> None:
    """Refuse tensors that are not float images in [0, 1] (row I24).

    Raises:
        ImageError: With the smallest and largest value and the likely cause.

    Example:
        >>> check_images(torch.tensor([[[[0.0, 254.96]]]]))
        Traceback (most recent call last):
        convscope.errors.ImageError: images: pixels reach from 0 to 254.96
          expected: float values in [0, 1]
          fix: divide by 255
    """
    if images.ndim != 4 or not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ImageError(
            f"got {kind} of shape {tuple(images.shape)}",
            code="I24",
            where=where,
            expected="floats of shape (N, C, H, W) in [0, 1]",
            hint="divide by 255" if images.dtype == torch.uint8 else "",
        )
    if not images.numel():
        return
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        numbers = f"pixels reach from {low:g} to {high:g}"
        hint = "divide by 255" if high > 5 else "normalization belongs into the Classifier"
        if low != low or high != high or abs(low) == float("inf") or high == float("inf"):
            numbers, hint = "some pixels are NaN or infinite", ""
        raise ImageError(
            numbers, code="I24", where=where, expected="float values in [0, 1]", hint=hint
        )


def _from_split(
    split: Split, rows: list[int], data: str, notes: tuple[str, ...], like: TakesImages
) -> Selection:
    shape = tuple(split.images.shape[1:])
    if shape != tuple(like.input_shape):
        raise DataError(
            f"images of {data} are {_times(shape)}",
            code="U10",
            expected=f"{_times(like.input_shape)}, which is what this network takes",
            hint="choose the data set that the network was trained on",
        )
    return Selection(
        images=split.floats(rows),
        labels=split.labels[torch.tensor(rows, dtype=torch.int64)],
        names=tuple(f"{data}:{split.name}/{row}" for row in rows),
        notes=notes,
    )


def _from_files(spec: str, like: TakesImages, fit: Fit) -> Selection:
    """Images of one file, or those of a folder or pattern that can be read."""
    path = Path(spec).expanduser()
    several = path.is_dir() or (not path.exists() and glob.has_magic(spec))
    files = _expand(path, spec) if several else [path]
    if several and not files:
        kinds = "PNG, JPEG, GIF, BMP or WebP files"
        raise DataError("no images here", code="U02", where=spec, expected=kinds)
    channels, height, width = like.input_shape
    check_memory(4 * len(files) * channels * height * width, f"{len(files):,} images", where=spec)
    images, labels, names, notes, refused = [], [], [], [], []
    for file in files:
        try:
            pixels, remarks = read_pixels(file, channels=channels, size=(height, width), fit=fit)
        except ConvscopeError as error:
            if not several:
                raise _with_specs(error, spec) from None
            refused.append(f"{file}: {error.code} {error.what}")
            continue
        images.append(pixels)
        names.append(str(file))
        notes.extend(f"{file}: {remark}" for remark in remarks)
        if several and file.parent != path and file.parent.name in like.class_names:
            labels.append(like.class_names.index(file.parent.name))
    if not images:
        what = f"none of {len(files)} files can be read: {refused[0]}"
        raise ImageError(what, code="I21", where=spec)
    return Selection(
        images=torch.stack(images).to(torch.float32).div_(255),
        labels=torch.tensor(labels) if len(labels) == len(images) else None,
        names=tuple(names),
        notes=tuple(notes),
        refused=tuple(refused),
    )


def _expand(path: Path, spec: str) -> list[Path]:
    """Files of a folder (or of its class folders) or of a pattern, in a stable order."""
    if not path.is_dir():
        found = [Path(name) for name in sorted(glob.glob(str(path)))]
    else:
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        folders = [one for one in found if one.is_dir()]
        folders.sort(key=lambda one: class_order(one.name))
        if folders and not any(one.is_file() for one in found):
            found = [file for folder in folders for file in sorted(folder.iterdir())]
    return [file for file in found if file.suffix.lower() in ENDINGS and not file.is_dir()]


def _with_specs(error: ConvscopeError, spec: str) -> ConvscopeError:
    """A missing file may have been meant as the name of a data set."""
    if error.code == "U02" and ":" in spec:
        error.expected = f"an image file, or DATA:SPLIT/ROWS with one of {', '.join(DATASETS)}"
        error.hint = "for example mnist:test/7"
    return error


def _joined(parts: list[Selection]) -> Selection:
    if not parts:
        raise UsageError("no images were named", code="U01", expected="mnist:test/7 or a file")
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
