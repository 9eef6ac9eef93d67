"""How well a classifier reads a split: confusions, classes, calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from convscope.figures._mosaic import mosaic, pixels
from convscope.figures._theme import (
    BLUE,
    MUTED,
    ON_DARK,
    ON_LIGHT,
    RED,
    SKY,
    axes,
    bare,
    class_label,
    figure,
    look,
    note,
    percent,
)
from convscope.stats import wilson
from convscope.training import Evaluation
from convscope.types import Images

LARGEST = 24
"""Classes up to which a confusion matrix is drawn cell by cell."""


def draw_evaluation(result: Evaluation) -> Figure:
    """Confusions, accuracy of each class, and calibration, in one figure.

    Args:
        result: From `convscope.evaluate`. With many classes the most frequent confusions replace
            the matrix and the weakest classes the bars.
    """
    with look():
        drawn = figure(10.5, 4.6)
        grid = drawn.add_gridspec(2, 2, width_ratios=(1.15, 1))
        _confusion(drawn, grid[:, 0], result)
        _per_class(drawn, grid[0, 1], result)
        _calibration(drawn, grid[1, 1], result)
    return drawn


def confusion_matrix(result: Evaluation) -> Figure:
    """Counts of (true, read) pairs, or the most frequent confusions of many classes."""
    with look():
        drawn = figure(5.6, 4.8)
        _confusion(drawn, 111, result)
    return drawn


def per_class_bars(result: Evaluation) -> Figure:
    """Accuracy of each class; of many classes, the weakest."""
    with look():
        drawn = figure(5.2, 3.0)
        _per_class(drawn, 111, result)
    return drawn


def calibration_diagram(result: Evaluation) -> Figure:
    """Accuracy against confidence: on the diagonal, confidence means what it says."""
    with look():
        drawn = figure(5.2, 3.0)
        _calibration(drawn, 111, result)
    return drawn


def top_confusions(result: Evaluation, count: int) -> list[tuple[int, int, int]]:
    """The most frequent (true, read, images), largest first; cheap for any number of classes."""
    confusion = result.confusion
    pairs = confusion.nonzero()
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    values = confusion[pairs[:, 0], pairs[:, 1]]
    order = values.argsort(descending=True, stable=True)[:count]
    return [
        (int(true), int(read), int(value))
        for (true, read), value in zip(pairs[order].tolist(), values[order].tolist(), strict=True)
    ]


def draw_mistakes(result: Evaluation, images: Images, *, columns: int = 8) -> Figure:
    """The most confident mistakes with true and read class.

    Args:
        result: From `convscope.evaluate`.
        images: ``(batch, channel, height, width)``, the images of ``result.mistakes.rows``.
        columns: Images per row.
    """
    found = result.mistakes
    count = min(len(images), len(found.rows))
    with look():
        rows = max(1, -(-count // columns))
        drawn = figure(1.25 * columns, 1.55 * rows)
        grid = drawn.add_gridspec(rows, columns)
        if not count:
            note(axes(drawn), "no image was read wrongly")
        for i in range(count):
            made = axes(drawn, grid[i // columns, i % columns])
            picture = pixels(images[i])
            made.imshow(picture, cmap="gray", vmin=0, vmax=255)
            bare(made)
            true = class_label(result.class_names, int(found.labels[i]), 12)
            read = class_label(result.class_names, int(found.predicted[i]), 12)
            made.set_title(
                f"{true} → {read}\n{percent(float(found.confidences[i]))}",
                fontsize=7.5,
                fontweight="normal",
                loc="center",
            )
    return drawn


def sheet(images: Images, columns: int = 8) -> Any:
    """Images as one mosaic of native pixels."""
    return mosaic([pixels(image) for image in images], columns=columns)


def _confusion(drawn: Figure, where: Any, result: Evaluation) -> None:
    classes = len(result.class_names)
    if classes > LARGEST:
        _confusion_bars(drawn, where, result)
        return
    made = axes(drawn, where, title="Confusions", x="read as", y="true class")
    counts = result.confusion.numpy()
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    # Square root: one mistake in a hundred should be seen beside ninety-nine hits.
    made.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for true in range(classes):
        for read in range(classes):
            if counts[true, read]:
                dark = np.sqrt(shares[true, read]) > 0.6
                made.text(
                    read, true, f"{counts[true, read]}", ha="center", va="center",
                    fontsize=max(4.5, min(8, 80 / classes)), color=ON_DARK if dark else ON_LIGHT,
                )  # fmt: skip
    names = [class_label(result.class_names, i, 12) for i in range(classes)]
    turned = max(map(len, names)) > 3
    made.set_xticks(range(classes), names, rotation=60 if turned else 0,
                    ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
    made.set_yticks(range(classes), names)
    made.tick_params(length=0)
    made.spines[:].set_visible(False)


def _confusion_bars(drawn: Figure, where: Any, result: Evaluation) -> None:
    title = f"Most frequent confusions of {len(result.class_names):,} classes"
    made = axes(drawn, where, title=title, x="images")
    found = top_confusions(result, 20)
    if not found:
        note(made, "no image was read wrongly")
        return
    names = [
        f"{class_label(result.class_names, true, 16)} → {class_label(result.class_names, read, 16)}"
        for true, read, _ in found
    ]
    made.barh(range(len(found)), [count for _, _, count in found], color=RED, height=0.7)
    made.set_yticks(range(len(found)), names, fontsize=7)
    made.invert_yaxis()
    made.tick_params(axis="y", length=0)


def _per_class(drawn: Figure, where: Any, result: Evaluation) -> None:
    values = 100 * result.per_class.double()
    known = (~values.isnan()).nonzero()[:, 0]
    many = len(result.class_names) > LARGEST
    order = known[values[known].argsort(stable=True)][:LARGEST] if many else known
    title = f"The {len(order)} weakest classes" if many else "Classes"
    made = axes(drawn, where, title=title, y="read rightly, %", grid="y")
    if not len(order):
        note(made, "no class has images")
        return
    totals = result.confusion.sum(dim=1)[order].tolist()
    hits = result.confusion.diagonal()[order].tolist()
    bounds = [wilson(hit, total) for hit, total in zip(hits, totals, strict=True)]
    low, high = ([100 * bound[side] for bound in bounds] for side in (0, 1))
    made.vlines(range(len(order)), low, high, color=SKY, linewidth=2.2)
    made.plot(range(len(order)), values[order].numpy(), "o", color=BLUE, markersize=5)
    made.axhline(100 * result.mean_per_class, color=RED, linewidth=1.1, linestyle=(0, (5, 2)))
    made.text(
        1.0, 100 * result.mean_per_class, "mean", transform=made.get_yaxis_transform(),
        ha="left", va="center", fontsize=7, color=RED,
    )  # fmt: skip
    names = [class_label(result.class_names, i, 12) for i in order.tolist()]
    turned = max(map(len, names)) > 3
    made.set_xticks(range(len(names)), names, rotation=45 if turned else 0,
                    ha="right" if turned else "center", rotation_mode="anchor",
                    fontsize=7 if turned else 8)  # fmt: skip
    made.set_xlim(-0.6, len(order) - 0.4)
    made.tick_params(axis="x", length=0)


def _calibration(drawn: Figure, where: Any, result: Evaluation) -> None:
    title = f"Calibration error {100 * result.calibration_error:.2f} %"
    made = axes(drawn, where, title=title, x="confidence, %", y="read rightly, %", grid="both")
    counts = result.calibration_counts.double()
    filled = counts > 0
    made.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    x = 100 * result.calibration_confidence[filled]
    y = 100 * result.calibration_accuracy[filled]
    share = counts[filled] / counts.sum().clamp_min(1)
    made.vlines(x.numpy(), x.numpy(), y.numpy(), color=RED, linewidth=1.4)
    for low, high, size in ((0.0, 0.02, 3.5), (0.02, 0.2, 5.5), (0.2, 1.1, 8.5)):
        chosen = (share > low) & (share <= high)
        made.plot(x[chosen].numpy(), y[chosen].numpy(), "o", color=BLUE, markersize=size)
    made.set_xlim(-2, 104)
    made.set_ylim(-2, 104)
