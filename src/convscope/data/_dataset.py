"""Data sets: three splits of images, and the names of their classes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import torch

from convscope.data._registry import ADDRESSES
from convscope.data._split import Split, joined
from convscope.data._stored import part_size
from convscope.errors import DataError, choose


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
        split = joined(self.splits) if chosen == "all" else known[chosen]
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
        both = joined((self.train, self.validation))
        nothing = self.validation.subset([])
        return replace(self, train=replace(both, name="train"), validation=nothing)

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
