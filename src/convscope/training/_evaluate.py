"""Accuracy of a classifier on a split with its interval, calibration, confusions, mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._metrics import METRICS
from convscope._random import seed_of
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import Split, sample_rows
from convscope.errors import DataError, ModelContractError, NumericalError, UsageError, choose
from convscope.probe import rows_per_chunk
from convscope.progress import announce, at_step
from convscope.sharding import Record, joined, judged_here
from convscope.stats import wilson
from convscope.training._tta import TTA, Tta, averaged

CALIBRATION_BINS = 15

CHUNKS = 16
"""Chunks of the Probe in a block: opening a Probe for each takes about one percent of the time, one
thread (1 ms against 0.2 s on mnist-conv2-fc, 5 ms against 0.37 s on cifar-resnet20)."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Some images of a split, and their predicted classes.

    Attributes:
        rows: ``(m,)``, positions in the split.
        labels: ``(m,)``, true classes.
        predicted: ``(m,)``, predicted classes.
        confidences: ``(m,)``, softmax of the predicted class.
    """

    rows: Tensor
    labels: Tensor
    predicted: Tensor
    confidences: Tensor


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Accuracy, calibration, confusions and mistakes of a classifier on one split.

    Attributes:
        split: Name of the split.
        n: Number of images.
        class_names: One per class.
        accuracy: Share of images that are classified correctly.
        interval: 95 % Wilson score interval of `accuracy`.
        mean_per_class: Mean of `per_class` over the classes that occur: every class counts the
            same, however many images it has.
        per_class: ``(class,)``, accuracy on each class's images; NaN for a class without images.
        loss: Mean cross-entropy in nats.
        top: The k of each entry of `top_accuracy`.
        top_accuracy: Share of images whose class is among the k most probable ones.
        confusion: ``(class, class)`` counts, true class down, predicted class across.
        calibration_error: Mean over images of the difference between confidence and accuracy in
            their bin (expected calibration error, 15 equal bins).
        calibration_counts: ``(15,)``, images per bin.
        calibration_confidence: ``(15,)``, mean confidence per bin; NaN for an empty one.
        calibration_accuracy: ``(15,)``, accuracy per bin; NaN for an empty one.
        mistakes: The misclassified images of highest confidence, most confident first.
        sample: Random images, right and wrong.
        predicted: ``(n,)``, the predicted class of every image.
        confidences: ``(n,)``, its softmax.
        tta: Test-time augmentation that all of these are with; ``"none"``: the images as they are.
        accuracy_without_tta: Share of images that are classified correctly as they are.
    """

    split: str
    n: int
    class_names: tuple[str, ...]
    accuracy: float
    interval: tuple[float, float]
    mean_per_class: float
    per_class: Tensor
    loss: float
    top: tuple[int, ...]
    top_accuracy: tuple[float, ...]
    confusion: Tensor
    calibration_error: float
    calibration_counts: Tensor
    calibration_confidence: Tensor
    calibration_accuracy: Tensor
    mistakes: Examples
    sample: Examples
    predicted: Tensor
    confidences: Tensor
    tta: str = "none"
    accuracy_without_tta: float | None = None

    @property
    def worst_class(self) -> float:
        """Accuracy of the class with the lowest one, among the classes that occur."""
        return min(value for value in self.per_class.tolist() if not math.isnan(value))

    def metrics(self) -> dict[str, float]:
        """The numbers of `convscope eval` by the names of its gates."""
        numbers = {f"top{k}": share for k, share in zip(self.top, self.top_accuracy, strict=True)}
        for name, spec in METRICS.items():
            if (value := getattr(self, spec.attribute, None)) is not None:
                numbers[name] = float(value)
        return {name: numbers[name] for name in METRICS if name in numbers}

    def summary(self) -> dict[str, Any]:
        """The numbers without those per class and per image."""
        plain = {
            METRICS[name].attribute: value
            for name, value in self.metrics().items()
            if not name.startswith("top")
        }
        top = {f"{k}": share for k, share in zip(self.top, self.top_accuracy, strict=True)}
        tta = (
            {}
            if self.tta == "none"
            else {"tta": self.tta, "accuracy_without_tta": self.accuracy_without_tta}
        )
        return {
            "split": self.split,
            "n": self.n,
            "interval": self.interval,
            **tta,
            **plain,
            "top": top,
        }

    def headline(self) -> str:
        """Such as ``"98.10 % (97.81 % to 98.35 %) of 10,000 test images"``."""
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"
            f" of {self.n:,} {self.split} images"
            + (
                f", with {self.tta} test-time augmentation; {self.accuracy_without_tta:.2%} without"
                if self.tta != "none"
                else ""
            )
        )

    def _repr_html_(self) -> str:
        low, high = self.interval
        return (
            f"<p><b>{self.accuracy:.2%}</b> of {self.n:,} images classified correctly"
            f" (95 % interval {low:.2%} to {high:.2%}); mean per class {self.mean_per_class:.2%},"
            f" calibration error {self.calibration_error:.3f}, loss {self.loss:.4f}</p>"
        )


