"""Explanation maps and trust scores."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from convscope.explanations import Explanation, Trust
from convscope.figures._curve import curve
from convscope.figures._mosaic import Pixels, heat, overlay, pixels, to_numpy
from convscope.figures._theme import (
    MUTED,
    POSITIVE,
    SIGNED,
    SMALL,
    axes,
    bare,
    class_label,
    figure,
    in_words,
    label,
    look,
    note,
    percent,
    wrapped,
)

MOST_IMAGES = 8
MOST_TARGETS = 10

PHOTO = 112
"""Sides in pixels from which a map is drawn as that of a photograph."""

NOTHING, NOTHING_OF_SCORES = 1e-8, 1e-6
"""Maps whose largest value is below this share of the image's largest logit are rounding errors:
gradients, and differences of scores, which round as the scores do."""

CLIPPED = 0.005
"""Share of the pixels of a photograph that may be stronger than the strongest color."""


def draw_explanation(result: Explanation) -> Figure:
    """Images in rows; each with its maps, alone and laid over it, all of a row on one scale.

    One target: image, map, map on the image. Several: a column for each, with the maps of an image
    above and the same maps on the image below.
    """
    rows = min(len(result.images), MOST_IMAGES)
    targets = min(result.maps.shape[1], MOST_TARGETS)
    lines, columns = (1, 3) if targets == 1 else (2, targets + 1)
    with look():
        width = 1.5 * columns + 1.1
        title = wrapped(explanation_title(result), width)
        drawn = figure(width, 1.55 * rows * lines + 0.35 + 0.18 * len(title.splitlines()))
        drawn.suptitle(title, fontsize=10, fontweight="bold")
        grid = drawn.add_gridspec(rows * lines, columns)
        for row in range(rows):
            top = 1.0 if is_empty(result, row) else row_limit(result, row)
            shown = [_tile(axes(drawn, grid[row * lines, 0]), pixels(result.images[row]), "")]
            for k in range(targets):
                name = class_label(result.class_names, int(result.targets[row, k]), 14)
                cell = grid[row * lines, k + 1]
                tile = explanation_tile(result, row, k, limit=top)
                shown.append(_tile(axes(drawn, cell), tile, name))
                cell = grid[row, 2] if lines == 1 else grid[row * lines + 1, k + 1]
                laid = overlay_tile(result, row, k, limit=top)
                shown.append(_tile(axes(drawn, cell), laid, "on the image"))
            _scale(drawn, shown, result, row, top, named=row == rows // 2)
    return drawn


def _tile(made: Axes, tile: Pixels, title: str) -> Axes:
    made.imshow(tile, cmap="gray", vmin=0, vmax=255)
    made.set_title(title, fontsize=SMALL, fontweight="normal", loc="center", pad=2)
    bare(made)
    return made


def _scale(
    drawn: Figure, shown: list[Axes], result: Explanation, row: int, top: float, *, named: bool
) -> None:
    """The color bar of the maps of an image."""
    signed = result.signed
    bar = drawn.colorbar(
        ScalarMappable(
            Normalize(-top if signed else 0, top),
            SIGNED if signed else matplotlib.colormaps[POSITIVE],
        ),
        ax=shown,
        fraction=0.03,
        pad=0.01,
        aspect=12,
        extend=_beyond(signed) if is_clipped(result, row) else "neither",
    )
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    bar.ax.tick_params(labelsize=SMALL, length=2)
    if is_empty(result, row):
        bar.set_label(strength(result, row), fontsize=SMALL, color=MUTED)
        bar.ax.set_yticks([])
    elif named:
        meaning = "orange for the class,\nblue against" if signed else "strength,\nwithout a sign"
        bar.set_label(meaning, fontsize=SMALL, color=MUTED)


def explanation_tile(
    result: Explanation, row: int, target: int = 0, *, limit: float | None = None
) -> Pixels:
    """One map as native pixels; blue against, orange for, or dark to bright for unsigned methods.

    The maps of an image that are zero but for rounding are drawn as zero.
    """
    values, top = _values(result, row, target, limit)
    return heat(values, signed=result.signed, limit=top)


def overlay_tile(
    result: Explanation, row: int, target: int = 0, *, limit: float | None = None
) -> Pixels:
    """The same map laid over its image: where the map is zero, the image is seen."""
    values, top = _values(result, row, target, limit)
    return overlay(values, result.images[row], signed=result.signed, limit=top)


def _values(
    result: Explanation, row: int, target: int, limit: float | None
) -> tuple[Tensor, float]:
    if is_empty(result, row):
        return result.maps.new_zeros(result.maps.shape[2:]), 1.0
    return result.maps[row, target], row_limit(result, row) if limit is None else limit


def row_limit(result: Explanation, row: int) -> float:
    """The magnitude that gets the strongest color: the largest among the maps of an image.

    Of photographs, what 99.5 % of the pixels do not exceed, if that is less than half of it: else
    a few specks of a gradient take all the colors and the rest looks empty.
    """
    values = np.abs(np.nan_to_num(to_numpy(result.maps[row])))
    largest = float(values.max()) or 1.0
    if min(values.shape[1:]) < PHOTO:
        return largest
    most = max(float(np.quantile(values, 1 - CLIPPED)), largest / 100)
    return most if most < largest / 2 else largest


def is_empty(result: Explanation, row: int) -> bool:
    """Whether the maps of an image are zero but for rounding: then they show nothing at all."""
    largest = float(np.abs(np.nan_to_num(to_numpy(result.maps[row]))).max(initial=0.0))
    scale = 1.0
    if result.logits is not None:
        scale = float(result.logits[row].nan_to_num(0.0, 0.0, 0.0).abs().max()) or 1.0
    scores = result.table is not None or result.method in ("occlusion", "rise")
    least = (NOTHING_OF_SCORES if scores else NOTHING) * scale
    return largest <= (least**2 if result.settings.get("squared") else least)


def strength(result: Explanation, row: int) -> str:
    """What the strongest color of an image's maps stands for, or that there is nothing to see."""
    if is_empty(result, row):
        return "empty: zero but for rounding"
    more = " and more" if is_clipped(result, row) else ""
    return f"{'±' if result.signed else '0 to '}{row_limit(result, row):.3g}{more}"


