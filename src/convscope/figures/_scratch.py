"""Networks from scratch: the adder's hidden units, gradient checks, a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convscope.figures._curve import curve, logarithmic
from convscope.figures._theme import (
    BLUE,
    GRID,
    INK,
    MUTED,
    PAPER,
    RED,
    SMALL,
    axes,
    bare,
    figure,
    look,
    note,
)
from convscope.scratch import GRADIENT_TOLERANCE, Addition, GradientCheck, TrainingCurve

WIDEST = 48
"""Places of an addition that are drawn: the lowest."""


def draw_addition(result: Addition) -> Figure:
    """An addition as on paper, with the three hidden units of the network bit by bit.

    Each column is a step of the network, which goes from right to left. A filled cell is a 1. The
    arrows lead from unit 2, which is the carry, to the next place, where it is counted.

    Args:
        result: From `convscope.scratch.addition`. Of longer numbers the lowest places are drawn.
    """
    places = min(len(result.outputs), WIDEST)
    inputs, hidden = result.inputs[:places], result.hidden[:places]
    carry = np.concatenate([[0], hidden[:-1, 1]])
    rows = (
        ("first number", 0.0, inputs[:, 0], BLUE),
        ("second number", 1.0, inputs[:, 1], BLUE),
        ("carry from the right", 2.0, carry, RED),
        ("unit 1: 1 or more", 3.5, hidden[:, 0], BLUE),
        ("unit 2: 2 or more", 4.5, hidden[:, 1], RED),
        ("unit 3: all 3", 5.5, hidden[:, 2], BLUE),
        ("sum", 7.0, result.outputs[:places], INK),
    )
    with look():
        drawn = figure(1.9 + 0.42 * max(places, 5), 3.8)
        shown = axes(drawn, title=_title(result, places), x="place")
        bare(shown)
        for spine in shown.spines.values():
            spine.set_visible(False)
        for _, y, bits, color in rows:
            for place, bit in enumerate(bits):
                _cell(shown, places - 1 - place, y, int(bit), color)
        for place in np.flatnonzero(hidden[:-1, 1]).tolist():
            x = places - 1 - place
            shown.annotate(
                "",
                xy=(x - 0.75, 2.48),
                xytext=(x - 0.25, 4.02),
                arrowprops={"arrowstyle": "-|>", "color": RED, "lw": 1.2},
            )
        shown.set_yticks([y for _, y, _, _ in rows], [name for name, _, _, _ in rows])
        shown.set_xticks(range(places), [str(place) for place in reversed(range(places))])
        shown.tick_params(length=0)
        shown.set_xlim(-0.6, places - 0.4)
        shown.set_ylim(7.6, -0.6)
    return drawn


def draw_gradient_checks(checks: Sequence[GradientCheck]) -> Figure:
    """The largest relative error of every check, on a logarithmic axis, beside what it may be.

    Args:
        checks: From `convscope.scratch.check_gradients`.
    """
    with look():
        names = list(dict.fromkeys(check.name for check in checks))
        drawn = figure(7.2, 1.0 + 0.24 * max(len(names), 1))
        shown = axes(
            drawn,
            title="Gradients against central differences",
            x="largest relative error",
            grid="x",
        )
        if not names:
            note(shown, "nothing was checked")
            return drawn
        for check in checks:
            shown.plot(
                max(check.error, 1e-13) if np.isfinite(check.error) else 1.0,
                names.index(check.name),
                "o" if check.passed else "X",
                color=BLUE if check.passed else RED,
                markersize=4 if check.passed else 7,
                alpha=0.8,
            )
        shown.axvline(GRADIENT_TOLERANCE, color=MUTED, linestyle="--", linewidth=1)
        shown.text(GRADIENT_TOLERANCE, -0.9, " tolerance", color=MUTED, fontsize=SMALL, va="center")
        shown.set_xscale("log")
        shown.set_xlim(5e-14, 2)
        shown.set_yticks(range(len(names)), names)
        shown.set_ylim(len(names) - 0.4, -1.4)
    return drawn


def draw_training_curve(result: TrainingCurve) -> Figure:
    """Loss and error of every batch, and the validation error after every epoch.

    Args:
        result: From `convscope.scratch.fit`.
    """
    epochs = np.arange(1, len(result.losses) + 1) / result.steps_per_epoch
    ends = np.arange(1, len(result.accuracies) + 1)
    with look():
        drawn = figure(8.4, 3.2)
        grid = drawn.add_gridspec(1, 2)
        loss = axes(drawn, grid[0, 0], title="Loss of each batch", x="epoch", y="nats", grid="both")
        curve(loss, epochs, result.losses, log=True, linewidth=0.9)
        logarithmic(loss)
        error = axes(drawn, grid[0, 1], title="Error", x="epoch", y="%", grid="both")
        curve(error, epochs, 100 * result.errors, name="training batch", linewidth=0.9)
        if len(ends):
            curve(
                error,
                ends,
                100 * (1 - result.accuracies),
                series=1,
                name="validation images",
                markers=True,
            )
            error.legend()
        error.set_ylim(bottom=0)
    return drawn


def _title(result: Addition, places: int) -> str:
    if len(result.outputs) > places:
        return f"The lowest {places} of {len(result.outputs):,} places of a sum"
    return f"{result.first} + {result.second} = {result.total}"


def _cell(shown: Axes, x: int, y: float, bit: int, color: str) -> None:
    """A square that is filled if the bit is 1, with the bit in it."""
    shown.add_patch(
        Rectangle(
            (x - 0.43, y - 0.43), 0.86, 0.86, facecolor=color if bit else PAPER, edgecolor=GRID
        )
    )
    shown.text(
        x, y, str(bit), ha="center", va="center", fontsize=SMALL, color=PAPER if bit else MUTED
    )
