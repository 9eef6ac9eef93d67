"""Layers of a network: their sizes, their filters, their feature maps."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from convscope.explanations import FeatureMaps, Filters, LayerMaps, SelectedMaps
from convscope.figures._mosaic import GAP, Pixels, mosaic, pixels, stretched
from convscope.figures._theme import (
    BLUE,
    MUTED,
    NARROW,
    RED,
    SMALL,
    axes,
    bare,
    figure,
    label,
    look,
    note,
    wrapped,
)
from convscope.models import NetworkSummary

BETWEEN = (104, 128, 152)
"""Slate lines: neither black nor white nor gray corners of a filter melt into them on any page."""

MOST_FILTERS = 256
"""Filters of one sheet."""


def draw_filters(result: Filters) -> Figure:
    """All filters of a layer on one sheet."""
    data = filter_sheet(result)
    with look():
        width = 7.0
        drawn = figure(width, 0.8 + width * data.shape[0] / data.shape[1])
        made = axes(
            drawn, title=wrapped(filter_caption(result), width), x=label(filter_legend(result), 120)
        )
        made.xaxis.label.set(fontsize=SMALL, color=MUTED)
        made.imshow(data, cmap="gray", vmin=0, vmax=255)
        bare(made)
        made.spines[:].set_visible(False)
    return drawn


def filter_legend(result: Filters) -> str:
    """What black and white mean."""
    low, high = float(result.low.min()), float(result.high.max())
    return (
        "each independently: its smallest weight is dark, its largest bright; all weights lie from "
        f"{low:.2g} to {high:.2g}"
    )


def filter_sheet(result: Filters) -> Pixels:
    """The filters as a native-resolution mosaic in color, with lines around all of them."""
    pictures = result.pictures[:MOST_FILTERS].expand(-1, 3, -1, -1)
    tiles = [pixels(picture) for picture in pictures]
    inner = mosaic(tiles, columns=result.columns, between=BETWEEN)
    sheet = np.empty((inner.shape[0] + 2, inner.shape[1] + 2, 3), dtype=np.uint8)
    sheet[:] = BETWEEN
    sheet[1:-1, 1:-1] = inner
    return sheet


def filter_caption(result: Filters) -> str:
    """What the sheet shows, in one line."""
    count, channels, height, width = result.weights.shape
    shown = f"{min(count, MOST_FILTERS)} of {count}" if count > MOST_FILTERS else f"{count}"
    slice_ = f", the part that sees map {result.seen_map}" if result.seen_map is not None else ""
    return f"{shown} filters of {result.layer_label}, {channels} x {height} x {width}{slice_}"


MOST_MAPS = 64
"""Maps of one sheet."""

FLAGGED = 4
"""Dead and selective maps that a caption names."""


def draw_feature_maps(result: FeatureMaps, row: int = 0) -> Figure:
    """One image and its maps in every layer.

    Args:
        result: From `convscope.explanations.feature_maps`.
        row: Which image.
    """
    sheets = [map_sheet(layer, row, between=(255, 255, 255)) for layer in result.layers]
    titles = [wrapped(map_caption(layer), 7.2) for layer in result.layers]
    ratios = [1.3] + [
        7.2 * s.shape[0] / s.shape[1] + 0.15 + 0.17 * len(title.splitlines())
        for s, title in zip(sheets, titles, strict=True)
    ]
    with look():
        drawn = figure(7.4, sum(ratios) + 0.2)
        grid = drawn.add_gridspec(len(ratios), 1, height_ratios=ratios)
        made = axes(
            drawn,
            grid[0],
            title="image; below, each map from its smallest value (black) to its largest (white)",
        )
        made.imshow(pixels(result.images[row]), cmap="gray", vmin=0, vmax=255)
        made.set_anchor("W")
        bare(made)
        for i, (title, sheet) in enumerate(zip(titles, sheets, strict=True)):
            made = axes(drawn, grid[i + 1], title=title)
            made.imshow(sheet, cmap="gray", vmin=0, vmax=255)
            bare(made)
            made.spines[:].set_visible(False)
    return drawn


def map_sheet(
    layer: LayerMaps, row: int, *, columns: int = 16, between: tuple[int, int, int] = GAP
) -> Pixels:
    """The maps of one image as a native-resolution mosaic, each stretched by itself."""
    tiles = [stretched(values) for values in layer.maps[row, :MOST_MAPS]]
    return mosaic(tiles, columns=columns, between=between)


def map_caption(layer: LayerMaps) -> str:
    """What the sheet shows in one line, with dead maps and those that answer to few images."""
    count, height, width = layer.maps.shape[1:]
    shown = f"{MOST_MAPS} of {count}" if count > MOST_MAPS else f"{count}"
    words = f"{layer.layer_label}: {shown} maps of {height} x {width}"
    dead = layer.dead.nonzero()[:, 0].tolist()
    if dead:
        which = "this image" if len(layer.maps) == 1 else f"all {len(layer.maps)} images"
        words += f"; constant on {which}: {', '.join(map(str, dead[:FLAGGED]))}"
        words += f" and {len(dead) - FLAGGED} more" if len(dead) > FLAGGED else ""
    if len(layer.maps) > 1:
        best = layer.most_selective[:FLAGGED].tolist()
        words += f"; most selective: {', '.join(map(str, best))}"
    return words


MOST_LAYERS = 40


def draw_network(result: NetworkSummary) -> Figure:
    """Share of the parameters and of the multiply-adds of each layer that has any."""
    rows = [row for row in result.rows if row.parameters or row.multiply_adds][:MOST_LAYERS]
    with look():
        drawn = figure(NARROW, 0.3 * max(len(rows), 2) + 1.4)
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
        made.set_yticks(places, [label(r.name, 18) for r in rows])
        made.invert_yaxis()
        made.tick_params(axis="y", length=0)
        drawn.legend(loc="outside lower center", ncols=2)
    return drawn


STAGES = {1: ("",), 2: ("early", "late"), 3: ("early", "middle", "late")}
"""What layers are called by where they stand, if there are so few."""


def draw_selected_maps(result: SelectedMaps, row: int = 0) -> Figure:
    """One image, and the most interesting maps of an early, a middle and a late layer.

    Args:
        result: From `convscope.explanations.selected_maps`.
        row: Which image.
    """
    count = max((layer.maps.shape[1] for layer in result.layers), default=1)
    with look():
        side = (NARROW - 0.3) / max(count, 3)
        titles = [
            wrapped(selection_caption(result, i), NARROW - 0.3) for i in range(len(result.layers))
        ]
        heights = [1.25, *(side + 0.3 + 0.17 * len(title.splitlines()) for title in titles)]
        drawn = figure(NARROW, sum(heights) + 0.4)
        drawn.supxlabel("each map from its smallest value (black) to its largest (white)",
                        fontsize=SMALL, color=MUTED)  # fmt: skip
        rows = drawn.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        made = axes(rows[0])
        made.imshow(pixels(result.images[row]), cmap="gray", vmin=0, vmax=255)
        made.set_anchor("W")
        bare(made)
        for part, title, layer in zip(rows[1:], titles, result.layers, strict=True):
            part.suptitle(title, x=0.01, ha="left", fontsize=SMALL, fontweight="bold")
            grid = part.add_gridspec(1, count)
            for k in range(layer.maps.shape[1]):
                made = axes(part, grid[0, k])
                made.imshow(stretched(layer.maps[row, k]), cmap="gray", vmin=0, vmax=255)
                bare(made)
                made.set_xlabel(f"map {int(layer.channels[row, k])}", fontsize=SMALL, color=MUTED)
    return drawn


def selection_caption(result: SelectedMaps, index: int) -> str:
    """Where a layer stands, its name, the size of its maps, and what a value of it sees."""
    layer = result.layers[index]
    count, height, width = layer.maps.shape[1:]
    stages = STAGES.get(len(result.layers), ())
    stage = stages[index] if stages else ""
    words = f"{layer.layer_label}, {count} of {layer.of:,} maps, {height} x {width}"
    if layer.receptive_field is not None:
        words += f", receptive field {layer.receptive_field[0]} x {layer.receptive_field[1]}"
    return f"{stage}: {words}" if stage else words
