"""A split of a data set: images as bytes, in memory or on the disk, with their labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.data._file import check_memory
from convscope.data._stored import StoredImages, part_size
from convscope.errors import DataError, ImageError
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


def joined(splits: Sequence[Split]) -> Split:
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
