"""Curves of measurements, and of training runs: with gaps for NaN, from one point or millions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from convscope.errors import choose
from convscope.figures._theme import (
    DASHES,
    GRID,
    MARKERS,
    MUTED,
    NARROW,
    SERIES,
    SMALL,
    axes,
    figure,
    label,
    look,
    note,
)
from convscope.training import LearningRateCurve, Measured, TrainResult

MOST = 600
"""Points of one drawn line. A screen has not many more columns."""
MOST_MARKERS = 40
"""More would hide the line, and each costs 40 bytes in a page."""


def draw_training(result: TrainResult) -> Figure:
    """Loss, accuracy and error over the epochs of a run."""
    return draw_history(result.history)


def draw_history(points: Sequence[Measured]) -> Figure:
    """Loss, accuracy and error side by side over the epochs.

    Args:
        points: Rows of ``metrics.csv``; none is a figure that says so.
    """
    with look():
        drawn = figure(11.4, 3.2)
        grid = drawn.add_gridspec(1, 3)
        _loss(drawn, grid[0, 0], points)
        _accuracy(drawn, grid[0, 1], points)
        _error(drawn, grid[0, 2], points)
    return drawn


def draw_learning_rates(result: LearningRateCurve) -> Figure:
    """Loss against a learning rate that climbs, with the rate to begin with."""
    with look():
        drawn = figure(NARROW, 2.9)
        panel = axes(
            drawn, 111, title="Learning rate", x="learning rate", y="training loss (nats)", grid="y"
        )
        panel.plot(result.rates, result.losses, color=GRID, linewidth=1.0, label="of each batch")
        panel.plot(result.rates, result.smoothed, color=SERIES[0], label="smoothed")
        panel.axvline(
            result.suggested, color=SERIES[1], linestyle=DASHES[1], linewidth=1.2,
            label=f"suggested: {result.suggested:g}",
        )  # fmt: skip
        panel.set_xscale("log")
        # A loss that diverges would press the rest of the curve flat.
        low, high = min(result.smoothed), result.smoothed[0]
        panel.set_ylim(max(0.0, low - 0.1 * (high - low)), low + 1.6 * (high - low + 1e-9))
        panel.legend()
    return drawn


def loss_curve(points: Sequence[Measured]) -> Figure:
    """Cross-entropy over the epochs, logarithmic."""
    return _alone(_loss, points)


def accuracy_curve(points: Sequence[Measured]) -> Figure:
    """Accuracy over the epochs, linear."""
    return _alone(_accuracy, points)


def error_curve(points: Sequence[Measured]) -> Figure:
    """Share of misclassified images over the epochs, logarithmic."""
    return _alone(_error, points)


Measure = Literal["loss", "accuracy", "error"]
Part = Literal["training", "validation"]

MEASURES = {
    "loss": ("Loss", "cross-entropy (nats)", "", 1.0, True),
    "accuracy": ("Accuracy", "accuracy, %", " %", 100.0, False),
    "error": ("Error", "images misclassified, %", " %", 100.0, True),
}
"""Of a run: title, vertical axis, unit, factor, and whether the axis is logarithmic."""


def run_curves(
    runs: Mapping[str, Sequence[Measured]],
    what: Measure,
    *,
    parts: Sequence[Part] = ("validation",),
    x: Literal["epoch", "step"] = "epoch",
) -> Figure:
    """One measure of several runs in one chart, such as with batch normalization and without.

    Args:
        runs: Name to rows of ``metrics.csv``.
        what: What is drawn.
        parts: Of the images that were trained on, of those kept for validation, or of both.
        x: What the horizontal axis counts.

    Example:
        >>> from convscope.training import Measured
        >>> point = Measured(step=1, epoch=1.0, learning_rate=0.1, train_loss=1.0, train_error=0.5,
        ...     train_accuracy=0.5, validation_loss=0.5, validation_error=0.2,
        ...     validation_accuracy=0.8, validation_images=10)
        >>> len(run_curves({"a": [point], "b": [point]}, "accuracy").axes[0].lines)
        2
    """
    title, y, unit, factor, log = MEASURES[choose("measure", what, MEASURES)]
    with look():
        many = len(runs) * len(parts) > MOST_BESIDE
        drawn = figure(NARROW + BESIDE if many else NARROW, 2.9)
        panel = axes(drawn, 111, title=title, x=x, y=y, grid="y")
        lines, pale, used = [], {}, set()
        for run, points in runs.items():
            for part in parts:
                field = f"{'train' if part == 'training' else part}_{what}"
                name = ", ".join(([run] if len(runs) > 1 else []) + [part] * (len(parts) > 1))
                whole, few = (points, []) if part == "training" else by_images(points)
                for kind in (whole, few):
                    values = [factor * float(getattr(point, field)) for point in kind]
                    places = [getattr(point, x) for point in kind]
                    if kind is whole:
                        lines.append((name or part, places, values))
                    elif few:
                        pale[len(lines) - 1] = (places, values)
                        used |= {point.validation_images for point in few}
        log = log and any(value > 0 for _, _, values in lines for value in values)
        missing = 0
        for series, (name, places, values) in enumerate(lines):
            end = next((v for v in reversed(values) if isfinite(v)), None)
            named = label(name, 40) + ("" if end is None else f": {end:.4g}{unit}")
            missing += curve(
                panel, places, values, series=series, name=named, markers=len(lines) > 1, log=log
            )
        for series, (places, values) in pale.items():
            curve(panel, places, values, series=series, log=log, **PALE)
        _name_pale(panel, used)
        zeros = 0
        if log:
            logarithmic(panel)
            for series, (_, places, values) in enumerate(lines):
                at = [place for place, v in zip(places, values, strict=True) if v == 0]
                zeros += len(at)
                at_the_axis(panel, at, series=series)
        elif what == "accuracy" and lines:
            panel.set_ylim(top=min(100.5, panel.get_ylim()[1]))
        if many:
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        elif log and pale:
            _room_above(panel)
            panel.legend(loc="upper right")
        elif lines:
            panel.legend()
        remark(panel, [missing - zeros], sum(len(values) for _, _, values in lines))
    return drawn


def line_chart(
    lines: Mapping[str, ArrayLike],
    *,
    title: str,
    x: str,
    y: str,
    places: ArrayLike | None = None,
    log: bool = False,
    markers: bool = False,
) -> Figure:
    """Lines with names in one chart; NaN and infinity leave a gap.

    Args:
        lines: Name to values.
        title: Above.
        x: What the horizontal axis counts, with its unit.
        y: What the vertical axis shows, with its unit.
        places: Positions of the values; by default 0, 1, 2, ...
        log: A logarithmic vertical axis.
        markers: Also mark the points.

    Example:
        >>> len(line_chart({"a": [1, 2], "b": [2, 1]}, title="t", x="step", y="cost").axes[0].lines)
        2
    """
    with look():
        drawn = figure(NARROW if len(lines) <= MOST_BESIDE else NARROW + 0.6, 2.9)
        panel = axes(drawn, 111, title=label(title, 60), x=label(x, 60), y=label(y, 60), grid="y")
        missing, total = [], 0
        for series, (name, values) in enumerate(lines.items()):
            ys = np.asarray(values, dtype=float)
            xs = np.arange(len(ys)) if places is None else places
            total += len(ys)
            named = label(name, 24)
            missing.append(
                curve(panel, xs, ys, series=series, name=named, markers=markers, log=log)
            )
        if log:
            logarithmic(panel)
        if len(lines) > MOST_BESIDE:
            panel.legend(fontsize=SMALL, labelspacing=0.2, loc="center left",
                         bbox_to_anchor=(1.0, 0.5))  # fmt: skip
        elif len(lines) > 1:
            panel.legend()
        if total == 0 or sum(missing) >= total:
            remark(panel, missing, total)
    return drawn


MOST_BESIDE = 4
"""Names that fit into a chart; more stand beside it."""
BESIDE = 2.4
"""Inches for names of runs beside a chart."""


def _alone(
    panel: Callable[[Figure, object, Sequence[Measured]], None], points: Sequence[Measured]
) -> Figure:
    with look():
        drawn = figure(NARROW, 2.9)
        panel(drawn, 111, points)
    return drawn


def _loss(drawn: Figure, where: object, points: Sequence[Measured]) -> None:
    panel = axes(drawn, where, title="Loss", x="epoch", y="cross-entropy (nats)", grid="y")
    train, validation = [p.train_loss for p in points], [p.validation_loss for p in points]
    log = any(value > 0 for value in (*train, *validation))
    _pair(panel, points, train, validation, log=log)


def _accuracy(drawn: Figure, where: object, points: Sequence[Measured]) -> None:
    panel = axes(drawn, where, title="Accuracy", x="epoch", y="accuracy, %", grid="y")
    train = [100 * p.train_accuracy for p in points]
    validation = [100 * p.validation_accuracy for p in points]
    _pair(panel, points, train, validation, unit=" %")
    panel.set_ylim(top=min(100.5, panel.get_ylim()[1]))


def _error(drawn: Figure, where: object, points: Sequence[Measured]) -> None:
    panel = axes(drawn, where, title="Error", x="epoch", y="images misclassified, %", grid="y")
    train = [100 * p.train_error for p in points]
    validation = [100 * p.validation_error for p in points]
    log = any(value > 0 for value in (*train, *validation))
    _pair(panel, points, train, validation, log=log, unit=" %")


def _pair(
    panel: Axes,
    points: Sequence[Measured],
    train: Sequence[float],
    validation: Sequence[float],
    *,
    log: bool = False,
    unit: str = "",
) -> None:
    """Training and validation over the epochs, with their last values and a legend."""
    value_at = {id(point): value for point, value in zip(points, validation, strict=True)}
    whole, few = by_images(points)
    pairs = (
        ([p.epoch for p in points], train, "training"),
        ([p.epoch for p in whole], [value_at[id(p)] for p in whole], "validation"),
    )
    missing = 0
    for series, (epochs, values, name) in enumerate(pairs):
        end = next((v for v in reversed(values) if isfinite(v)), None)
        named = name if end is None else f"{name}: {end:.4g}{unit}"
        missing += curve(
            panel, epochs, values, series=series, name=named, markers=series == 1, log=log
        )
    if few:
        places, values = [p.epoch for p in few], [value_at[id(p)] for p in few]
        curve(panel, places, values, series=1, log=log, **PALE)
        _name_pale(panel, {point.validation_images for point in few})
    zeros = 0
    if log:
        logarithmic(panel)
        for series, (epochs, values, _) in enumerate(pairs):
            at = [epoch for epoch, value in zip(epochs, values, strict=True) if value == 0]
            zeros += len(at)
            at_the_axis(panel, at, series=series)
    if points:
        panel.legend()
    remark(panel, [missing - zeros], sum(len(values) for _, values, _ in pairs))


PALE: dict[str, Any] = {"alpha": 0.35, "linewidth": 1.0, "zorder": 1.5}
"""A line of measurements on fewer images."""


def by_images(points: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """Points whose validation can be compared, and those that were measured on fewer images.

    A validation inside an epoch may use a part of the images. Joined with those on all of them, it
    would be a line that jumps by how difficult that part is.

    Example:
        >>> by_images([])
        ([], [])
    """
    most = max((point.validation_images for point in points), default=0)
    whole = [point for point in points if point.validation_images in (0, most)]
    return whole, [point for point in points if point.validation_images not in (0, most)]


def _room_above(panel: Axes) -> None:
    """Leave the upper third of a logarithmic axis to the legend: lines fill the rest."""
    low, high = panel.get_ylim()
    panel.set_ylim(low, high * (high / low) ** 0.5)


def _name_pale(panel: Axes, images: set[int]) -> None:
    """Say in the legend what pale lines are."""
    if images:
        few = " or ".join(f"{number:,}" for number in sorted(images))
        panel.plot([], [], color=MUTED, label=f"pale: on {few} of the images", **PALE)


def curve(
    drawn: Axes,
    x: ArrayLike,
    y: ArrayLike,
    *,
    series: int = 0,
    name: str = "",
    markers: bool = False,
    log: bool = False,
    **more: Any,
) -> int:
    """Draw one line.

    Args:
        drawn: Where.
        x: Positions.
        y: Values; NaN and infinity leave a gap.
        series: 0, 1, 2, ...: color, dashes and marker.
        name: Safe text for the legend.
        markers: Also mark the points; every second, third, ... where there are many.
        log: The axis will be logarithmic: values of zero and less leave a gap, too.
        **more: For ``Axes.plot``.

    Returns:
        How many values could not be drawn.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    bad = ~np.isfinite(ys) | ~np.isfinite(xs)
    if log:
        bad |= ~(ys > 0)
    missing = int(bad.sum())
    ys = np.where(bad, np.nan, ys)
    xs, ys = decimated(xs, ys, MOST)
    alone = len(ys) - int(np.isnan(ys).sum()) == 1
    drawn.plot(
        xs,
        ys,
        color=SERIES[series % len(SERIES)],
        linestyle=DASHES[(series + series // len(SERIES)) % len(DASHES)],
        marker=MARKERS[series % len(MARKERS)] if markers or alone else None,
        markersize=4,
        markevery=-(-len(ys) // MOST_MARKERS) if markers else None,
        label=name or None,
        **more,
    )
    return missing


def logarithmic(drawn: Axes) -> None:
    """A logarithmic vertical axis with plain numbers: 0.01, 0.02, 0.05, 0.1."""
    drawn.set_yscale("log")
    low, high = drawn.get_ylim()
    wide = high > 300 * low
    drawn.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    drawn.yaxis.set_minor_locator(NullLocator())
    drawn.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def at_the_axis(drawn: Axes, x: Sequence[float], *, series: int = 0) -> None:
    """Mark values of zero, which a logarithmic axis cannot show, where they would leave it.

    Args:
        drawn: Where; its limits must be set.
        x: Positions of the values.
        series: As for `curve`.
    """
    if len(x):
        step = -(-len(x) // MOST_MARKERS)
        drawn.plot(
            x[::step],
            [0.0] * len(x[::step]),
            transform=drawn.get_xaxis_transform(),
            linestyle="none",
            color=SERIES[series % len(SERIES)],
            marker="v",
            markersize=5,
            clip_on=False,
        )
        drawn.text(
            0.0, 0.03, " ▼ zero", transform=drawn.transAxes, ha="left", va="bottom",
            fontsize=SMALL, color=MUTED,
        )  # fmt: skip


def remark(drawn: Axes, counts: Sequence[int], total: int) -> None:
    """Say what a figure leaves out."""
    if total == 0:
        note(drawn, "nothing was measured")
    elif sum(counts) >= total:
        note(drawn, "no finite value was measured")
    elif sum(counts):
        drawn.text(
            0.99, 0.02,
            f"{sum(counts):,} {'value' if sum(counts) == 1 else 'values'} (NaN or infinite) "
            "left out",
            transform=drawn.transAxes, ha="right", va="bottom", fontsize=SMALL, color=SERIES[1],
        )  # fmt: skip


def decimated(
    x: NDArray[np.floating], y: NDArray[np.floating], most: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """At most about `most` points that keep every peak: the smallest and largest of each bucket.

    Example:
        >>> x, y = decimated(np.arange(1e5), np.sin(np.arange(1e5)), 100)
        >>> len(y) <= 102, bool(y.max() > 0.999)
        (True, True)
    """
    if len(y) <= most:
        return x, y
    edges = np.linspace(0, len(y), most // 2 + 1).astype(int)
    keep = {0, len(y) - 1}
    for low, high in pairwise(edges):
        part = y[low:high]
        if not np.isnan(part).all():
            keep.update((low + int(np.nanargmin(part)), low + int(np.nanargmax(part))))
        elif len(part):
            keep.add(int(low))
    rows = np.array(sorted(keep))
    return x[rows], y[rows]
