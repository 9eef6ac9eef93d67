"""Figures of a search: values by trial, curves of all trials, importance, parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convscope.figures._curve import curve, logarithmic
from convscope.figures._theme import (
    BLUE,
    GOLD,
    GRID,
    INK,
    MUTED,
    NARROW,
    PAPER,
    POSITIVE,
    SMALL,
    axes,
    figure,
    label,
    look,
    note,
)
from convscope.training import Dimension, SearchResult, Trial, importance

MOST_LINES = 300
"""Trials drawn, the best of them. More would be one gray area."""

MOST_TICKS = 8


def draw_search(result: SearchResult) -> Figure:
    """Values by trial, loss curves of all trials, importance and parallel coordinates."""
    with look():
        drawn = figure(11.4, 7.2)
        grid = drawn.add_gridspec(2, 2)
        _values(drawn, grid[0, 0], result)
        _curves(drawn, grid[0, 1], result)
        _importance(drawn, grid[1, 0], result)
        _parallel(drawn, grid[1, 1], result)
    return drawn


def trial_values(result: SearchResult) -> Figure:
    """What every trial reached, and the best so far."""
    with look():
        drawn = figure(NARROW, 2.9)
        _values(drawn, 111, result)
    return drawn


def trial_curves(result: SearchResult) -> Figure:
    """Validation loss of every trial over its epochs, logarithmic."""
    with look():
        drawn = figure(NARROW, 2.9)
        _curves(drawn, 111, result)
    return drawn


def importance_bars(result: SearchResult) -> Figure:
    """How much each setting explains of what the trials reached."""
    with look():
        drawn = figure(NARROW, max(1.6, 0.9 + 0.32 * len(result.space)))
        _importance(drawn, 111, result)
    return drawn


def parallel_coordinates(result: SearchResult) -> Figure:
    """A line per trial through its settings, colored by what it reached."""
    with look():
        drawn = figure(max(6.4, min(11.4, 1.6 * (len(result.space) + 2))), 3.8)
        _parallel(drawn, 111, result)
    return drawn


def _values(drawn: Figure, where: object, result: SearchResult) -> None:
    unit = _unit(result)
    panel = axes(drawn, where, title="Trials", x="trial", y=f"validation {unit}", grid="y")
    known = [trial for trial in result.trials if isfinite(trial.value)]
    whole = [trial for trial in known if trial.state == "complete"]
    pruned = [trial for trial in known if trial.state == "pruned"]
    if not known:
        note(panel, "no trial has a value")
        return
    if pruned:
        panel.plot(
            [t.number for t in pruned], [_shown(t, result) for t in pruned],
            linestyle="none", marker="x", markersize=5, color=GOLD, label="pruned",
        )  # fmt: skip
    if whole:
        panel.plot(
            [t.number for t in whole], [_shown(t, result) for t in whole],
            linestyle="none", marker="o", markersize=4, color=BLUE, label="complete",
        )  # fmt: skip
        pick = max if result.objective == "accuracy" else min
        best, so_far = _shown(whole[0], result), []
        for trial in whole:
            best = pick(best, _shown(trial, result))
            so_far.append(best)
        panel.step(
            [t.number for t in whole], so_far, where="post", color=MUTED, linewidth=1.1,
            label="best so far",
        )  # fmt: skip
    panel.legend()


def _curves(drawn: Figure, where: object, result: SearchResult) -> None:
    panel = axes(drawn, where, title="Curves", x="epoch", y="validation loss (nats)", grid="y")
    ranked = [trial for trial in result.ranked() if trial.curve][:MOST_LINES]
    if not ranked:
        note(panel, "no trial finished an epoch")
        return
    best = result.best
    named: set[str] = set()
    for trial in reversed(ranked):
        kind = "best" if best is not None and trial.number == best.number else trial.state
        name = f"best: trial {trial.number}" if kind == "best" else kind
        series, width = {"best": (0, 2.2), "complete": (5, 0.8)}.get(kind, (4, 0.8))
        curve(
            panel,
            [point.epoch for point in trial.curve],
            [point.validation_loss for point in trial.curve],
            series=series,
            name="" if name in named else name,
            log=True,
            linewidth=width,
        )
        named.add(name)
    if any(point.validation_loss > 0 for trial in ranked for point in trial.curve):
        logarithmic(panel)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend()


def _importance(drawn: Figure, where: object, result: SearchResult) -> None:
    found = importance(result)
    panel = axes(drawn, where, title="Importance", x="share of the explained variance, %", grid="x")
    if not found.shares:
        note(panel, f"{found.trials} finished trials are too few, or all alike")
        panel.set_yticks([])
        return
    names = sorted(found.shares, key=lambda name: found.shares[name])
    panel.barh(range(len(names)), [100 * found.shares[name] for name in names], color=BLUE)
    panel.set_yticks(range(len(names)), [label(name, 26) for name in names])
    for place, name in enumerate(names):
        panel.text(
            100 * found.shares[name], place, f" {100 * found.shares[name]:.0f}",
            va="center", ha="left", fontsize=SMALL, color=INK,
        )  # fmt: skip
    panel.set_xlim(0, 1.12 * max(100 * share for share in found.shares.values()))


def _parallel(drawn: Figure, where: object, result: SearchResult) -> None:
    panel = axes(drawn, where, title="Parallel coordinates")
    whole = [t for t in result.ranked() if t.state == "complete" and isfinite(t.value)]
    whole = whole[:MOST_LINES]
    panel.set_yticks([])
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    panel.tick_params(length=0)
    last = len(result.space)
    names = [label(dimension.name, 18) for dimension in result.space] + [_unit(result)]
    panel.set_xticks(range(last + 1), names)
    panel.set_xlim(-0.15, last + 0.45)
    panel.set_ylim(-0.06, 1.06)
    if not whole:
        note(panel, "no trial was trained to the end")
        return
    shown = [_shown(trial, result) for trial in whole]
    low, high = min(shown), max(shown)
    scale = Normalize(low, high if high > low else low + 1)
    colors = matplotlib.colormaps[POSITIVE]
    for x, dimension in enumerate(result.space):
        _axis(panel, x, [(dimension.place(v), _tick(v)) for v in _ticks(dimension)])
    _axis(panel, last, [(float(scale(v)), f"{v:.4g}") for v in dict.fromkeys((low, high))])
    # The best on top.
    for trial, value in reversed(list(zip(whole, shown, strict=True))):
        best = trial is whole[0]
        heights = [d.place(trial.parameters[d.name]) for d in result.space]
        shade = float(scale(value)) if result.objective == "accuracy" else 1 - float(scale(value))
        panel.plot(
            range(last + 1),
            [*heights, float(scale(value))],
            color=BLUE if best else colors(0.1 + 0.85 * shade),
            linewidth=2.4 if best else 0.9,
            label=f"best: trial {trial.number}" if best else None,
        )
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _axis(panel: Axes, x: float, ticks: Sequence[tuple[float, str]]) -> None:
    panel.plot([x, x], [0, 1], color=GRID, linewidth=1.2, zorder=0)
    for height, text in ticks:
        panel.text(
            x + 0.03, height, label(text, 12), va="center", ha="left", fontsize=SMALL, color=MUTED,
            zorder=5, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.4, "alpha": 0.75},
        )  # fmt: skip


def _ticks(dimension: Dimension) -> list[bool | int | float | str]:
    ends = (dimension.low, dimension.high)
    values = list(dimension.choices) or [int(end) if dimension.whole else end for end in ends]
    step = -(-len(values) // MOST_TICKS)
    return values[::step]


def _tick(value: bool | int | float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _unit(result: SearchResult) -> str:
    return "accuracy, %" if result.objective == "accuracy" else "loss (nats)"


def _shown(trial: Trial, result: SearchResult) -> float:
    return 100 * trial.value if result.objective == "accuracy" else trial.value
