"""What transfer learning found: the test images, class by class, and how it was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from convscope._metrics import METRICS, gates_of
from convscope._readable import readable


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class TransferMistakes:
    """Misclassified test images, those that are most wrong first.

    Attributes:
        names: One per image.
        images: ``(image, channel, height, width)``, 8-bit levels, as the network is given them.
        labels: True classes.
        predicted: Predicted classes.
        margins: By how much the score of the predicted class is above that of the true one.
    """

    names: tuple[str, ...]
    images: UInt8[Tensor, "image channel height width"]
    labels: Int[Tensor, " image"]
    predicted: Int[Tensor, " image"]
    margins: Float[Tensor, " image"]


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class TransferResult:
    """A linear classifier on the features of a network, and how good it is on test images.

    Attributes:
        data: Name of the data set.
        source: Where the network came from.
        features: What the features are, in words.
        feature_size: Numbers per image.
        classifier: Name in `TRANSFER_CLASSIFIERS`.
        class_names: One per class.
        parameter: What cross-validation chose: ``"C"`` or ``"alpha"``.
        values: Those it tried, the strongest regularization first.
        fold_scores: ``(value, fold)``, mean-per-class accuracy on the images left out.
        value: The one chosen: the best mean over folds, of equal ones the strongest.
        training_images: Images that it was fitted to, all folds together.
        n: Test images.
        accuracy: Share of test images that are classified correctly.
        interval: 95 % Wilson interval of `accuracy`.
        mean_per_class: Mean of `per_class` over the classes that occur.
        mean_per_class_interval: Its 95 % interval, see `convscope.stats.wilson_of_mean`.
        per_class: ``(class,)``, accuracy on each class's test images; NaN for one without.
        confusion: ``(class, class)`` counts, true class down, predicted class across.
        labels: ``(n,)``, true classes.
        predicted: ``(n,)``, predicted classes.
        names: One per test image.
        mistakes: The worst.
        weights: ``(class, feature)``, of the classifier, for features of length one.
        bias: ``(class,)``.
        computed: Images that the network was run on; the others were in the cache.
        seconds: Of all of it.
        notes: Sentences for people.
        refused: Images that were left out.
    """

    data: str
    source: str
    features: str
    feature_size: int
    classifier: str
    class_names: tuple[str, ...]
    parameter: str
    values: tuple[float, ...]
    fold_scores: Float[Tensor, "value fold"]
    value: float
    training_images: int
    n: int
    accuracy: float
    interval: tuple[float, float]
    mean_per_class: float
    mean_per_class_interval: tuple[float, float]
    per_class: Float[Tensor, " class"]
    confusion: Int[Tensor, "class class"]
    labels: Int[Tensor, " n"]
    predicted: Int[Tensor, " n"]
    names: tuple[str, ...]
    mistakes: TransferMistakes
    weights: Float[Tensor, "class feature"]
    bias: Float[Tensor, " class"]
    computed: int
    seconds: float
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def worst_class(self) -> float:
        """Accuracy of the class with the lowest one, among the classes that occur."""
        return min(value for value in self.per_class.tolist() if not math.isnan(value))

    def metrics(self) -> dict[str, float]:
        """The numbers of `convscope transfer` by the names of its gates."""
        return {
            name: float(getattr(self, METRICS[name].attribute)) for name in gates_of("transfer")
        }

    def summary(self) -> dict[str, Any]:
        """The numbers without those per class and per image."""
        return {
            "data": self.data,
            "classifier": self.classifier,
            "features": self.features,
            "training_images": self.training_images,
            "test_images": self.n,
            "mean_per_class": self.mean_per_class,
            "mean_per_class_interval": self.mean_per_class_interval,
            "accuracy": self.accuracy,
            "interval": self.interval,
            "worst_class": self.worst_class,
            self.parameter: self.value,
            "cross_validation": [
                {self.parameter: value, "mean_per_class": float(scores.mean())}
                for value, scores in zip(self.values, self.fold_scores, strict=True)
            ],
            "folds": self.fold_scores.shape[1],
            "computed": self.computed,
            "seconds": self.seconds,
        }

    def headline(self) -> str:
        """Such as ``"mean per class 97.33 % (95.10 % to 98.80 %) of 296 test images"``."""
        low, high = self.mean_per_class_interval
        return (
            f"mean per class {self.mean_per_class:.2%} (95 % interval {low:.2%} to {high:.2%})"
            f" of {self.n:,} test images"
        )