def is_clipped(result: Explanation, row: int) -> bool:
    """Whether values beyond the strongest color were cut off."""
    return float(np.abs(np.nan_to_num(to_numpy(result.maps[row]))).max()) > row_limit(result, row)


def explanation_title(result: Explanation) -> str:
    """Method, layer and settings in one line."""
    parts = [result.method]
    if result.layer:
        parts.append(f"at {result.layer_label}")
    named = in_words(result.settings)
    if named:
        parts.append(f"({named})")
    if "completeness" in result.evidence:
        worst = float(result.evidence["completeness"].abs().max())
        parts.append(f"completeness error at most {percent(worst)}")
    return " ".join(parts)


def _beyond(signed: bool) -> str:
    return "both" if signed else "max"


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
            curve(made, places, to_numpy(result.similarity[i]), series=i, markers=True, name=name)
        made.plot(
            places,
            to_numpy(result.similarity[-1]),
            color=MUTED,
            linewidth=2.4,
            linestyle=":",
            label=label(result.rows[-1].method, 24),
        )
        made.set_ylim(min(-0.25, float(result.similarity.nan_to_num().min()) - 0.05), 1.0)
        names = [label(stage, 14) for stage in result.stages]
        made.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=SMALL)
        made.legend(fontsize=SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawn


def _curves(made: Axes, result: Trust, values: Tensor) -> None:
    made.grid(True, axis="y")
    made.set_ylim(0, 102)
    shares = 100 * to_numpy(result.fractions)
    for i, row in enumerate(result.rows[:-1]):
        curve(made, shares, 100 * to_numpy(values[i]), series=i, name=label(row.method, 24))
    made.plot(shares, 100 * to_numpy(values[-1]), color=MUTED, linewidth=2.4, linestyle=":")
