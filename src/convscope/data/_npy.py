"""Images in one NumPy array: ``npy:FILE``, with the labels in another array beside it.

The array has bytes of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with one or three channels.
Its rows are read from the file; pickles are never opened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convscope.data._content_warnings import content_warnings
from convscope.data._dataset import Dataset
from convscope.data._file import read_file
from convscope.data._items import SPLITS, Item, with_splits
from convscope.data._split import Split
from convscope.data._stored import (
    ARRAY,
    ArrayRows,
    StoredImages,
    digest_of,
    part_size,
    stays_in_memory,
)
from convscope.errors import DataError
from convscope.files import Kind, read_array, read_array_header, read_text, usable_path
from convscope.progress import announce
from convscope.resizing import Resize

LABELS = Kind(what="an array of labels", largest=1 << 30, damaged="D27")
NAMES = Kind(what="a list of class names", largest=1 << 24, damaged="D27")
LONGEST_SIDE = 4096
MOST_CLASSES = 100_000
SHAPES = "uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), C 1 or 3"


def open_npy(
    file: Path | str,
    *,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """Labeled images of a NumPy array as a data set.

    Nothing of the array is resized, so `skip_bad`, `input_shape` and `resize` change nothing.

    Args:
        file: ``NAME.npy``: the images. Labels are in one of the files that `label_files` names.
            Class names are lines of ``NAME.classes.txt`` or else ``classes.txt``, if there is one.
        skip_bad: Without effect.
        input_shape: Without effect.
        resize: Without effect.
        check_classes: Called with the class names before a pixel is read.

    Returns:
        The data set, cut into three splits by a rule.

    Raises:
        DataError: D27, an array that is damaged or of another form; D21, no labels or several; D09,
            D10, labels that do not fit.
    """
    path = usable_path(file, DataError)
    rows = _rows(path)
    label_path = _label_path(path)
    labels = _labels(label_path, rows.count)
    names = _names(path, labels, label_path)
    if check_classes is not None:
        check_classes(names)
    items = [Item("train", label, path, str(row)) for row, label in enumerate(labels.tolist())]
    items, cut, notes = with_splits(items, names, {""})
    order = {split: [k for k, item in enumerate(items) if item.split == split] for split in SPLITS}
    everything = torch.tensor([row for split in SPLITS for row in order[split]])
    size = rows.count * int(np.prod(rows.stored))
    block = torch.empty(rows.shape, dtype=torch.uint8) if stays_in_memory(size) else None
    digests, sha256 = _read_once(path, rows, everything, block)
    images = StoredImages(rows, everything) if block is None else block
    splits = []
    first = 0
    for name in SPLITS:
        part = slice(first, first + len(order[name]))
        first = part.stop
        splits.append(
            Split(
                name=name,
                images=images[part]
                if isinstance(images, Tensor)
                else images.view(torch.arange(part.start, part.stop)),
                labels=labels[everything[part]],
                names=tuple(f"{path.name}[{row}]" for row in order[name]),
            )
        )
    train, validation, test = splits
    shown = "x".join(map(str, rows.image_shape))
    return Dataset(
        name=f"npy:{path}",
        class_names=names,
        train=train,
        validation=validation,
        test=test,
        source=f"{rows.count:,} images of {shown} in {len(names)} classes of {path.name} "
        f"({size / 1e6:,.1f} MB) with the labels of {label_path.name}: {len(train):,} for "
        f"training, {len(validation):,} for validation, {len(test):,} for testing",
        hashes={
            "npy": sha256,
            "labels": read_file(label_path, limit=LABELS.largest, code="D27").sha256,
        },
        warnings=(
            *notes,
            *content_warnings(
                train, validation, test, digests=[digests[row] for row in everything.tolist()]
            ),
        ),
        cut=cut,
    )


def _rows(path: Path) -> ArrayRows:
    """Where the rows of the array are.

    Raises:
        DataError: D27, it is no array of images, or its axes have no certain meaning.
    """
    header = read_array_header(path, ARRAY)
    shape = header.shape
    said = f"{header.dtype} of shape {shape}"
    if header.dtype != np.uint8:
        hint = "save (255 * images).round().astype('uint8') if pixels are in [0, 1]"
        raise DataError(f"holds {said}", code="D27", where=path, expected=SHAPES, hint=hint)
    plain = len(shape) == 3
    first = last = False
    if len(shape) == 4:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if not (plain or first or last) or max(shape[1:]) > LONGEST_SIDE:
        raise DataError(f"holds {said}", code="D27", where=path, expected=SHAPES)
    if 0 in shape:
        raise DataError(f"holds {said}: no images", code="D21", where=path)
    if first and last:
        raise DataError(
            f"holds {said}: which axis are the channels is not certain",
            code="D27",
            where=path,
            expected=SHAPES,
            hint="save gray images as (N, H, W)",
        )
    return ArrayRows(path, header.start, shape[1:], shape[0], header.stamp)


def label_files(path: Path) -> list[Path]:
    """Where the labels of an array may be.

    Example:
        >>> [one.name for one in label_files(Path("train_images.npy"))]
        ['train_images.labels.npy', 'train_labels.npy']
        >>> [one.name for one in label_files(Path("x_train.npy"))]
        ['x_train.labels.npy', 'y_train.npy']
    """
    stem = path.stem
    names = [f"{stem}.labels", re.sub("images?", "labels", stem)]
    for x, y in (("x", "y"), ("X", "y"), ("X", "Y")):
        names.append(re.sub(rf"(?<![A-Za-z]){x}(?![A-Za-z])", y, stem))
    others = [name for name in names if name != stem]
    return [path.with_name(f"{name}.npy") for name in dict.fromkeys(others)]


def _label_path(path: Path) -> Path:
    places = label_files(path)
    found = [place for place in places if place.is_file()]
    if len(found) == 1:
        return found[0]
    known = " or ".join(place.name for place in places)
    raise DataError(
        f"{len(found)} files of labels beside it" if found else "no labels beside it",
        code="D21",
        where=path,
        expected=f"one of {known}: one whole number per image",
    )


def _labels(path: Path, count: int) -> Tensor:
    values = read_array(path, LABELS)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(
            f"holds {values.dtype} of shape {values.shape}",
            code="D27",
            where=path,
            expected="one whole number per image",
        )
    if len(values) != count:
        raise DataError(
            f"{len(values):,} labels for {count:,} images", code="D09", where=path,
            expected="one label per image",
        )  # fmt: skip
    wrong = np.flatnonzero((values < 0) | (values >= MOST_CLASSES))
    if len(wrong):
        raise DataError(
            f"label {values[wrong[0]]} at index {wrong[0]}",
            code="D10",
            where=path,
            expected=f"classes from 0, fewer than {MOST_CLASSES:,}",
        )
    return torch.from_numpy(values.astype(np.int64))


def _names(path: Path, labels: Tensor, label_path: Path) -> tuple[str, ...]:
    classes = int(labels.max()) + 1
    for place in (path.with_name(f"{path.stem}.classes.txt"), path.with_name("classes.txt")):
        if not place.is_file():
            continue
        lines = read_text(place, NAMES).splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) < classes:
            raise DataError(
                f"label {classes - 1}, but {place.name} has {len(names):,} names",
                code="D10",
                where=label_path,
                expected="a line for each class, counted from 0",
            )
        return names
    return tuple(str(number) for number in range(classes))


def _read_once(
    path: Path, rows: ArrayRows, order: Tensor, block: Tensor | None
) -> tuple[list[bytes], str]:
    """Hashes of all images and of the file; the images go to their places in `block`."""
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order))
    digests: list[bytes] = []
    parts = torch.split(torch.arange(rows.count), part_size(rows.stored))
    for part, pixels in zip(parts, rows.parts(part.tolist() for part in parts), strict=True):
        digests += [digest_of(image) for image in pixels.numpy()]
        if block is not None:
            block[places[part]] = pixels
        announce(len(digests) / rows.count, path.name)
    whole = hashlib.sha256()
    whole.update("\0".join(map(str, rows.stored)).encode())
    for digest in digests:
        whole.update(digest)
    return digests, whole.hexdigest()
