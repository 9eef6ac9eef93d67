"""Transfer learning: features of a network, a linear classifier, one look at the test images."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._random import source
from convscope.classifier import Classifier
from convscope.data import Dataset, ReadFile, refuse_problems, sample_rows
from convscope.errors import ConvscopeError, DataError
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.sharding import Record
from convscope.stats import wilson, wilson_of_mean
from convscope.transfer import TRANSFER_CLASSIFIERS
from convscope.transfer._cache import FeatureCache
from convscope.transfer._features import FeatureLayer, feature_layer, layer_features, network_key
from convscope.transfer._images import Part, TransferImages, open_images
from convscope.transfer._judging import BATCH, Features, FeaturesJudging, RecordedFeatures, unit
from convscope.transfer._result import TransferMistakes, TransferResult

FOLDS = 5
CHECKED = 2
"""Images of a cache that are run again, to see that it is of this network."""

CLOSE = 1e-3
"""How far their features may be from the cached ones, as a share of the largest."""


def transfer(
    classifier: Classifier,
    data: str | Dataset,
    *,
    method: str = "logistic",
    layer: str | None = None,
    cache: Path | str | None = None,
    mistakes: int = 24,
    data_dir: Path | str | None = None,
    offline: bool = False,
    accept_modified: bool = False,
    skip_bad: bool = False,
    generator: Generator | None = None,
) -> TransferResult:
    """Teach a linear classifier the classes of a data set from the features of a network.

    The features of an image are what enters the network's last layer (see `feature_layer`), scaled
    to length one. How strongly the classifier is regularized is chosen by stratified
    cross-validation on the training images, by mean-per-class accuracy; then it is fitted to all of
    them. Only then are the test images opened, once.

    Images are read, run and let go one batch after the other: what is held of each is its features.
    `convscope.progress.watch` tells how much is done.

    Args:
        classifier: The network; its own classes play no part.
        data: ``"pets"`` (all breeds that are there, official split), ``"folder:DIRECTORY"``, any
            other name, or a data set. Its training and validation images are trained on.
        method: A name in `TRANSFER_CLASSIFIERS`.
        layer: A layer whose output is taken instead.
        cache: Folder of features that are kept, by network and hash of the image; None: none are.
        mistakes: Keep at most this many of the misclassified images.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network to download.
        accept_modified: Go on with files whose checksum is not the registered one.
        skip_bad: Leave images out that cannot be read; they are listed in the result.
        generator: Cuts the folds; ``None``: a fresh generator with seed 0.

    Raises:
        UsageError: U01, no such classifier or data set.
        DataError: D11 if a part is empty, there is one class, or a class has a single training
            image; D21 if images cannot be read.
        ModelContractError: M15 if the network's last layer is not found.
        NumericalError: M11 if features are NaN or infinite.

    Example:
        >>> import convscope
        >>> found = transfer(convscope.load("mnist-conv2-fc"), "digits", method="ridge")
        >>> found.mean_per_class > 0.9
        True

    Source:
        S. Kornblith, J. Shlens, Q. V. Le, "Do Better ImageNet Models Transfer Better?", CVPR 2019
        (logistic regression on the penultimate layer; mean-per-class accuracy). Here features have
        length one, and the folds are stratified.
    """
    started = time.perf_counter()
    TRANSFER_CLASSIFIERS.chosen("classifier", method)
    images = open_images(
        data, classifier, data_dir=data_dir, offline=offline, accept_modified=accept_modified,
        skip_bad=skip_bad,
    )  # fmt: skip
    where = feature_layer(classifier, layer)
    kept = FeatureCache(cache, network_key(classifier, where), size=where.size)
    reader = _Reader(classifier, where, kept, skip_bad=skip_bad)
    return _learned(images, reader, method, mistakes, generator, started)


def transfer_of(
    judging: FeaturesJudging,
    records: Sequence[Record],
    *,
    method: str = "logistic",
    mistakes: int = 24,
    generator: Generator | None = None,
) -> TransferResult:
    """What `transfer` learns, from features that many workers may have found.

    Args:
        judging: How they were found.
        records: Of all its batches, in order.
        method: A name in `TRANSFER_CLASSIFIERS`.
        mistakes: Keep at most this many of the misclassified images; they are read again.
        generator: Cuts the folds; ``None``: a fresh generator with seed 0.

    Raises:
        UsageError: U01, no such classifier.
        DataError: D11, as for `transfer`.
    """
    found = RecordedFeatures(judging, records)
    return _learned(judging.images, found, method, mistakes, generator, time.perf_counter())


def rehearse_learning(judging: FeaturesJudging, *, method: str, images: int = 96) -> float:
    """Learn once from as many features as there are, made of those of a few images.

    Features of an image of the same class with noise added stand for those that are not known.

    Args:
        judging: How features are found.
        method: A name in `TRANSFER_CLASSIFIERS`.
        images: How many are run.

    Returns:
        How many times as long the job takes: this fits every value to one fold only.
    """
    part, folds = judging.images.training, _folds(judging.images)
    labels = np.array(part.labels)
    some = judging.of_rows(part, sample_rows(torch.from_numpy(labels), images).tolist())
    known, rows = unit(some.arrays["features"]), np.array(some.numbers["rows"])
    random = np.random.default_rng(0)
    inside = random.permutation(len(labels))[: len(labels) * (folds - 1) // folds]
    stands_for = np.array([
        random.choice(same if len(same := np.flatnonzero(labels[rows] == k)) else len(rows))
        for k in labels[inside]
    ])  # fmt: skip
    noise = random.standard_normal((len(inside), known.shape[1]), dtype=np.float32)
    x = unit(known[stands_for] + 0.5 * known.std(axis=0) * noise)
    name = TRANSFER_CLASSIFIERS.known(method)
    values = TRANSFER_CLASSIFIERS.spec(name).values
    for row, value in enumerate(values):
        announce(row / len(values))
        _fitted(TRANSFER_CLASSIFIERS[name](value, 0), x, labels[inside])
    return folds + 1 / len(values)


class _Features(Protocol):
    """Where features come from."""

    classifier: Classifier
    where: FeatureLayer
    refused: list[str]
    computed: int

    def notes(self) -> list[str]: ...
    def features(self, part: Part) -> tuple[Features, list[int]]: ...


def _learned(
    images: TransferImages,
    reader: _Features,
    method: str,
    mistakes: int,
    generator: Generator | None,
    started: float,
) -> TransferResult:
    """Fit a classifier to the features of training images, then look at the test images."""
    spec_name = TRANSFER_CLASSIFIERS.known(method)
    make = TRANSFER_CLASSIFIERS.chosen("classifier", method)
    spec = TRANSFER_CLASSIFIERS.spec(spec_name)
    seed = int(torch.randint(2**31 - 1, (1,), generator=source(generator)))
    where, folds = reader.where, _folds(images)
    share = len(images.training) / (len(images.training) + len(images.test))
    with stage(0.0, 0.9 * share, "features of training images"):
        x, rows = reader.features(images.training)
    labels = np.array(images.training.labels)[rows]
    notes = list(images.notes)
    with stage(0.9 * share, 0.9 * share + 0.1, "cross-validation"):
        scores = _cross_validated(make, spec.values, x, labels, folds, seed)
        best = int(scores.mean(axis=1).argmax())
        fitted, unfinished = _fitted(make(spec.values[best], seed), x, labels)
    if unfinished:
        notes.append("the classifier had not converged when its iterations ended")
    with stage(0.9 * share + 0.1, 1.0, "features of test images"):
        x, rows = reader.features(images.test)
    classes = len(images.class_names)
    weights, bias = _linear(fitted, classes, where.size)
    right = torch.from_numpy(np.array(images.test.labels)[rows])
    result = _looked_at(torch.from_numpy(x) @ weights.T + bias, right, classes)
    names = tuple(images.test.names[row] for row in rows)
    return TransferResult(
        data=images.name,
        source=reader.classifier.source,
        features=f"{where}, scaled to length 1",
        feature_size=where.size,
        classifier=spec_name,
        class_names=images.class_names,
        parameter=spec.parameter,
        values=spec.values,
        fold_scores=torch.from_numpy(scores),
        value=spec.values[best],
        training_images=len(labels),
        labels=right,
        names=names,
        mistakes=_worst(reader, images.test, rows, right, result, mistakes),
        weights=weights,
        bias=bias,
        computed=reader.computed,
        seconds=time.perf_counter() - started,
        notes=tuple(notes + reader.notes()),
        refused=(*images.problems, *reader.refused),
        **{key: value for key, value in result.items() if key != "scores"},
    )


def _folds(images: TransferImages) -> int:
    """How many folds there can be: every class has an image in each."""
    if len(images.class_names) < 2:
        raise DataError(
            f"all images are of one class, {images.class_names[0]!r}",
            code="D11",
            where=images.name,
            expected="at least two classes, such as two folders of images",
        )
    counts = np.bincount(images.training.labels, minlength=len(images.class_names))
    few = [(int(n), name) for n, name in zip(counts, images.class_names, strict=True) if n < 2]
    if few:
        raise DataError(
            f"{len(few)} of {len(images.class_names)} classes have less than two training images, "
            f"such as {few[0][1]!r} with {few[0][0]}",
            code="D11",
            where=images.name,
            expected="at least two, for cross-validation",
        )
    return min(FOLDS, int(counts.min()))


class _Reader:
    """Features of images, from the cache or from the network."""

    def __init__(
        self, classifier: Classifier, where: FeatureLayer, cache: FeatureCache, *, skip_bad: bool
    ) -> None:
        self.classifier, self.where, self.cache = classifier, where, cache
        self.skip_bad = skip_bad
        self.refused: list[str] = []
        self.computed = 0
        self._lock = threading.Lock()
        self._to_check: set[str] = set()
        self._chosen = 0
        self._outdated = False

    def notes(self) -> list[str]:
        """What happened to the cache."""
        notes = []
        if self.cache.damaged:
            notes.append(f"{self.cache.damaged} damaged files of cached features were replaced")
        if self._outdated:
            notes.append("cached features were of another version of the network, and replaced")
        return notes

    def features(self, part: Part) -> tuple[Features, list[int]]:
        """``(image, feature)`` scaled to length one, and the rows of the part that could be read.

        Raises:
            DataError: D21 if images cannot be read and are not to be skipped.
        """
        found = np.empty((len(part), self.where.size), dtype=np.float32)
        problems: list[str] = []
        rows: list[int] = []
        waiting: list[tuple[int, ReadFile]] = []
        with self.classifier.probe() as probe:
            for row, read in enumerate(part.read(range(len(part)), self._wanted)):
                announce(row / len(part))
                if row % BATCH == 0:  # Batches are cut by position, whatever is in the cache.
                    self._run(probe, waiting, found)
                    waiting = []
                if isinstance(read, ConvscopeError):
                    problems.append(f"{part.names[row]}: {read.code} {read.what}")
                    continue
                rows.append(row)
                self._check(probe, read)
                known = self.cache.find(read.sha256)
                if known is not None:
                    found[row] = known
                    continue
                if read.pixels is None:  # It was in the cache when it was read.
                    (read,) = (x for x in part.read([row], lambda _: True))
                    if isinstance(read, ConvscopeError):
                        raise read
                waiting.append((row, read))
            self._run(probe, waiting, found)
        self.cache.flush()
        announce(1.0)
        refuse_problems(problems, part.name, skip_bad=self.skip_bad)
        if not rows:
            raise DataError(f"none of the {part.name} images can be read", code="D11")
        self.refused += problems
        return unit(found[rows] if problems else found), rows

    def _wanted(self, sha256: str) -> bool:
        if sha256 not in self.cache:
            return True
        with self._lock:  # The threads that decode ask.
            if self._chosen < CHECKED:
                self._chosen += 1
                self._to_check.add(sha256)
            return sha256 in self._to_check

    def _run(self, probe: Probe, waiting: list[tuple[int, ReadFile]], found: Features) -> None:
        if not waiting:
            return
        batch = torch.stack([_pixels(read) for _, read in waiting])
        values = layer_features(probe, batch, self.where).numpy()
        for (row, read), features in zip(waiting, values, strict=True):
            found[row] = features
            self.cache.add(read.sha256, features.copy())
        self.computed += len(waiting)

    def _check(self, probe: Probe, read: ReadFile) -> None:
        """Compare the cached features of an image with what the network gives now."""
        if read.sha256 not in self._to_check or read.pixels is None:
            return
        with self._lock:
            self._to_check.discard(read.sha256)
        known = self.cache.find(read.sha256)
        if known is None:
            return
        # Two of it: some networks cannot take one image.
        pair = _pixels(read).expand(2, -1, -1, -1)
        now = layer_features(probe, pair, self.where)[0].numpy()
        self.computed += 1
        if np.abs(now - known).max() > CLOSE * max(float(np.abs(now).max()), 1e-12):
            self.cache.forget()
            self._outdated = True


def _pixels(read: ReadFile) -> Tensor:
    assert read.pixels is not None, "images to run have pixels"
    return read.pixels.float() / 255


def _cross_validated(
    make: Any, values: tuple[float, ...], x: Features, labels: NDArray[Any], folds: int, seed: int
) -> NDArray[np.float64]:
    """Mean-per-class accuracy ``(value, fold)`` on the images left out."""
    from sklearn.model_selection import StratifiedKFold

    scores = np.empty((len(values), folds))
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fold, (inside, outside) in enumerate(cut.split(x, labels)):
        for row, value in enumerate(values):
            announce((fold * len(values) + row) / (folds * len(values) + 1))
            fitted, _ = _fitted(make(value, seed), x[inside], labels[inside])
            right = fitted.predict(x[outside]) == labels[outside]
            present = np.unique(labels[outside])
            scores[row, fold] = np.mean([right[labels[outside] == k].mean() for k in present])
    return scores


def _fitted(estimator: Any, x: Features, labels: NDArray[Any]) -> tuple[Any, bool]:
    """The estimator, fitted, and whether it gave up before it had converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(x.astype(np.float64), labels)
    return estimator, any(issubclass(one.category, ConvergenceWarning) for one in caught)