def evaluate(
    classifier: Classifier,
    split: Split,
    *,
    mistakes: int = 24,
    sample: int = 24,
    tta: Tta = "none",
    generator: Generator | None = None,
) -> Evaluation:
    """Classify every image of `split` once and compare with its label.

    `convscope.progress.watch` tells how much is done.

    Args:
        classifier: What to evaluate; it is left as it was.
        split: Images with labels.
        mistakes: Keep at most this many misclassified images.
        sample: Keep at most this many random images, every class in proportion.
        tta: Test-time augmentation: logits are averaged over the image and its mirror image
            (``"mirror"``), or over both and both moved by a pixel (``"mirror-shift"``).
        generator: Chooses the random images; ``None``: a fresh generator with seed 0.

    Returns:
        All numbers of one pass over the data, in float64 where they are sums.

    Raises:
        DataError: D11 no images; D10 a label that is not a class of the classifier.
        ModelContractError: M14 the images have another shape than the network takes.
        NumericalError: The network returned NaN or infinity.
        UsageError: U14 what is given is no split, such as a whole data set or its name.

    Example:
        Four images, one gray level each; a network that calls everything over 0.5 bright:

        >>> linear = torch.nn.Linear(1, 2)
        >>> _ = linear.weight.data.copy_(torch.tensor([[-9.0], [9.0]]))
        >>> _ = linear.bias.data.copy_(torch.tensor([4.5, -4.5]))
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), linear)
        >>> classifier = Classifier.wrap(net, input_shape=(1, 1, 1), class_names=["dark", "bright"])
        >>> images = torch.tensor([0, 100, 150, 255], dtype=torch.uint8).view(4, 1, 1, 1)
        >>> split = Split(name="test", images=images, labels=torch.tensor([0, 1, 1, 1]))
        >>> result = evaluate(classifier, split)
        >>> result.accuracy, result.per_class.tolist(), result.confusion.tolist()
        (0.75, [1.0, 0.6666666666666666], [[1, 0], [1, 2]])

    Source:
        Interval: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
        JASA 1927. Calibration: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural
        Networks", ICML 2017, equation 3.
    """
    judging = AccuracyJudging(
        classifier, split, tta=tta, mistakes=mistakes, sample=sample, seed=seed_of(generator)
    )
    _, records = judged_here(judging)
    announce(1.0)
    return accuracy_of(judging.settings, records, split.labels.cpu())


@dataclass(frozen=True)
class AccuracyJudging:
    """The judging of `evaluate`, block by block: a `convscope.sharding.Judging`.

    Args:
        classifier: What to evaluate.
        split: Images with labels.
        tta: Test-time augmentation.
        mistakes: Keep at most this many misclassified images.
        sample: Keep at most this many random images.
        seed: Chooses the random images.
    """

    classifier: Classifier
    split: Split
    tta: Tta = "none"
    mistakes: int = 24
    sample: int = 24
    seed: int = 0
    kind: str = "eval"

    def __post_init__(self) -> None:
        choose("tta", self.tta, TTA)
        _check(self.classifier, self.split)

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.split)

    @cached_property
    def size(self) -> int:
        """Images of a block: by their shape and the kind of device alone."""
        return CHUNKS * rows_per_chunk(self.classifier.input_shape, self.classifier.device)

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        return {
            "split": self.split.name,
            "tta": self.tta,
            "mistakes": self.mistakes,
            "sample": self.sample,
            "seed": self.seed,
            "classes": list(self.classifier.class_names),
        }

    def head(self) -> Record:
        """Nothing."""
        return Record()

    def judge(self, rows: slice, head: Record) -> Record:
        """Predictions of some images.

        Raises:
            NumericalError: M11, the network returned NaN or infinity.
        """
        labels = self.split.labels[rows].cpu()
        at_step(0, 1)
        with self.classifier.probe() as probe:
            plain, logits = (
                one.cpu() for one in averaged(probe.logits, self.split.to_float(rows), self.tta)
            )
        if not bool(logits.isfinite().all()):
            bad = int((~logits.isfinite()).any(dim=1).sum())
            raise NumericalError(
                f"the network returned NaN or infinity for {bad} of {len(logits)} images",
                code="M11",
                where=self.classifier.source,
            )
        likelihood = logits.double().log_softmax(dim=1)
        best, predicted = likelihood.max(dim=1)
        places = _places(likelihood, labels)
        return Record(
            {
                "hits": [int((places < k).sum()) for k in _top(logits.shape[1])],
                "plain_hits": int((plain.argmax(dim=1) == labels).sum()),
                "loss": -likelihood.gather(1, labels[:, None]).sum().item(),
                "cost": [probe.forwards, probe.backwards, probe.cost().seconds],
            },
            {"predicted": predicted.numpy(), "confidences": best.exp().float().numpy()},
        )

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """The labels of a block."""
        return {"labels": self.split.labels[rows].cpu().numpy()}


