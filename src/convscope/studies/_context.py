"""What every section of an audit may look at, computed once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._random import seed_of
from convscope._registry import Effort, Registry
from convscope.classifier import Classifier
from convscope.data import ClassMatch, Dataset, Split, sample_rows
from convscope.pages import screen_scale
from convscope.playground import PlayableNetwork
from convscope.reports import Report, Section
from convscope.sharding import judged_here
from convscope.training import AccuracyJudging, Evaluation, accuracy_of
from convscope.types import Images, Labels

MOST_TESTED = 20_000
"""Test images that the accuracy is measured on; of larger splits, a random part."""

LARGE = 128 * 128
"""Pixels from which images are large: a pass through a network costs some hundred times that of a
digit, and a sample of the usual size would take an hour."""

ATTACKED = (200, 24)
"""Images that attacks are measured on unless the caller says otherwise: small ones, large ones."""


def has_large_images(classifier: Classifier) -> bool:
    """Whether samples are smaller, so that an audit ends in minutes."""
    return math.prod(classifier.input_shape[1:]) >= LARGE


def default_epsilon(classifier: Classifier) -> float:
    """0.1 for gray images, 8/255 for color: changes that hardly anybody sees."""
    return 0.1 if classifier.input_shape[0] == 1 else 8 / 255


@dataclass
class Audit:
    """One audit in progress.

    Attributes:
        classifier: The network that is looked at.
        dataset: What it is judged on.
        report: Where tiles, alerts and sections go.
        count: Images per section of pictures.
        attacked: Images that attacks are measured on.
        epsilon: L-infinity budget of the headline, pixel units.
        seed: Of everything random here.
        effort: ``"quick"``, ``"standard"`` or ``"full"``: how hard attacks try.
        run_folder: Where the network was trained, if known.
        about: What the caller wants under "Reproduce": names and values.
        command: The command line that made this, if one did.
        judge: An independently trained classifier of the same classes, if there is one.
        sigma: Noise to certify for, pixel units; ``None``: no certificates, which take long.
        numbers: What gates and machines ask for.
        split: The split that the network is judged on.
        match: How the classes of the data were matched with the network's.
        absent: Classes of the data without an image in that split.
        playable: The network as the page holds it, if the page is to hold it.
        most_tested: Images at most that accuracy is measured on.
    """

    classifier: Classifier
    dataset: Dataset
    report: Report
    count: int
    attacked: int
    epsilon: float
    seed: int
    effort: Effort
    run_folder: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    judge: Classifier | None = None
    sigma: float | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    split: str = "test"
    match: ClassMatch | None = None
    absent: tuple[str, ...] = ()
    playable: PlayableNetwork | None = None
    most_tested: int = MOST_TESTED

    def stream(self, purpose: int = 0) -> int:
        """The seed of one purpose, for samples."""
        return self.seed * 1009 + purpose

    def generator(self, purpose: int = 0) -> Generator:
        """A stream of its own for each purpose: sections do not disturb each other."""
        return torch.Generator().manual_seed(self.stream(purpose))

    def sized(self, usual: int, if_large: int) -> int:
        """How many of something: as usual, or of large images fewer."""
        return if_large if has_large_images(self.classifier) else usual

    @cached_property
    def test(self) -> Split:
        """The images to judge on, or a sample of very many."""
        split = self.dataset.split(self.split)
        if len(split) <= self.most_tested:
            return split
        rows = sample_rows(split.labels, self.most_tested, seed=self.stream(1))
        return split.subset(rows.sort().values)

    @cached_property
    def accuracy(self) -> AccuracyJudging:
        """How the classifier is judged on the test images."""
        few = 12 if self.effort == "quick" else 24
        return AccuracyJudging(
            self.classifier, self.test, mistakes=few, sample=few, seed=seed_of(self.generator(2))
        )

    @cached_property
    def evaluation(self) -> Evaluation:
        """The classifier on the test images."""
        _, records = judged_here(self.accuracy)
        return accuracy_of(self.accuracy.settings, records, self.test.labels.cpu())

    @cached_property
    def shown_rows(self) -> Tensor:
        """A few test images to look at closely: classified correctly, of many different classes."""
        right = (self.evaluation.predicted == self.test.labels).nonzero()[:, 0]
        return self.of_many_classes(right, self.count, purpose=3)

    @property
    def shown(self) -> tuple[Images, Labels]:
        """The images of `shown_rows`, and their classes."""
        return self.test.to_float(self.shown_rows), self.test.labels[self.shown_rows]

    def of_many_classes(self, rows: Tensor, count: int, *, purpose: int) -> Tensor:
        """`count` of some rows of the test images, as many classes as possible."""
        labels = self.test.labels[rows]
        return rows[sample_rows(labels, count, seed=self.stream(purpose), balanced=True)]

    @cached_property
    def attacked_rows(self) -> Tensor:
        """Test images for attacks: a sample whose first k rows are a sample, too."""
        return sample_rows(self.test.labels, self.attacked, seed=self.stream(4))

    @property
    def fitted(self) -> Split:
        """The training images; where there are none, all images."""
        return self.dataset.train if len(self.dataset.train) else self.dataset.split("all")

    @cached_property
    def reference(self) -> Images:
        """Training images for priors and comparisons, at most 2,000; of large images 200."""
        count = self.sized(2000, 200)
        return self.fitted.to_float(sample_rows(self.fitted.labels, count, seed=self.stream(5)))

    def classes(self, count: int) -> list[int]:
        """At most `count` classes to look at: those of the data, in order; then others."""
        here = sorted(set(self.dataset.split("all").labels.tolist()))
        others = sorted(set(range(self.classifier.num_classes)) - set(here))
        return (here if len(here) >= count else here + others)[:count]

    def applicable(
        self, section: Section, registry: Registry[Any, Any], names: Iterable[str]
    ) -> list[str]:
        """Those methods of a registry that work on this classifier; the others are named.

        Args:
            section: Says what is left out for a black box.
            registry: Whose records say which methods need answers only.
            names: Of the methods that are asked for.
        """
        wanted = list(names)
        if not self.classifier.black_box:
            return wanted
        fit = [name for name in wanted if registry.spec(name).black_box]
        if left := [name for name in wanted if name not in fit]:
            words = ", ".join(f"`{name}`" for name in left)
            section.text(f"Left out, as a black box has no gradients and no layers: {words}.")
        return fit

    @property
    def scale(self) -> float:
        """Screen pixels per pixel for single images."""
        return screen_scale(max(self.classifier.input_shape[1:]))

    @property
    def source(self) -> str:
        """What the images are called."""
        return f"{self.dataset.name}:{self.test.name}"


def legend(channels: int) -> str:
    """What the colors of a difference or a perturbation mean."""
    if channels == 1:
        return "Orange is brighter, blue is darker."
    return "Gray is no change; colors are what was added."
