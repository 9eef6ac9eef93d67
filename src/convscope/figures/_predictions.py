"""Predictions: each image beside the probabilities of its likeliest classes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.classifier import Predictions
from convscope.figures._mosaic import pixels
from convscope.figures._theme import (
    BLUE,
    INK,
    SMALL,
    axes,
    bare,
    class_label,
    figure,
    label,
    look,
    note,
    percent,
)

MOST = 8
"""Images of one figure."""

WIDE = 4.7
"""Inches: a phone shows the figure without shrinking it."""


def draw_predictions(result: Predictions) -> Figure:
    """Images in rows, each beside bars of the probabilities of its likeliest classes."""
    rows, top = min(len(result), MOST), result.labels.shape[1]
    with look():
        height = max(1.5, 0.3 * top + 0.35)
        drawn = figure(WIDE, max(height * rows, 1.5) + 0.5)
        if not rows:
            note(axes(drawn), "no image was predicted")
            return drawn
        grid = drawn.add_gridspec(rows, 2, width_ratios=(1, 2.1))
        for row in range(rows):
            photo = axes(drawn, grid[row, 0])
            bare(photo)
            if result.images is None:
                note(photo, "image not kept")
            else:
                photo.imshow(pixels(result.images[row]), cmap="gray", vmin=0, vmax=255)
            if row < len(result.image_names):
                name = label(result.image_names[row].rpartition("/")[2], 19)
                photo.set_title(name, fontsize=SMALL, fontweight="normal", loc="left", pad=3)
            _bars(axes(drawn, grid[row, 1]), result, row, last=row == rows - 1)
        if len(result) > MOST:
            drawn.supxlabel(f"{len(result) - MOST:,} more images are not shown", fontsize=SMALL)
    return drawn


def _bars(made: Axes, result: Predictions, row: int, *, last: bool) -> None:
    """Probabilities in percent, the name of each class above its bar."""
    shares = result.probabilities[row].tolist()
    places = np.arange(len(shares))
    made.barh(places, [100 * share for share in shares], 0.34, color=BLUE)
    for place, share, number in zip(places, shares, result.labels[row].tolist(), strict=True):
        told = f"{class_label(result.class_names, number, 26)}  {percent(share)}"
        made.text(1, place - 0.24, told, ha="left", va="bottom", fontsize=SMALL, color=INK)
    made.set_xlim(0, 100)
    made.set_ylim(len(shares) - 0.6, -0.85)
    made.set_yticks([])
    made.set_xticks([0, 50, 100], ["0", "50", "100"] if last else [])
    if last:
        made.set_xlabel("probability, %")
