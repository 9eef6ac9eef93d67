"""Evaluation of a classifier: confusions, accuracy of each class, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from convscope.figures._mosaic import to_numpy
from convscope.figures._theme import (
    BLUE,
    MUTED,
    NARROW,
    ON_DARK,
    ON_LIGHT,
    RED,
    SHARES,
    SKY,
    SMALL,
    axes,
    class_label,
    figure,
    look,
    note,
)
from convscope.stats import wilson
from convscope.training import Evaluation
from convscope.transfer import TransferResult

Judged = Evaluation | TransferResult
"""Results with a confusion matrix and accuracies of classes."""

LARGEST = 24
"""Classes up to which a confusion matrix is drawn cell by cell."""


def draw_evaluation(result: Evaluation) -> Figure:
    """Confusions, accuracy of each class, and calibration, in one figure.

    Args:
        result: From `convscope.evaluate`. With many classes the most frequent confusions replace
            the matrix and the weakest classes the bars.
    """
    with look():
        side = _matrix_side(result)
        drawn = figure(4.9 + side, max(4.6, 0.82 * side))
        grid = drawn.add_gridspec(2, 2, width_ratios=(side, 4.9))
        _confusion(drawn, grid[:, 0], result)
        _per_class(drawn, grid[0, 1], result)
        _calibration(drawn, grid[1, 1], result)
    return drawn


def draw_transfer(result: TransferResult) -> Figure:
    """Confusions, accuracy of each class, and what cross-validation chose, in one figure.

    Args:
        result: From `convscope.transfer.transfer`.
    """
    with look():
        side = _matrix_side(result)
        drawn = figure(4.9 + side, max(4.6, 0.82 * side))
        grid = drawn.add_gridspec(2, 2, width_ratios=(side, 4.9))
        _confusion(drawn, grid[:, 0], result)
        _per_class(drawn, grid[0, 1], result)
        _cross_validation(drawn, grid[1, 1], result)
    return drawn


def cross_validation_curve(result: TransferResult) -> Figure:
    """Mean-per-class accuracy of each fold against the regularization."""
    with look():
        drawn = figure(NARROW, 2.9)
        _cross_validation(drawn, 111, result)
    return drawn


def confusion_matrix(result: Judged) -> Figure:
    """Counts of (true, predicted) pairs, or the most frequent confusions of many classes."""
    with look():
        side = _matrix_side(result)
        drawn = figure(side, max(4.6, 0.86 * side))
        _confusion(drawn, 111, result)
    return drawn


def per_class_bars(result: Judged) -> Figure:
    """Accuracy of each class; of many classes, the weakest."""
    with look():
        drawn = figure(NARROW, 2.9)
        _per_class(drawn, 111, result)
    return drawn


def calibration_diagram(result: Evaluation) -> Figure:
    """Accuracy against confidence: on the diagonal, confidence means what it says."""
    with look():
        drawn = figure(NARROW, 2.9)
        _calibration(drawn, 111, result)
    return drawn


def top_confusions(result: Judged, count: int) -> list[tuple[int, int, int]]:
    """The most frequent (true, predicted, images), largest first; fast for many classes."""
    confusion = result.confusion
    pairs = confusion.nonzero()
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    values = confusion[pairs[:, 0], pairs[:, 1]]
    order = values.argsort(descending=True, stable=True)[:count]
    return [
        (int(true), int(predicted), int(value))
        for (true, predicted), value in zip(
            pairs[order].tolist(), values[order].tolist(), strict=True
        )
    ]


def _matrix_side(result: Judged) -> float:
    """Inches for the confusion matrix: counts of four digits fit into each cell."""
    classes = len(result.class_names)
    return 5.6 if classes > LARGEST else max(5.6, 1.6 + 0.36 * classes)


def _confusion(drawn: Figure, where: Any, result: Judged) -> None:
    classes = len(result.class_names)
    if classes > LARGEST:
        _confusion_bars(drawn, where, result)
        return
    made = axes(drawn, where, title="Confusions", x="predicted as", y="true class")
    counts = to_numpy(result.confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    # Square root: one mistake in a hundred should be seen beside ninety-nine hits.
    made.imshow(np.sqrt(shares), cmap=SHARES, vmin=0, vmax=1)
    for true in range(classes):
        for predicted in range(classes):
            if counts[true, predicted]:
                dark = np.sqrt(shares[true, predicted]) > 0.6
                made.text(
                    predicted, true, f"{counts[true, predicted]}", ha="center", va="center",
                    fontsize=SMALL, color=ON_DARK if dark else ON_LIGHT,
                )  # fmt: skip
    names = [class_label(result.class_names, i, 12) for i in range(classes)]
    turned = max(map(len, names)) > 3
    made.set_xticks(range(classes), names, rotation=60 if turned else 0,
                    ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
    made.set_yticks(range(classes), names)
    made.tick_params(length=0)
    made.spines[:].set_visible(False)


def _confusion_bars(drawn: Figure, where: Any, result: Judged) -> None:
    title = f"Most frequent confusions of {len(result.class_names):,} classes"
    made = axes(drawn, where, title=title, x="images")
    found = top_confusions(result, 20)
    if not found:
        note(made, "no image was misclassified")
        return
    names = [
        f"{class_label(result.class_names, true, 16)} → "
        f"{class_label(result.class_names, predicted, 16)}"
        for true, predicted, _ in found
    ]
    made.barh(range(len(found)), [count for _, _, count in found], color=RED, height=0.7)
    made.set_yticks(range(len(found)), names, fontsize=SMALL)
    made.invert_yaxis()
    made.tick_params(axis="y", length=0)


def _per_class(drawn: Figure, where: Any, result: Judged) -> None:
    values = 100 * result.per_class.double()
    known = (~values.isnan()).nonzero()[:, 0]
    many = len(result.class_names) > LARGEST
    order = known[values[known].argsort(stable=True)][:LARGEST] if many else known
    title = f"The {len(order)} weakest classes" if many else "Classes"
    made = axes(drawn, where, title=title, y="accuracy, %", grid="y")
    if not len(order):
        note(made, "no class has images")
        return
    totals = result.confusion.sum(dim=1)[order].tolist()
    hits = result.confusion.diagonal()[order].tolist()
    bounds = [wilson(hit, total) for hit, total in zip(hits, totals, strict=True)]
    low, high = ([100 * bound[side] for bound in bounds] for side in (0, 1))
    made.vlines(range(len(order)), low, high, color=SKY, linewidth=2.2)
    made.plot(range(len(order)), to_numpy(values[order]), "o", color=BLUE, markersize=5)
    made.axhline(100 * result.mean_per_class, color=RED, linewidth=1.1, linestyle=(0, (5, 2)))
    made.text(
        1.0, 100 * result.mean_per_class, "mean", transform=made.get_yaxis_transform(),
        ha="left", va="center", fontsize=SMALL, color=RED,
    )  # fmt: skip
    names = [class_label(result.class_names, i, 12) for i in order.tolist()]
    turned = max(map(len, names)) > 3
    made.set_xticks(range(len(names)), names, rotation=45 if turned else 0,
                    ha="right" if turned else "center", rotation_mode="anchor",
                    fontsize=SMALL)  # fmt: skip
    made.set_xlim(-0.6, len(order) - 0.4)
    made.tick_params(axis="x", length=0)


def _calibration(drawn: Figure, where: Any, result: Evaluation) -> None:
    title = f"Calibration error {100 * result.calibration_error:.2f} %"
    made = axes(drawn, where, title=title, x="confidence, %", y="accuracy, %", grid="both")
    counts = result.calibration_counts.double()
    filled = counts > 0
    made.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    x = 100 * result.calibration_confidence[filled]
    y = 100 * result.calibration_accuracy[filled]
    share = counts[filled] / counts.sum().clamp_min(1)
    made.vlines(to_numpy(x), to_numpy(x), to_numpy(y), color=RED, linewidth=1.4)
    for low, high, size in ((0.0, 0.02, 3.5), (0.02, 0.2, 5.5), (0.2, 1.1, 8.5)):
        chosen = (share > low) & (share <= high)
        made.plot(to_numpy(x[chosen]), to_numpy(y[chosen]), "o", color=BLUE, markersize=size)
    made.set_xlim(-2, 104)
    made.set_ylim(-2, 104)


def _cross_validation(drawn: Figure, where: Any, result: TransferResult) -> None:
    """A dot per fold, a line through their means, and the value that was chosen."""
    scores = 100 * to_numpy(result.fold_scores)
    folds = scores.shape[1]
    title = f"Cross-validation in {folds} folds: {result.parameter} = {result.value:g}"
    made = axes(drawn, where, title=title, x=result.parameter, y="mean per class, %", grid="y")
    for fold in range(folds):
        made.plot(result.values, scores[:, fold], "o", color=SKY, markersize=3.5)
    made.plot(result.values, scores.mean(axis=1), "-", color=BLUE)
    made.axvline(result.value, color=RED, linewidth=1.1, linestyle=(0, (5, 2)))
    made.set_xscale("log")
    made.minorticks_off()
    made.set_xticks(result.values, [f"{value:g}" for value in result.values])
