"""Training curves and network diagrams."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from convscope.figures._curve import curve, logarithmic, remark
from convscope.figures._theme import BLUE, MUTED, RED, axes, figure, label, look, note
from convscope.models import NetworkSummary
from convscope.training import Measured, TrainResult


def draw_training(result: TrainResult) -> Figure:
    """Loss and accuracy over the epochs of a run."""
    return draw_history(result.history)


def draw_history(points: Sequence[Measured]) -> Figure:
    """Loss and accuracy side by side over the epochs.

    Args:
        points: Rows of ``metrics.csv``; none is a figure that says so.
    """
    with look():
        drawn = figure(8.6, 3.2)
        grid = drawn.add_gridspec(1, 2)
        _loss(drawn, grid[0, 0], points)
        _accuracy(drawn, grid[0, 1], points)
    return drawn


def loss_curve(points: Sequence[Measured]) -> Figure:
    """Cross-entropy over the epochs, logarithmic."""
    with look():
        drawn = figure(5.2, 3.0)
        _loss(drawn, 111, points)
    return drawn


def accuracy_curve(points: Sequence[Measured]) -> Figure:
    """Accuracy and error over the epochs."""
    with look():
        drawn = figure(5.2, 3.0)
        _accuracy(drawn, 111, points)
    return drawn


def _loss(drawn: Figure, where: object, points: Sequence[Measured]) -> None:
    made = axes(drawn, where, title="Loss", x="epoch", y="cross-entropy (nats)", grid="y")
    epochs = [p.epoch for p in points]
    train, validation = [p.train_loss for p in points], [p.validation_loss for p in points]
    log = any(value > 0 for value in (*train, *validation))
    missing = [
        curve(made, epochs, train, series=0, name="training", log=log),
        curve(made, epochs, validation, series=1, name="validation", markers=True, log=log),
    ]
    if log:
        logarithmic(made)
    if points:
        made.legend()
    remark(made, missing, 2 * len(points))


def _accuracy(drawn: Figure, where: object, points: Sequence[Measured]) -> None:
    made = axes(drawn, where, title="Error", x="epoch", y="images read wrongly, %", grid="y")
    epochs = [p.epoch for p in points]
    train = [100 * p.train_error for p in points]
    validation = [100 * p.validation_error for p in points]
    missing = [
        curve(made, epochs, train, series=0, name="training", log=True),
        curve(made, epochs, validation, series=1, name="validation", markers=True, log=True),
    ]
    drawable = 2 * len(points) - sum(missing)
    if drawable:
        logarithmic(made)
        made.legend()
    zero = sum(value == 0 for value in (*train, *validation))
    if points and not drawable:
        note(made, "no error above zero was measured")
    else:
        remark(made, [sum(missing) - zero], 2 * len(points))
    if drawable and zero:
        made.text(
            0.0, 0.02, f" {zero} points at 0 % lie below", transform=made.transAxes, fontsize=7,
            color=MUTED,
        )  # fmt: skip


MOST = 40


def draw_network(result: NetworkSummary) -> Figure:
    """Share of the weights and of the multiply-adds of each layer that has any."""
    rows = [row for row in result.rows if row.parameters or row.multiply_adds][:MOST]
    with look():
        drawn = figure(6.4, 0.3 * max(len(rows), 2) + 1.3)
        title = f"{result.parameters:,} weights, {result.work}"
        made = axes(drawn, title=title, x="share, %", grid="x")
        if not rows:
            note(made, "no layer has weights")
            return drawn
        work = max(result.multiply_adds, 1)
        places = range(len(rows))
        made.barh([p - 0.2 for p in places], [100 * r.share for r in rows], 0.36, color=BLUE,
                  label="weights")  # fmt: skip
        made.barh([p + 0.2 for p in places], [100 * r.multiply_adds / work for r in rows], 0.36,
                  color=RED, label="multiply-adds")  # fmt: skip
        made.set_yticks(places, [label(r.name, 24) for r in rows])
        made.invert_yaxis()
        made.tick_params(axis="y", length=0)
        made.legend(loc="lower right")
    return drawn
