"""Data sets: splits of images as bytes, in memory or on the disk; labels, class names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.data._file import check_memory
from convscope.data._registry import ADDRESSES
from convscope.data._stored import StoredImages, digest_of, part_size
from convscope.errors import DataError, ImageError, choose
from convscope.types import ByteImages, Images, Labels, ObjectMasks


def check_images(images: Tensor, *, where: str = "images") -> None:
    """Refuse tensors that are not float images in [0, 1] (I24).

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


def check_labels(labels: NDArray[Any], *, where: object, classes: int = 10) -> None:
    """Refuse the first label that is not a class number.

    Raises:
        DataError: ``D10``, with the value and its index.

    Example:
        >>> check_labels(np.array([0, 9, 3]), where="labels")
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"label {labels[wrong[0]]} at index {wrong[0]}, expected 0..{classes - 1}",
            code="D10",
            where=where,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        name: ``"train"``, ``"validation"`` or ``"test"``.
        images: (N, C, H, W) bytes: a tensor, or, of data larger than memory, `StoredImages`.
            `pixels` and `parts` read both.
        labels: (N,) int64 class numbers.
        names: One name per image, for data that come as files.
        masks: (N, H, W) bools, True on the object, for data that know where it is.
        rows: (N,) positions of the images in the split as it was opened, if this is a part of it.

    Example:
        >>> split = Split(
        ...     name="test",
        ...     images=torch.full((2, 1, 1, 1), 51, dtype=torch.uint8),
        ...     labels=torch.tensor([0, 1]),
        ... )
        >>> len(split), split.to_float().flatten().tolist()
        (2, [0.20000000298023224, 0.20000000298023224])
    """

    name: str
    images: ByteImages | StoredImages
    labels: Labels
    names: tuple[str, ...] | None = None
    masks: ObjectMasks | None = None
    rows: Labels | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"the {self.name} images are {self.images.dtype} of shape "
                f"{tuple(self.images.shape)}",
                code="I24",
                expected="uint8 of shape (N, C, H, W)",
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"{len(self.images)} {self.name} images have labels of {self.labels.dtype} and "
                f"shape {tuple(self.labels.shape)}",
                code="D09",
                expected="one int64 label per image",
            )
        count, _, height, width = self.images.shape
        if self.masks is not None and self.masks.shape != (count, height, width):
            raise DataError(
                f"{len(self.images)} {self.name} images have masks of shape "
                f"{tuple(self.masks.shape)}",
                code="D09",
                expected="one mask per image, of its height and width",
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        """Shape instead of pixels."""
        return f"Split({self.name!r}, {'x'.join(map(str, self.images.shape))} bytes)"

    def pixels(self, rows: Tensor | slice | Sequence[int] | None = None) -> ByteImages:
        """Images as bytes, in memory.

        Args:
            rows: Which images, in which order; all by default.

        Returns:
            (n, C, H, W) bytes.

        Raises:
            ResourceError: Images on the disk that would not fit into memory.
            DataError: D24, they are others than when the data set was opened.
        """
        if rows is None or isinstance(rows, slice):
            return self.images[rows if rows is not None else slice(None)]
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.images.device)
        if isinstance(self.images, StoredImages):
            return self.images[index]
        return self.images.index_select(0, index)

    def to_float(self, rows: Tensor | slice | Sequence[int] | None = None) -> Images:
        """Images as float32 in [0, 1], each pixel the correctly rounded ``byte / 255``.

        Args:
            rows: Which images, in which order; all by default.

        Returns:
            (n, C, H, W) new floats.
        """
        if isinstance(self.images, StoredImages):
            count = len(self) if rows is None else len(torch.arange(len(self))[rows])
            check_memory(4 * count * math.prod(self.images.shape[1:]), f"{count:,} images")
        return self.pixels(rows).to(torch.float32).div_(255)

    def parts(self, rows: Iterable[Tensor] | None = None) -> Iterator[ByteImages]:
        """Images as bytes, part after part; of images on the disk, the next part is read ahead.

        Args:
            rows: The rows of each part; by default all images in order, in parts of about 32 MB.

        Example:
            >>> images = torch.zeros(5, 1, 2, 2, dtype=torch.uint8)
            >>> split = Split(name="test", images=images, labels=torch.zeros(5).long())
            >>> [len(part) for part in split.parts(torch.arange(5).split(2))]
            [2, 2, 1]
        """
        if rows is None:
            rows = torch.split(torch.arange(len(self)), part_size(self.images.shape[1:]))
        if isinstance(self.images, StoredImages):
            return self.images.parts(rows)
        images = self.images
        return (images[part.to(images.device)] for part in rows)

    def subset(self, rows: Tensor | Sequence[int]) -> Split:
        """The same split with some of its images, in the order of `rows`."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            images=self.images.view(index)
            if isinstance(self.images, StoredImages)
            else self.images.index_select(0, index),
            labels=self.labels.index_select(0, index),
            names=None if self.names is None else tuple(self.names[i] for i in index.tolist()),
            masks=None if self.masks is None else self.masks.index_select(0, index),
            rows=index.cpu() if self.rows is None else self.rows[index.cpu()],
        )

    def position(self, row: int) -> int:
        """Where image `row` stands in the split as it was opened."""
        return row if self.rows is None else int(self.rows[row])

    def to(self, device: torch.device | str) -> Split:
        """The same split with its tensors on `device`; images on the disk stay there."""
        return replace(
            self,
            images=self.images if isinstance(self.images, StoredImages) else self.images.to(device),
            labels=self.labels.to(device),
            masks=None if self.masks is None else self.masks.to(device),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Train, validation and test images of one classification problem.

    Args:
        name: What the command line calls it.
        class_names: One name per class number.
        train: Training images.
        validation: Validation images.
        test: Test images.
        source: Sentence for reports: where the data come from and how they were split.
        hashes: SHA-256 of the bytes actually used, by file.
        warnings: Sentences that belong into every report on these data.
        refused: Files left out because of `skip_bad`, with the reason.
        cut: Splits that were cut from a folder by rule here, not by whoever made the data.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    source: str
    hashes: dict[str, str]
    warnings: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Sizes instead of pixels."""
        sizes = " / ".join(f"{len(split):,}" for split in self.splits)
        shape = "x".join(map(str, self.input_shape))
        return f"Dataset({self.name!r}, {sizes} images of {shape}, {len(self.class_names)} classes)"

    @property
    def splits(self) -> tuple[Split, Split, Split]:
        """Train, validation, test."""
        return self.train, self.validation, self.test

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def split(self, name: str) -> Split:
        """A split by its name; ``"all"`` is train, validation and test one after the other.

        Raises:
            UsageError: No such split.
            DataError: D11 if it has no images.
        """
        known = {split.name: split for split in self.splits}
        chosen = choose("split", name, [*known, "all"])
        split = _joined(self.splits) if chosen == "all" else known[chosen]
        if not len(split):
            sizes = ", ".join(f"{split.name} {len(split):,}" for split in self.splits)
            raise DataError(
                f"the {chosen} split has no images",
                code="D11",
                where=self.name,
                expected=f"one of: {sizes}",
                hint="--split all takes every image",
            )
        return split

    def split_to_judge(self, source: str = "") -> tuple[str, str]:
        """The split on which a classifier is judged unless somebody says otherwise.

        That is the test split. But where it was only cut from a folder by rule, and nothing says
        that the classifier was trained on that folder, most of the images are not set aside.

        Args:
            source: What the classifier says of its origin (`Classifier.source`). One that was
                trained on any folder by convscope may have been trained on this one.

        Returns:
            Name of the split, and a sentence if that is not plainly the test split.
        """
        own = "|".join(map(re.escape, ADDRESSES))
        trained_here = "trained" in source and re.search(f" on ({own}):", source) is not None
        this = "folder" if self.name.startswith("folder:") else "data set"
        if len(self.test) and ("test" not in self.cut or trained_here):
            note = ""
            if "test" in self.cut:
                note = (
                    f"judged on the {len(self.test):,} test images that are cut from this {this}; "
                    "--split all takes every image"
                )
            return "test", note
        if trained_here and self.cut:
            return "test", ""
        if len(self.validation) and "validation" not in self.cut:
            where = "no test folder" if not len(self.test) else "no test folder of its own"
            return "validation", (
                f"{where}: judged on the {len(self.validation):,} validation images; --split all "
                "takes every image"
            )
        total = sum(map(len, self.splits))
        if re.search(r"\btrained (on|with) ", source):
            return "all", (
                f"judged on all {total:,} images, since the network was not trained on this {this}"
                + ("; --split test takes the test part" if len(self.test) else "")
            )
        honest = "--split test is the honest number" if len(self.test) else "the number is too good"
        return "all", (
            f"evaluated on all {total:,} images; if the network was trained on some of them, "
            f"{honest}"
        )

    def check_trainable(self) -> None:
        """Refuse data that can be judged on, but not trained on.

        Raises:
            DataError: D11 without training images, or with training images of one class only.
        """
        if not len(self.train):
            raise DataError(
                "no train images to train with",
                code="D11",
                where=self.name,
                hint="put images into train/, or into class folders alone",
            )
        if int(self.train.labels.min()) == int(self.train.labels.max()):
            raise DataError(
                "all training images are of one class",
                code="D11",
                where=self.name,
                expected="at least two classes",
            )

    def with_all_trained_on(self) -> Dataset:
        """The validation images become training images, behind the others; none are left over."""
        joined = _joined((self.train, self.validation))
        nothing = self.validation.subset([])
        return replace(self, train=replace(joined, name="train"), validation=nothing)

    def mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the training pixels in [0, 1], one number per channel.

        All sums are whole numbers below 2^53, so the numbers do not depend on threads or order.

        Example:
            >>> pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1)
            >>> split = Split(name="train", images=pixels, labels=torch.tensor([0, 1]))
            >>> data = Dataset(name="two", class_names=("dark", "light"), train=split,
            ...     validation=split, test=split, source="", hashes={})
            >>> data.mean_std()
            ((0.5,), (0.5,))
        """
        images = self.train.images
        if not len(images):
            raise DataError("no training images to take the mean of", code="D11", where=self.name)
        count = len(images) * math.prod(images.shape[2:])
        total = torch.zeros(images.shape[1], dtype=torch.float64, device=images.device)
        squares = torch.zeros_like(total)
        step = part_size(images.shape[1:], values=200_000)  # doubles that stay in the cache
        for part in self.train.parts():
            for piece in torch.split(part, step):
                chunk = piece.to(torch.float64)
                total += chunk.sum(dim=(0, 2, 3))
                squares += chunk.square_().sum(dim=(0, 2, 3))
        means = [value / count for value in total.tolist()]
        variances = [
            (count * int(square) - int(value) ** 2) / count**2
            for square, value in zip(squares.tolist(), total.tolist(), strict=True)
        ]
        return (
            tuple(mean / 255 for mean in means),
            tuple(variance**0.5 / 255 for variance in variances),
        )


def _joined(splits: Sequence[Split]) -> Split:
    """Several splits as one; without copying where they lie behind each other in memory."""
    full = [split for split in splits if len(split)] or list(splits[:1])
    masks = [split.masks for split in full if split.masks is not None]
    names = [split.names for split in full if split.names is not None]
    return Split(
        name="all",
        images=_behind_each_other([split.images for split in full]),
        labels=torch.cat([split.labels for split in full]),
        names=tuple(n for part in names for n in part) if len(names) == len(full) else None,
        masks=torch.cat(masks) if len(masks) == len(full) else None,
    )


def _behind_each_other(parts: list[ByteImages | StoredImages]) -> ByteImages | StoredImages:
    stored = [part for part in parts if isinstance(part, StoredImages)]
    if stored:
        assert len(stored) == len(parts) and len({id(part.source) for part in stored}) == 1, (
            "the splits of a data set are in one place"
        )
        return StoredImages(stored[0].source, torch.cat([part.rows for part in stored]))
    tensors = [part for part in parts if isinstance(part, Tensor)]
    first, end = tensors[0], tensors[0].data_ptr()
    for part in tensors:
        if not part.is_contiguous() or part.data_ptr() != end:
            return torch.cat(tensors)
        end += part.numel() * part.element_size()
    if any(p.untyped_storage().data_ptr() != first.untyped_storage().data_ptr() for p in tensors):
        return torch.cat(tensors)
    shape = (sum(map(len, tensors)), *first.shape[1:])
    return first.as_strided(shape, first.stride())


VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


def stratified_parts(
    labels: Sequence[int], keys: Sequence[str], *, shares: Sequence[float], seed: int = 0
) -> tuple[list[int], ...]:
    """Disjoint row lists, each with its share of every class; the last list is the rest.

    The order within a class comes from a hash of (seed, key), not from a random generator: it is
    the same for ever, on every machine and library version, and a new file moves no other file.
    Every part gets at least one image of a class that has enough.

    Args:
        labels: Class of every row.
        keys: A name for every row that stays the same.
        shares: Share of each part but the last.
        seed: Another seed, another cut.

    Returns:
        One ascending list of rows per share, then the rest.

    Example:
        >>> test, rest = stratified_parts([0] * 4 + [1] * 4, list("abcdefgh"), shares=[0.25])
        >>> len(test), len(rest), sorted(test + rest)
        (2, 6, [0, 1, 2, 3, 4, 5, 6, 7])
    """
    classes: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        classes.setdefault(int(label), []).append(row)
    parts: tuple[list[int], ...] = tuple([] for _ in range(len(shares) + 1))
    for label in sorted(classes):
        rows = sorted(classes[label], key=lambda row: _rank(keys[row], seed))
        for part, share in zip(parts, shares, strict=False):
            wanted = max(1, round(share * len(classes[label])))
            taken, rows = rows[:wanted], rows[wanted:]
            part.extend(taken)
        parts[-1].extend(rows)
    return tuple(sorted(part) for part in parts)


def _rank(key: str, seed: int) -> bytes:
    text = f"{seed}/{key}".encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=16).digest()


def content_warnings(
    train: Split, validation: Split, test: Split, *, digests: Sequence[bytes] | None = None
) -> tuple[str, ...]:
    """What is odd about a data set as a whole: one class only, or images in two splits (D11, D25).

    Args:
        train: Training images.
        validation: Validation images.
        test: Test images.
        digests: A hash of the pixels of every image, split after split, if they are known.

    Returns:
        Sentences; none for ordinary data.
    """
    warnings = []
    for split in (train, validation, test):
        if len(split) and int(split.labels.min()) == int(split.labels.max()):
            warnings.append(
                f"D11: all {len(split)} labels of the {split.name} split are class "
                f"{int(split.labels[0])}"
            )
    if digests is None:
        lists = [_digest_list(split) for split in (train, validation, test)]
    else:
        ends = [0, len(train), len(train) + len(validation), len(digests)]
        lists = [list(digests[ends[k] : ends[k + 1]]) for k in range(3)]
    known = set(lists[0])
    for split, own in zip((validation, test), lists[1:], strict=True):
        shared = sum(digest in known for digest in own)
        if shared:
            warnings.append(
                f"D25: {shared} of {len(split)} {split.name} images are also in the training "
                "split, pixel for pixel: scores on them are too good"
            )
    both = set(lists[1])
    shared = sum(digest in both for digest in lists[2])
    if shared:
        warnings.append(
            f"D25: {shared} of {len(test)} test images are also in the validation split"
        )
    return tuple(warnings)


def _digest_list(split: Split) -> list[bytes]:
    return [digest_of(image) for part in split.parts() for image in part.numpy()]
