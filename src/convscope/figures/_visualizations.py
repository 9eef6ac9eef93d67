"""Optimized images of units, with their controls and the ascent."""

from __future__ import annotations

from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from convscope.figures._curve import curve, remark
from convscope.figures._mosaic import pixels, to_numpy
from convscope.figures._theme import (
    MUTED,
    NARROW,
    SMALL,
    axes,
    bare,
    class_label,
    figure,
    in_words,
    label,
    look,
    percent,
    wrapped,
)
from convscope.visualizations import LogitTrajectory, Visualization

COLUMNS = 10
MOST_CURVES = 12
MOST_POINTS = 25


def draw_visualization(result: Visualization) -> Figure:
    """The images of all units with their controls, and the ascent."""
    count = len(result.images)
    columns = min(count, COLUMNS)
    shown = bands(result)
    lines = -(-count // columns)
    caption = 0.14 * max(len(unit_caption(result, unit).splitlines()) for unit in range(count))
    with look():
        width = max(6.0, 1.25 * columns + 0.6)
        title = wrapped(visualization_title(result), width)
        heights = [1.0 + caption, *[1.0] * (len(shown) - 1)]
        top = lines * sum(heights) + 0.2 * len(title.splitlines()) + 0.1
        drawn = figure(width, top + 2.3)
        parts = drawn.subfigures(2, 1, squeeze=False, height_ratios=[top, 2.3])
        pictures, below = parts[0, 0], parts[1, 0]
        pictures.suptitle(title, fontsize=10, fontweight="bold")
        grid = pictures.add_gridspec(lines * len(shown), columns)
        for unit in range(count):
            line, column = divmod(unit, columns)
            for band, (name, images) in enumerate(shown):
                made = axes(pictures, grid[line * len(shown) + band, column])
                made.imshow(pixels(images[unit]), cmap="gray", vmin=0, vmax=255)
                bare(made)
                if band == 0:
                    made.set_title(
                        unit_caption(result, unit),
                        fontsize=SMALL,
                        fontweight="normal",
                        loc="center",
                    )
                if column == 0:
                    made.set_ylabel(name, fontsize=SMALL, color=MUTED)
        _ascent(below, 111, result)
    return drawn


MOST_UNITS = 6
"""Charts of one figure."""


def draw_logit_trajectory(result: LogitTrajectory) -> Figure:
    """The logits of every class over the steps, a chart per unit that is maximized."""
    count = max(1, min(len(result.units), MOST_UNITS))
    columns = min(count, 2)
    lines = -(-count // columns)
    classes = min(len(result.class_names), MOST_CURVES)
    with look():
        drawn = figure(4.3 * columns + 0.9, 2.7 * lines)
        grid = drawn.add_gridspec(lines, columns)
        for unit in range(count):
            made = axes(drawn, grid[unit], x="step", y="logit", grid="y",
                        title=label(result.units[unit], 24))  # fmt: skip
            values = to_numpy(result.logits[:, unit])
            for k in range(classes):
                name = class_label(result.class_names, k, 12)
                curve(made, range(len(values)), values[:, k], series=k, name=name)
            if unit == min(columns, count) - 1:
                made.legend(fontsize=SMALL, labelspacing=0.2, loc="center left",
                            bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    return drawn


def bands(result: Visualization) -> list[tuple[str, Tensor]]:
    """What stands below each image: name and images, one per unit."""
    found = [("image", result.images)]
    if result.control is not None:
        found.append(("random weights", result.control.images))
    if result.max_dataset_images is not None:
        found.append(("best real", result.max_dataset_images))
    if result.nearest is not None:
        found.append(("nearest real", result.nearest.images))
    return found


def visualization_title(result: Visualization) -> str:
    """Recipe, settings, and how many images the held-out evaluator classifies as intended."""
    named = in_words(result.settings)
    words = f"{result.layer_label} by {result.recipe}" + (f" ({named})" if named else "")
    if result.held_out is not None:
        words += f"; a held-out evaluator gets {result.held_out.correct} of {len(result.units)}"
        if result.control is not None and result.control.held_out is not None:
            words += f", of those from random weights {result.control.held_out.correct}"
    return words


def ascent_curve(result: Visualization) -> Figure:
    """The objective of each unit over the steps."""
    with look():
        drawn = figure(NARROW, 2.9)
        _ascent(drawn, 111, result)
    return drawn


def unit_caption(result: Visualization, unit: int) -> str:
    """Name, activation and the held-out prediction, safe to draw."""
    lines = [label(result.units[unit], 14), f"{float(result.activations[unit]):.3g}"]
    if result.max_dataset_activation is not None:
        lines[1] += f" (real {float(result.max_dataset_activation[unit]):.3g})"
    if result.dead is not None and bool(result.dead[unit]):
        lines[1] = "dead: no gradient"
    if result.held_out is not None:
        read = int(result.held_out.labels[unit])
        if read == int(result.channels[unit]):
            lines.append(f"held out {percent(float(result.held_out.probabilities[unit]), 0)}")
        else:
            lines.append(f"held out:\n{class_label(result.class_names, read, 12)}")
    return "\n".join(lines)


def unit_name(result: Visualization, unit: int) -> str:
    """Short name of a unit: the place in the map is the same for all."""
    own = result.layer == "logits"
    return label(result.units[unit] if own else f"map {int(result.channels[unit])}", 20)


def _ascent(drawn: Figure | SubFigure, where: object, result: Visualization) -> None:
    made = axes(drawn, where, title="Ascent", x="step", y="objective", grid="y")
    history = result.history
    steps = list(range(0, len(history), max(1, len(history) // MOST_POINTS)))
    if len(history) and steps[-1] != len(history) - 1:
        steps.append(len(history) - 1)
    missing = [
        curve(
            made,
            steps,
            to_numpy(history[steps, unit]),
            series=unit,
            name=unit_name(result, unit),
        )
        for unit in range(min(len(result.units), MOST_CURVES))
    ]
    if len(result.units) <= MOST_CURVES and len(history):
        made.legend(fontsize=SMALL, labelspacing=0.2, loc="center left",
                    bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    remark(made, missing, len(steps) * len(missing))
