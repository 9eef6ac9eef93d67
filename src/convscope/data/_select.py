"""select_images: the images that a command is about, from one short specification."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from convscope.data._dataset import Dataset
from convscope.data._download import Progress
from convscope.data._open import DATASETS, open_dataset
from convscope.data._picture import Fit
from convscope.data._select_files import select_files
from convscope.data._selection import Selection, TakesImages
from convscope.errors import DataError, UsageError

DATASET_SPEC = re.compile(r"(?P<data>[\w-]+|folder:.+):(?P<split>[a-z]+)(?:/(?P<rows>[^/]*))?")


def select_images(
    spec: str | Path | Sequence[str | Path],
    *,
    like: TakesImages,
    data_dir: str | Path | None = None,
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
    opened: dict[str, Dataset] = {}
    parts = []
    for one in [spec] if isinstance(spec, str | Path) else spec:
        match = None if isinstance(one, Path) else DATASET_SPEC.fullmatch(one)
        if not match or not (match["data"] in DATASETS or match["data"].startswith("folder:")):
            parts.append(select_files(str(one), like=like, fit=fit))
            continue
        if match["data"] not in opened:
            opened[match["data"]] = open_dataset(
                match["data"],
                data_dir=data_dir,
                offline=offline,
                accept_modified=accept_modified,
                input_shape=like.input_shape,
                progress=progress,
            )
        data = opened[match["data"]]
        rows = parse_rows(match["rows"], len(data.split(match["split"])), where=str(one))
        parts.append(_from_dataset(data, match["split"], rows, like))
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


def _from_dataset(data: Dataset, split: str, rows: list[int], like: TakesImages) -> Selection:
    if data.input_shape != tuple(like.input_shape):
        raise DataError(
            f"images of {data.name} are {_times(data.input_shape)}",
            code="U10",
            expected=f"{_times(like.input_shape)}, which is what this network takes",
            hint="choose the data set that the network was trained on",
        )
    images = data.split(split)
    return Selection(
        images=images.floats(rows),
        labels=images.labels[torch.tensor(rows, dtype=torch.int64)],
        names=tuple(f"{data.name}:{split}/{row}" for row in rows),
        notes=data.warnings,
        refused=data.refused,
    )


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
