"""A network as a chart: where its weights are and where its work is done."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.figures._text import label
from convscope.figures._theme import BLUE, RED, axes, figure, look, note
from convscope.models import NetworkSummary

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
