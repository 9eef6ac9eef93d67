"""The networks that are served, each with its data: what a page may ask of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.data import Dataset, Split, decode_image, sample_rows
from convscope.errors import ConvscopeError
from convscope.playground import (
    LayersSeen,
    PlayableNetwork,
    example,
    layers_seen,
    nothing_seen,
    page_data,
)

EXAMPLES = 12
MANY = 64
"""Images for methods that find one perturbation for many."""

REFERENCES = 1000
"""Training images that priors are fitted on."""


@dataclass(frozen=True, eq=False)
class ServedNetwork:
    """One network behind the page.

    Attributes:
        name: As it was typed.
        classifier: The network. It is only read.
        dataset: Its data in the network's classes, if there are any.
        data: The split that examples are taken from.
        labeled: Whether the labels of `data` are classes of the network.
    """

    name: str
    classifier: Classifier
    dataset: Dataset | None = None
    data: Split | None = None
    labeled: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _kept: dict[str, tuple[LayersSeen | None, str]] = field(
        default_factory=dict, init=False, repr=False
    )

    def layers(self) -> tuple[LayersSeen | None, str]:
        """The traced layers, or None and why there are none; found once."""
        with self._lock:
            if "layers" not in self._kept:
                try:
                    self._kept["layers"] = (layers_seen(self.classifier, self.some(2)), "")
                except ConvscopeError as error:
                    self._kept["layers"] = (None, error.what)
            return self._kept["layers"]

    def some(self, count: int) -> Tensor:
        """A few images: of the data, or random ones."""
        if self.data is None:
            return random_images(count, self.classifier.input_shape)
        return self.data.to_float(torch.arange(min(count, len(self.data))))

    def many(self) -> tuple[Tensor, Tensor]:
        """A sample of the data with every class in proportion, and labels or predictions."""
        assert self.data is not None, "asked before"
        rows = sample_rows(self.data.labels, MANY, seed=0)
        images = self.data.to_float(rows)
        if self.labeled:
            return images, self.data.labels[rows]
        return images, self.classifier.predict(images, top=1).labels[:, 0]

    def reference(self) -> Tensor | None:
        """Training images, if there are data."""
        if self.dataset is None:
            return None
        train = self.dataset.train
        return train.to_float(sample_rows(train.labels, REFERENCES, seed=0))

    def read_image(self, data: bytes, name: str) -> tuple[Tensor, tuple[str, ...]]:
        """An uploaded file as the network takes it, as `convscope predict` would read it.

        Args:
            data: The content of the file.
            name: What the user calls it.

        Returns:
            ``(channel, height, width)``, and remarks.

        Raises:
            ImageError: I01 to I22.
        """
        channels, height, width = self.classifier.input_shape
        return decode_image(
            data, name, channels=channels, size=(height, width), resize=self.classifier.resize
        )

    def page(self) -> dict[str, Any]:
        """What the page begins with: graph, examples, and what the network can do."""
        seen, why = self.layers()
        graph = nothing_seen(self.classifier) if seen is None else seen.graph
        made = PlayableNetwork(graph=graph, weights="", bits=32, difference=0.0, compared=0)
        epsilon = 0.1 if self.classifier.input_shape[0] == 1 else 8 / 255
        found = page_data(made, self._examples(), epsilon=epsilon)
        return {
            **found,
            "name": self.name,
            "gradients": not self.classifier.black_box,
            "layers": why,
            "size": sum(p.numel() for p in self.classifier.module.parameters()),
        }

    def _examples(self) -> list[dict[str, Any]]:
        if self.data is None or not len(self.data):
            return []
        rows = sample_rows(self.data.labels, min(EXAMPLES, len(self.data)), seed=0)
        rows = rows[self.data.labels[rows].argsort(stable=True)]
        images = self.data.to_float(rows)
        return [
            example(image, f"{self.data.name} image {row}", label if self.labeled else -1)
            for image, row, label in zip(
                images, rows.tolist(), self.data.labels[rows].tolist(), strict=True
            )
        ]