def _linear(fitted: Any, classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Weights and biases of every class; of two, scikit-learn has only the second's."""
    coefficients, intercepts = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    weights, bias = torch.zeros(classes, size), torch.full((classes,), -torch.inf)
    if len(fitted.classes_) == 2 and len(coefficients) == 1:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    for row, label in enumerate(fitted.classes_.tolist()):
        weights[label] = torch.from_numpy(coefficients[row]).float()
        bias[label] = float(intercepts[row])
    return weights, bias


def _looked_at(scores: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    """The numbers of the test images."""
    predicted = scores.argmax(dim=1)
    confusion = (labels * classes + predicted).bincount(minlength=classes**2)
    confusion = confusion.view(classes, classes)
    hits, counts = confusion.diagonal(), confusion.sum(dim=1)
    per_class = hits.double() / counts
    present = counts > 0
    total, right = len(labels), int(hits.sum())
    return {
        "scores": scores,
        "n": total,
        "accuracy": right / total,
        "interval": wilson(right, total),
        "mean_per_class": per_class.nanmean().item(),
        "mean_per_class_interval": wilson_of_mean(hits[present].tolist(), counts[present].tolist()),
        "per_class": per_class,
        "confusion": confusion,
        "predicted": predicted,
    }


def _worst(
    reader: _Features,
    part: Part,
    rows: list[int],
    labels: Tensor,
    result: dict[str, Any],
    most: int,
) -> TransferMistakes:
    """The misclassified images whose true class is furthest behind, read again."""
    scores, predicted = result["scores"], result["predicted"]
    margins = scores.max(dim=1).values - scores.gather(1, labels[:, None])[:, 0]
    wrong = (predicted != labels).nonzero()[:, 0]
    wrong = wrong[margins[wrong].argsort(descending=True, stable=True)][:most]
    again = part.read([rows[row] for row in wrong.tolist()], lambda _: True)
    pairs = [
        (int(row), read.pixels)
        for row, read in zip(wrong, again, strict=True)
        if not isinstance(read, ConvscopeError) and read.pixels is not None
    ]
    kept = torch.tensor([row for row, _ in pairs], dtype=torch.int64)
    shape = (0, *reader.classifier.input_shape)
    return TransferMistakes(
        names=tuple(part.names[rows[row]] for row, _ in pairs),
        images=torch.stack([x for _, x in pairs]) if pairs else torch.empty(shape).byte(),
        labels=labels[kept],
        predicted=predicted[kept],
        margins=margins[kept],
    )
