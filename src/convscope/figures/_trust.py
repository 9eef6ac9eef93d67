"""Whom to believe: deletion, insertion and randomization curves of several methods."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from convscope.explanations import Trust
from convscope.figures._curve import curve
from convscope.figures._text import label
from convscope.figures._theme import MUTED, axes, figure, look, note


def draw_trust(result: Trust) -> Figure:
    """Three panels: blurring what a map puts first, sharpening it, and randomizing weights."""
    with look():
        drawn = figure(11.0, 3.4)
        grid = drawn.add_gridspec(1, 3)
        x = "share of pixels, %"
        made = axes(drawn, grid[0], title="Deletion: lower is better", x=x, y="probability, %")
        _curves(made, result, result.deletion)
        made = axes(drawn, grid[1], title="Insertion: higher is better", x=x, y="probability, %")
        _curves(made, result, result.insertion)
        made = axes(
            drawn,
            grid[2],
            title="Random weights: 0 is better",
            x="randomized up to",
            y="rank correlation with the trained map",
            grid="y",
        )
        if not result.stages:
            note(made, "the network cannot be copied")
            return drawn
        places = range(len(result.stages))
        for i, row in enumerate(result.rows[:-1]):
            name = label(row.method, 24)
            curve(made, places, result.similarity[i].numpy(), series=i, markers=True, name=name)
        made.plot(
            places,
            result.similarity[-1].numpy(),
            color=MUTED,
            linewidth=2.4,
            linestyle=":",
            label=label(result.rows[-1].method, 24),
        )
        made.set_ylim(min(-0.25, float(result.similarity.nan_to_num().min()) - 0.05), 1.0)
        names = [label(stage, 14) for stage in result.stages]
        made.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
        made.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn


def _curves(made: Axes, result: Trust, values: Tensor) -> None:
    made.grid(True, axis="y")
    made.set_ylim(0, 102)
    shares = 100 * result.fractions.numpy()
    for i, row in enumerate(result.rows[:-1]):
        curve(made, shares, 100 * values[i].numpy(), series=i, name=label(row.method, 24))
    made.plot(shares, 100 * values[-1].numpy(), color=MUTED, linewidth=2.4, linestyle=":")
