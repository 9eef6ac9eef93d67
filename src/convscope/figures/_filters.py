"""The weights of a convolution, each stretched to the full range."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.explanations import Filters
from convscope.figures._mosaic import GAP, Pixels, mosaic, pixels
from convscope.figures._text import label, wrapped
from convscope.figures._theme import MUTED, axes, bare, figure, look

MOST = 256
"""Filters of one sheet."""


def draw_filters(result: Filters) -> Figure:
    """All filters of a layer on one sheet."""
    data = filter_sheet(result, between=(255, 255, 255))
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


def filter_sheet(result: Filters, *, between: tuple[int, int, int] = GAP) -> Pixels:
    """The filters as a native-resolution mosaic."""
    tiles = [pixels(picture) for picture in result.pictures[:MOST]]
    return mosaic(tiles, columns=result.columns, between=between)


def filter_caption(result: Filters) -> str:
    """What the sheet shows, in one line."""
    count, channels, height, width = result.weights.shape
    shown = f"{min(count, MOST)} of {count}" if count > MOST else f"{count}"
    slice_ = f", the part that sees map {result.seen_map}" if result.seen_map is not None else ""
    return f"{shown} filters of {result.layer}, {channels} x {height} x {width}{slice_}"
