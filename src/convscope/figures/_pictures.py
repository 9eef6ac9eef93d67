"""Images in rows and columns that mean something."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from convscope.figures._mosaic import Pixels
from convscope.figures._theme import (
    GOLD,
    GREEN,
    INK,
    MUTED,
    RED,
    SMALL,
    axes,
    bare,
    figure,
    label,
    look,
    wrapped,
)

COLORS = {"": INK, "good": GREEN, "warn": GOLD, "bad": RED}
SIDE = 0.95
"""Inches of an image."""

Cell = tuple[Pixels, str, str, str]
"""Pixels, title, detail, tone."""


def picture_grid(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell | None]]]
) -> Figure:
    """Images in a grid with titles of rows and columns, and up to two lines under each.

    Args:
        columns: Titles; empty texts for none.
        rows: Title and cells of each row: 8-bit pixels, a line that matters, a quiet line, and a
            tone: ``""``, ``"good"``, ``"warn"`` or ``"bad"``.

    Example:
        >>> import numpy as np
        >>> tile = np.zeros((4, 4), np.uint8)
        >>> len(picture_grid(["a", "b"], [("row", [(tile, "7", "", "good"), None])]).axes)
        1
    """
    count = max(len(columns), 1)
    texts = [
        max((bool(c[1]) + bool(c[2]) for c in line if c is not None), default=0) for _, line in rows
    ]
    heights = [SIDE + 0.16 * lines for lines in texts]
    margin = 0.9 if any(title for title, _ in rows) else 0.1
    with look():
        drawn = figure(margin + (SIDE + 0.12) * count, sum(heights) + 0.35)
        grid = drawn.add_gridspec(len(rows), count, height_ratios=heights)
        for r, (title, line) in enumerate(rows):
            named = False
            for c, cell in enumerate(line):
                if cell is None:
                    continue
                data, words, detail, tone = cell
                made = axes(drawn, grid[r, c])
                made.imshow(data, cmap="gray", vmin=0, vmax=255)
                bare(made)
                if r == 0 and c < len(columns):
                    made.set_title(wrapped(columns[c], SIDE), fontsize=SMALL, loc="center", pad=3)
                if not named:
                    made.set_ylabel(
                        wrapped(title, margin), fontsize=SMALL, rotation=0, ha="right", va="center"
                    )
                    named = True
                if words or detail:
                    below = "\n".join(label(part, 16) for part in (words, detail) if part)
                    made.set_xlabel(below, fontsize=SMALL, labelpad=2)
                    made.xaxis.label.set_color(COLORS[tone] if words else MUTED)
    return drawn
