"""Training curves and network diagrams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.figures._curve import at_the_axis, curve, logarithmic, remark
from convscope.figures._theme import BLUE, RED, axes, figure, label, look, note
from convscope.models import NetworkSummary
from convscope.training import Measured, TrainResult


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


def loss_curve(points: Sequence[Measured]) -> Figure:
    """Cross-entropy over the epochs, logarithmic."""
    return _alone(_loss, points)


def accuracy_curve(points: Sequence[Measured]) -> Figure:
    """Accuracy over the epochs, linear."""
    return _alone(_accuracy, points)


def error_curve(points: Sequence[Measured]) -> Figure:
    """Share of misclassified images over the epochs, logarithmic."""
    return _alone(_error, points)


def _alone(
    panel: Callable[[Figure, object, Sequence[Measured]], None], points: Sequence[Measured]
) -> Figure:
    with look():
        drawn = figure(5.2, 3.0)
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
    epochs = [p.epoch for p in points]
    pairs = ((train, "training"), (validation, "validation"))
    missing = 0
    for series, (values, name) in enumerate(pairs):
        end = next((v for v in reversed(values) if isfinite(v)), None)
        named = name if end is None else f"{name}: {end:.4g}{unit}"
        missing += curve(
            panel, epochs, values, series=series, name=named, markers=series == 1, log=log
        )
    zeros = 0
    if log:
        logarithmic(panel)
        for series, (values, _) in enumerate(pairs):
            at = [epoch for epoch, value in zip(epochs, values, strict=True) if value == 0]
            zeros += len(at)
            at_the_axis(panel, at, series=series)
    if points:
        panel.legend()
    remark(panel, [missing - zeros], 2 * len(points))


MOST = 40


def draw_network(result: NetworkSummary) -> Figure:
    """Share of the parameters and of the multiply-adds of each layer that has any."""
    rows = [row for row in result.rows if row.parameters or row.multiply_adds][:MOST]
    with look():
        drawn = figure(6.4, 0.3 * max(len(rows), 2) + 1.6)
        title = f"{result.parameters:,} parameters, {result.work}"
        made = axes(drawn, title=title, x="share, %", grid="x")
        if not rows:
            note(made, "no layer has parameters")
            return drawn
        work = max(result.multiply_adds, 1)
        places = range(len(rows))
        made.barh([p - 0.2 for p in places], [100 * r.share for r in rows], 0.36, color=BLUE,
                  label="parameters")  # fmt: skip
        made.barh([p + 0.2 for p in places], [100 * r.multiply_adds / work for r in rows], 0.36,
                  color=RED, label="multiply-adds")  # fmt: skip
        made.set_yticks(places, [label(r.name, 24) for r in rows])
        made.invert_yaxis()
        made.tick_params(axis="y", length=0)
        made.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return drawn
