"""What units like best, with what is needed to believe it."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.figures._curve import curve, remark
from convscope.figures._mosaic import Pixels, pixels
from convscope.figures._text import class_label, label, percent
from convscope.figures._theme import MUTED, axes, bare, figure, look
from convscope.visualizations import Visualization

COLUMNS = 10
MOST_CURVES = 12
MOST_POINTS = 25


def draw_visualization(result: Visualization) -> Figure:
    """The images of all units, a row from random weights, nearest real images, and the ascent."""
    count = len(result.images)
    columns = min(count, COLUMNS)
    bands: list[tuple[str, object, bool]] = [("image", result.images, True)]
    if result.control is not None:
        bands.append(("random weights", result.control.images, False))
    if result.natural_images is not None:
        bands.append(("best real image", result.natural_images, False))
    elif result.nearest is not None:
        bands.append(("nearest real image", result.nearest.images, False))
    lines = -(-count // columns)
    with look():
        width = max(6.0, 1.0 * columns + 1.0)
        drawn = figure(width, 1.32 * lines * len(bands) + 2.6)
        grid = drawn.add_gridspec(
            lines * len(bands) + 1, columns, height_ratios=[1.0] * lines * len(bands) + [1.9]
        )
        for unit in range(count):
            line, column = divmod(unit, columns)
            for band, (title, images, named) in enumerate(bands):
                made = axes(drawn, grid[line * len(bands) + band, column])
                made.imshow(pixels(images[unit]), cmap="gray", vmin=0, vmax=255)  # type: ignore[index]
                bare(made)
                if named:
                    made.set_title(
                        unit_caption(result, unit), fontsize=7, fontweight="normal", loc="center"
                    )
                if column == 0:
                    made.set_ylabel(title, fontsize=7, color=MUTED)
        _ascent(drawn, grid[-1, :], result)
    return drawn


def ascent_curve(result: Visualization) -> Figure:
    """The objective of each unit over the steps."""
    with look():
        drawn = figure(5.2, 3.0)
        _ascent(drawn, 111, result)
    return drawn


def unit_tile(result: Visualization, unit: int) -> Pixels:
    """One image as native pixels."""
    return pixels(result.images[unit])


def unit_caption(result: Visualization, unit: int) -> str:
    """Name, activation and what the judge reads, safe to draw."""
    lines = [label(result.units[unit], 18), f"{float(result.activations[unit]):.3g}"]
    if result.natural is not None:
        lines[1] += f" (real {float(result.natural[unit]):.3g})"
    if result.judgement is not None:
        read = class_label(result.class_names, int(result.judgement.labels[unit]), 10)
        lines.append(f"judge: {read} {percent(float(result.judgement.probabilities[unit]), 0)}")
    return "\n".join(lines)


def _ascent(drawn: Figure, where: object, result: Visualization) -> None:
    made = axes(drawn, where, title="Ascent", x="step", y="objective", grid="y")
    history = result.history
    steps = list(range(0, len(history), max(1, len(history) // MOST_POINTS)))
    if len(history) and steps[-1] != len(history) - 1:
        steps.append(len(history) - 1)
    missing = [
        curve(made, steps, history[steps, unit].numpy(), series=unit, name=label(name, 14))
        for unit, name in enumerate(result.units[:MOST_CURVES])
    ]
    if len(result.units) <= MOST_CURVES and len(history):
        made.legend(ncols=2 if len(result.units) > 5 else 1, fontsize=6.5, loc="center left",
                    bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    remark(made, missing, len(steps) * len(missing))
