"""Features of a data set, batch by batch: by one process or many, with the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.classifier import Classifier
from convscope.data import Dataset, refuse_problems
from convscope.errors import ConvscopeError, DataError
from convscope.sharding import Record, blocks_of
from convscope.transfer._features import FeatureLayer, feature_layer, layer_features
from convscope.transfer._images import Part, TransferImages, open_images

BATCH = 32
"""Images that are run at once."""

Features = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeaturesJudging:
    """The features of all images, batch by batch: a `convscope.sharding.Judging`.

    A block is a batch of training or of test images, cut by position: what a batch consists of can
    change the last bits of features, so neither workers nor what was finished before may.

    Args:
        classifier: The network.
        images: Training and test images.
        where: Where features are taken.
        skip_bad: Leave images out that cannot be read.
    """

    classifier: Classifier
    images: TransferImages
    where: FeatureLayer
    skip_bad: bool = False
    kind: str = "transfer"

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        data: str | Dataset,
        *,
        layer: str | None = None,
        data_dir: Path | str | None = None,
        offline: bool = False,
        accept_modified: bool = False,
        skip_bad: bool = False,
    ) -> FeaturesJudging:
        """The judging of a network's features of a data set.

        Args:
            classifier: The network.
            data: As for `transfer`; so is all that follows.
            layer: A layer whose output is taken; by default what enters the last layer.
            data_dir: Data folder.
            offline: Never use the network to download.
            accept_modified: Go on with files whose checksum is not the registered one.
            skip_bad: Leave images out that cannot be read.

        Raises:
            DataError: As for `transfer`.
            ModelContractError: M15, no layer is proven to be the last.
        """
        images = open_images(
            data, classifier, data_dir=data_dir, offline=offline, accept_modified=accept_modified,
            skip_bad=skip_bad,
        )  # fmt: skip
        where = feature_layer(classifier, layer)
        return cls(classifier=classifier, images=images, where=where, skip_bad=skip_bad)

    @property
    def size(self) -> int:
        """A block is one batch."""
        return 1

    @property
    def rows(self) -> int:
        """How many batches there are."""
        return len(self.batches)

    @cached_property
    def batches(self) -> list[tuple[Part, slice]]:
        """The batches: first those of training images, then those of test images."""
        parts = (self.images.training, self.images.test)
        return [(part, rows) for part in parts for rows in blocks_of(len(part), BATCH)]

    @cached_property
    def addresses(self) -> list[str]:
        """What each batch is called."""
        return [f"{part.name} images {s.start} to {s.stop - 1}" for part, s in self.batches]

    @cached_property
    def alike(self) -> list[str]:
        """The kind of each batch."""
        return [part.name for part, _ in self.batches]

    @cached_property
    def counts(self) -> list[int]:
        """How many images each batch has."""
        return [rows.stop - rows.start for _, rows in self.batches]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What features depend on besides the network."""
        known = hashlib.sha256()
        for part in (self.images.training, self.images.test):
            for name, label in zip(part.names, part.labels, strict=True):
                known.update(f"{part.name}\0{name}\0{label}\0".encode("utf-8", "backslashreplace"))
        return {
            "layer": str(self.where),
            "images": [len(self.images.training), len(self.images.test), known.hexdigest()],
            "skip bad": self.skip_bad,
            "classes": list(self.images.class_names),
        }

    def head(self) -> Record:
        """Nothing."""
        return Record()

    def judge(self, rows: slice, head: Record) -> Record:
        """The features of a batch.

        Raises:
            DataError: D21, images cannot be read and are not to be skipped.
            NumericalError: M11, features are NaN or infinite.
        """
        part, batch = self.batches[rows.start]
        return self.of_rows(part, range(batch.start, batch.stop))

    def of_rows(self, part: Part, rows: Sequence[int]) -> Record:
        """The features of some images, as of a batch.

        Args:
            part: Training or test images.
            rows: Which of them.
        """
        problems, found, kept = [], [], []
        for row, read in zip(rows, part.read(rows, lambda _: True), strict=True):
            if isinstance(read, ConvscopeError):
                problems.append(f"{part.names[row]}: {read.code} {read.what}")
            else:
                assert read.pixels is not None, "images to run have pixels"
                found.append(read.pixels.float() / 255)
                kept.append(row)
        refuse_problems(problems, part.name, skip_bad=self.skip_bad)
        features = np.empty((0, self.where.size), dtype=np.float32)
        if found:
            with self.classifier.probe() as probe:
                features = layer_features(probe, torch.stack(found), self.where).numpy()
        return Record({"rows": kept, "problems": problems}, {"features": features})

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Nothing."""
        return {}

    def first(self) -> tuple[Tensor, Tensor]:
        """The first two training images that can be read, and the labels of all."""
        rows = range(min(8, len(self.images.training)))
        found = [
            read.pixels.float() / 255
            for read in self.images.training.read(rows, lambda _: True)
            if not isinstance(read, ConvscopeError) and read.pixels is not None
        ]
        labels = torch.tensor(self.images.training.labels + self.images.test.labels)
        shape = (0, *self.classifier.input_shape)
        return torch.stack(found[:2]) if found else torch.empty(shape), labels


class RecordedFeatures:
    """Features that a `FeaturesJudging` has found, for what is learned from them.

    Args:
        judging: The judging.
        records: Of all its batches, in order.

    Attributes:
        refused: Images that could not be read.
        computed: Images that were run through the network.
    """

    def __init__(self, judging: FeaturesJudging, records: Sequence[Record]) -> None:
        self.classifier, self.where = judging.classifier, judging.where
        self.refused: list[str] = []
        self.computed = 0
        self._records = [
            (part, record) for (part, _), record in zip(judging.batches, records, strict=True)
        ]

    def notes(self) -> list[str]:
        """Nothing happened on the way."""
        return []

    def features(self, part: Part) -> tuple[Features, list[int]]:
        """``(image, feature)`` scaled to length one, and the rows of the part that could be read.

        Raises:
            DataError: D11, none could be.
        """
        mine = [record for of, record in self._records if of is part]
        rows = [row for record in mine for row in record.numbers["rows"]]
        self.refused += [text for record in mine for text in record.numbers["problems"]]
        if not rows:
            raise DataError(f"none of the {part.name} images can be read", code="D11")
        self.computed += len(rows)
        return unit(np.concatenate([record.arrays["features"] for record in mine])), rows


def unit(features: Features) -> Features:
    """Features scaled to length one.

    Example:
        >>> unit(np.array([[3.0, 4.0]], dtype=np.float32)).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)
