"""How good a classifier is on a split, with error bars, and where it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from convscope._random import source
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import Split, sample_rows
from convscope.errors import DataError, ModelContractError, NumericalError
from convscope.stats import wilson

Progress = Callable[[int, int], None]

CALIBRATION_BINS = 15
SLAB_BYTES = 64 * 2**20  # floats in memory at once; the Probe cuts its own, smaller chunks


@readable
@dataclass(frozen=True, kw_only=True)
class Examples:
    """Some images of a split, and how they were read.

    Attributes:
        rows: ``(m,)``, positions in the split.
        labels: ``(m,)``, true classes.
        predicted: ``(m,)``, read classes.
        confidences: ``(m,)``, softmax of the read class.
    """

    rows: Tensor
    labels: Tensor
    predicted: Tensor
    confidences: Tensor


@readable
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a classifier does on one split.

    Attributes:
        split: Name of the split.
        n: Number of images.
        class_names: One per class.
        accuracy: Share of images read rightly.
        interval: 95 % Wilson score interval of `accuracy`.
        mean_per_class: Mean of `per_class` over the classes that occur: every class counts the
            same, however many images it has.
        per_class: ``(class,)``, share of each class's images that are read rightly; NaN for a
            class without images.
        loss: Mean cross-entropy in nats.
        top: The k of each entry of `top_accuracy`.
        top_accuracy: Share of images whose class is among the k most probable ones.
        confusion: ``(class, class)`` counts, true class down, read class across.
        calibration_error: Mean over images of the difference between confidence and accuracy in
            their bin (expected calibration error, 15 equal bins).
        calibration_counts: ``(15,)``, images per bin.
        calibration_confidence: ``(15,)``, mean confidence per bin; NaN for an empty one.
        calibration_accuracy: ``(15,)``, accuracy per bin; NaN for an empty one.
        mistakes: The wrongly read images of highest confidence, most confident first.
        sample: Random images, right and wrong.
        predicted: ``(n,)``, the class read from every image.
        confidences: ``(n,)``, its softmax.
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

    def headline(self) -> str:
        """Such as ``"98.10 % (97.81 % to 98.35 %) of 10,000 test images"``."""
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"
            f" of {self.n:,} {self.split} images"
        )

    def _repr_html_(self) -> str:
        low, high = self.interval
        return (
            f"<p><b>{self.accuracy:.2%}</b> of {self.n:,} images read rightly"
            f" (95 % interval {low:.2%} to {high:.2%}); mean per class {self.mean_per_class:.2%},"
            f" calibration error {self.calibration_error:.3f}, loss {self.loss:.4f}</p>"
        )


def evaluate(
    classifier: Classifier,
    split: Split,
    *,
    mistakes: int = 24,
    sample: int = 24,
    generator: Generator | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Read every image of `split` once and compare with its label.

    Args:
        classifier: What to judge; it is left as it was.
        split: Images with labels.
        mistakes: Keep at most so many wrongly read images.
        sample: Keep at most so many random images, every class in proportion.
        generator: Chooses the random images; by default always the same ones.
        on_progress: Called with (images done, images in all).

    Returns:
        All numbers of one pass over the data, in float64 where they are sums.

    Raises:
        DataError: D11 no images; D10 a label that is not a class of the classifier.
        ModelContractError: M14 the images have another shape than the network takes.
        NumericalError: The network returned NaN or infinity.

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
    _check(classifier, split)
    n, classes = len(split), classifier.num_classes
    labels = split.labels.cpu()
    top = tuple(k for k in (1, 3, 5) if k < classes) or (1,)
    predicted = torch.empty(n, dtype=torch.int64)
    confidences = torch.empty(n)
    hits = torch.zeros(len(top), dtype=torch.int64)
    loss = 0.0
    step = max(1, SLAB_BYTES // (4 * math.prod(split.images.shape[1:])))
    with classifier.probe() as probe:
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            logits = probe.logits(split.to_float(rows)).cpu()
            if not bool(logits.isfinite().all()):
                bad = int((~logits.isfinite()).any(dim=1).sum())
                raise NumericalError(
                    f"the network returned NaN or infinity for {bad} of {len(logits)} images",
                    code="M11",
                    where=classifier.source,
                )
            likelihood = logits.double().log_softmax(dim=1)
            best, predicted[rows] = likelihood.max(dim=1)
            confidences[rows] = best.exp().float()
            places = _places(likelihood, labels[rows])
            hits += torch.stack([(places < k).sum() for k in top])
            loss -= likelihood.gather(1, labels[rows, None]).sum().item()
            if on_progress is not None:
                on_progress(rows.stop, n)
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
    seed = int(torch.randint(2**62, (1,), generator=source(generator)))
    few = sample_rows(labels, sample, seed=seed) if sample > 0 else torch.empty(0).long()
    chosen = few.sort().values
    hit = int(correct.sum())
    return Evaluation(
        split=split.name,
        n=n,
        class_names=classifier.class_names,
        accuracy=hit / n,
        interval=wilson(hit, n),
        mean_per_class=per_class.nanmean().item(),
        per_class=per_class,
        loss=loss / n,
        top=top,
        top_accuracy=tuple((hits.double() / n).tolist()),
        confusion=confusion,
        calibration_error=gaps / n,
        calibration_counts=counts,
        calibration_confidence=confidence,
        calibration_accuracy=accuracy,
        mistakes=examples(worst[:mistakes]),
        sample=examples(chosen),
        predicted=predicted,
        confidences=confidences,
    )


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
