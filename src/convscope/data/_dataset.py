"""Split and Dataset: images as bytes in memory, with labels and where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convscope.errors import DataError, choose
from convscope.types import ByteImages, Images, Labels, ObjectMasks


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        name: ``"train"``, ``"validation"`` or ``"test"``.
        images: (N, C, H, W) bytes.
        labels: (N,) int64 class numbers.
        names: One name per image, for data that come as files.
        masks: (N, H, W) bools, True on the object, for data that know where it is.

    Example:
        >>> split = Split(
        ...     name="test",
        ...     images=torch.full((2, 1, 1, 1), 51, dtype=torch.uint8),
        ...     labels=torch.tensor([0, 1]),
        ... )
        >>> len(split), split.floats().flatten().tolist()
        (2, [0.20000000298023224, 0.20000000298023224])
    """

    name: str
    images: ByteImages
    labels: Labels
    names: tuple[str, ...] | None = None
    masks: ObjectMasks | None = None

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
        if self.masks is not None and self.masks.shape != self.images[:, 0].shape:
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

    def floats(self, rows: Tensor | slice | Sequence[int] | None = None) -> Images:
        """Images as float32 in [0, 1], each pixel the correctly rounded ``byte / 255``.

        Args:
            rows: Which images, in which order; all by default.

        Returns:
            (n, C, H, W) new floats.
        """
        if rows is None or isinstance(rows, slice):
            chosen = self.images[rows if rows is not None else slice(None)]
        else:
            index = torch.as_tensor(rows, dtype=torch.int64, device=self.images.device)
            chosen = self.images.index_select(0, index)
        return chosen.to(torch.float32).div_(255)

    def subset(self, rows: Tensor | Sequence[int]) -> "Split":
        """The same split with some of its images, in the order of `rows`."""
        index = torch.as_tensor(rows, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            images=self.images.index_select(0, index),
            labels=self.labels.index_select(0, index),
            names=None if self.names is None else tuple(self.names[i] for i in index.tolist()),
            masks=None if self.masks is None else self.masks.index_select(0, index),
        )

    def to(self, device: torch.device | str) -> "Split":
        """The same split with its tensors on `device`."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            masks=None if self.masks is None else self.masks.to(device),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Train, validation and test images of one classification problem.

    Args:
        name: What the command line calls it.
        class_names: One name per class number.
        train: Images to fit.
        validation: Images to choose with.
        test: Images to look at once.
        source: Sentence for reports: where the data come from and how they were split.
        hashes: SHA-256 of the bytes actually used, by file.
        warnings: Sentences that belong into every report on these data.
        refused: Files left out because of `skip_bad`, with the reason.
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
        """A split by its name.

        Raises:
            UsageError: No such split.
        """
        known = {split.name: split for split in self.splits}
        return known[choose("split", name, known)]

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
        count = images[:, 0].numel()
        total = torch.zeros(images.shape[1], dtype=torch.float64, device=images.device)
        squares = torch.zeros_like(total)
        step = max(1, 200_000 // images[0].numel())  # doubles that stay in the cache
        for first in range(0, len(images), step):
            chunk = images[first : first + step].to(torch.float64)
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
