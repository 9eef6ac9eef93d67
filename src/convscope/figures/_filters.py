"""The weights of a convolution, each stretched to the full range."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from convscope.explanations import Filters
from convscope.figures._mosaic import Pixels, mosaic, pixels
from convscope.figures._text import label, wrapped
from convscope.figures._theme import MUTED, axes, bare, figure, look

BETWEEN = (104, 128, 152)
"""Slate lines: neither black nor white nor gray corners of a filter melt into them on any page."""

MOST = 256
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
        made.xaxis.label.set(fontsize=8, color=MUTED)
        made.imshow(data, cmap="gray", vmin=0, vmax=255)
        bare(made)
        made.spines[:].set_visible(False)
    return drawn


def filter_legend(result: Filters) -> str:
    """What black and white mean."""
    low, high = float(result.low.min()), float(result.high.max())
    return (
        "each by itself: its smallest weight is dark, its largest bright; all weights lie from "
        f"{low:.2g} to {high:.2g}"
    )


def filter_sheet(result: Filters) -> Pixels:
    """The filters as a native-resolution mosaic in color, with lines around all of them."""
    pictures = result.pictures[:MOST].expand(-1, 3, -1, -1)
    tiles = [pixels(picture) for picture in pictures]
    inner = mosaic(tiles, columns=result.columns, between=BETWEEN)
    sheet = np.empty((inner.shape[0] + 2, inner.shape[1] + 2, 3), dtype=np.uint8)
    sheet[:] = BETWEEN
    sheet[1:-1, 1:-1] = inner
    return sheet


def filter_caption(result: Filters) -> str:
    """What the sheet shows, in one line."""
    count, channels, height, width = result.weights.shape
    shown = f"{min(count, MOST)} of {count}" if count > MOST else f"{count}"
    slice_ = f", the part that sees map {result.seen_map}" if result.seen_map is not None else ""
    return f"{shown} filters of {result.layer_label}, {channels} x {height} x {width}{slice_}"