def accuracy_of(
    settings: Mapping[str, Any], records: Sequence[Record], labels: Tensor | None = None
) -> Evaluation:
    """The evaluation of all blocks together.

    Args:
        settings: Of the `AccuracyJudging`.
        records: Of all blocks, in order.
        labels: Of all images; by default those that the records hold.
    """

    def total(name: str) -> Any:
        return sum(record.numbers[name] for record in records)

    labels = torch.from_numpy(joined(records, "labels")) if labels is None else labels
    predicted = torch.from_numpy(joined(records, "predicted"))
    confidences = torch.from_numpy(joined(records, "confidences"))
    names, tta = tuple(settings["classes"]), settings["tta"]
    n, classes, top = len(labels), len(names), _top(len(names))
    hits = torch.tensor([record.numbers["hits"] for record in records]).sum(dim=0)
    correct = predicted == labels
    confusion = (labels * classes + predicted).bincount(minlength=classes**2)
    confusion = confusion.view(classes, classes)
    per_class = confusion.diagonal().double() / confusion.sum(dim=1)
    counts, confidence, accuracy = _calibration(confidences, correct)
    gaps = (counts * (confidence - accuracy).abs()).nan_to_num().sum().item()

    def examples(rows: Tensor) -> Examples:
        return Examples(
            rows=rows,
            labels=labels[rows],
            predicted=predicted[rows],
            confidences=confidences[rows],
        )

    wrong = (~correct).nonzero()[:, 0]
    worst = wrong[confidences[wrong].argsort(descending=True, stable=True)]
    most, seed = settings["sample"], settings["seed"]
    few = sample_rows(labels, most, seed=seed) if most > 0 else torch.empty(0).long()
    chosen = few.sort().values
    hit = int(correct.sum())
    return Evaluation(
        split=settings["split"],
        n=n,
        class_names=names,
        accuracy=hit / n,
        interval=wilson(hit, n),
        mean_per_class=per_class.nanmean().item(),
        per_class=per_class,
        loss=total("loss") / n,
        top=top,
        top_accuracy=tuple((hits.double() / n).tolist()),
        confusion=confusion,
        calibration_error=gaps / n,
        calibration_counts=counts,
        calibration_confidence=confidence,
        calibration_accuracy=accuracy,
        mistakes=examples(worst[: settings["mistakes"]]),
        sample=examples(chosen),
        predicted=predicted,
        confidences=confidences,
        tta=tta,
        accuracy_without_tta=total("plain_hits") / n,
    )


def _top(classes: int) -> tuple[int, ...]:
    return tuple(k for k in (1, 3, 5) if k < classes) or (1,)


def _places(scores: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the true one; of equal scores the lower class comes first."""
    own = scores.gather(1, labels[:, None])
    earlier = torch.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)


def _calibration(confidences: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images, mean confidence and accuracy in equal bins of confidence; (low, high] as usual."""
    values = confidences.double()
    bins = (values * CALIBRATION_BINS).ceil().long().sub(1).clamp(0, CALIBRATION_BINS - 1)
    counts = bins.bincount(minlength=CALIBRATION_BINS)
    confidence = bins.bincount(weights=values, minlength=CALIBRATION_BINS) / counts
    accuracy = bins.bincount(weights=correct.double(), minlength=CALIBRATION_BINS) / counts
    return counts, confidence, accuracy


def _check(classifier: Classifier, split: Split) -> None:
    if not isinstance(split, Split):
        raise UsageError(
            f"split is a {type(split).__name__}",
            code="U14",
            expected="one split of a data set, such as dataset.test",
            hint="open_dataset(DATA, input_shape=classifier.input_shape,"
            " resize=classifier.resize).test",
        )
    if len(split) == 0:
        raise DataError(f"the {split.name} split is empty", code="D11")
    highest, lowest = int(split.labels.max()), int(split.labels.min())
    if lowest < 0 or highest >= classifier.num_classes:
        raise DataError(
            f"the {split.name} split has class {highest if lowest >= 0 else lowest}",
            code="D10",
            expected=f"0 to {classifier.num_classes - 1}, the classes of {classifier.source}",
        )
    shape = tuple(split.images.shape[1:])
    if shape != classifier.input_shape:
        raise ModelContractError(
            f"the {split.name} images are {'x'.join(map(str, shape))}",
            code="M14",
            expected=f"{'x'.join(map(str, classifier.input_shape))}, as {classifier.source} takes",
        )
