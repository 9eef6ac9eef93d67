"""A confusion matrix whose cells open their images, or the most frequent confusions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from convscope.figures import lossless, percent, photo
from convscope.pages._write import levels_of, screen_scale
from convscope.reports import Section

MOST_IN_A_CELL, MOST_IN_ALL = 8, 300
"""Images shown of one cell, and of all cells together: then each cell shows fewer."""

SIDE = 48
"""Pixels of the longer side of a thumbnail, at most."""

SHEET_COLUMNS = 16

LARGEST_EXACT = 24_000
"""Bytes up to which a sheet of thumbnails loses nothing."""


def show_confusions(
    section: Section,
    confusion: Tensor,
    class_names: Sequence[str],
    *,
    labels: Tensor,
    predicted: Tensor,
    images: Callable[[Tensor], Tensor] | None,
    confidences: Tensor | None = None,
    source: str = "test",
    position: Callable[[int], int] = int,
) -> None:
    """Add a confusion matrix; each cell opens its images.

    Args:
        section: Gets the matrix.
        confusion: ``(class, class)`` counts, true class down, predicted class across.
        class_names: One per class.
        labels: ``(n,)``, true classes.
        predicted: ``(n,)``, predicted classes.
        images: ``images(rows)`` gives ``(row, 1 or 3, height, width)`` 8-bit levels or pixels in
            [0, 1]; ``None`` if they are not at hand: then cells open nothing.
        confidences: ``(n,)``, softmax of the predicted class.
        source: What an image is called, before its position.
        position: ``position(row)``: where an image stands in its split, if not at its row.
    """
    opens, sheet = "", None
    if images is not None and len(labels):
        cells = chosen_images(labels, predicted, confidences)
        sheet = _sheet(section, cells, images, confidences, source, position)
        opens = " A cell opens its images" + (
            "."
            if confidences is None
            else ": of mistakes those of highest confidence, else those of lowest."
        )
    section.matrix(
        confusion.tolist(),
        rows=class_names,
        columns=class_names,
        row_title="true class",
        column_title="predicted class",
        kind="confusion",
        caption="Confusion matrix: images per true class (row) and predicted class (column). "
        "Stronger color: a larger share of the row on the diagonal, more images off it." + opens,
        name="confusion",
        images=sheet,
    )


def chosen_images(
    labels: Tensor, predicted: Tensor, confidences: Tensor | None
) -> dict[tuple[int, int], tuple[int, Tensor]]:
    """Which images each cell of a confusion matrix shows.

    Args:
        labels: ``(n,)``, true classes.
        predicted: ``(n,)``, predicted classes.
        confidences: ``(n,)``, softmax of the predicted class; without, the first images are taken.

    Returns:
        (true, predicted) to the number of its images and the rows of those that are shown: of
        mistakes the most confident ones first, else the least confident ones.

    Example:
        >>> labels, predicted = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 1])
        >>> chosen = chosen_images(labels, predicted, torch.tensor([0.9, 0.6, 0.8, 0.7]))
        >>> {cell: (total, rows.tolist()) for cell, (total, rows) in chosen.items()}
        {(0, 0): (1, [0]), (0, 1): (2, [2, 1]), (1, 1): (1, [3])}
    """
    both = torch.stack([labels.cpu(), predicted.cpu()], dim=1)
    pairs, place = torch.unique(both, dim=0, return_inverse=True)
    counts = place.bincount(minlength=len(pairs))
    most = next(
        k
        for k in range(MOST_IN_A_CELL, 0, -1)
        if k == 1 or int(counts.clamp(max=k).sum()) <= MOST_IN_ALL
    )
    found = {}
    for i, (true, read) in enumerate(pairs.tolist()):
        rows = (place == i).nonzero()[:, 0]
        if confidences is not None:
            order = confidences.cpu()[rows].argsort(descending=true != read, stable=True)
            rows = rows[order]
        found[true, read] = (len(rows), rows[:most])
    return found


def _sheet(
    section: Section,
    cells: dict[tuple[int, int], tuple[int, Tensor]],
    images: Callable[[Tensor], Tensor],
    confidences: Tensor | None,
    source: str,
    position: Callable[[int], int],
) -> dict[str, Any]:
    """All thumbnails as one picture, and what each is."""
    every = torch.cat([rows for _, rows in cells.values()])
    tiles = thumbnails(images(every))
    items = [
        {
            "row": true,
            "column": read,
            "total": total,
            "images": [
                {
                    "name": f"{source} {position(row)}",
                    "address": f"image/{position(row)}",
                    "confidence": None if confidences is None else percent(float(value), 1),
                }
                for row, value in zip(
                    rows.tolist(),
                    [0.0] * len(rows) if confidences is None else confidences[rows].tolist(),
                    strict=True,
                )
            ],
        }
        for (true, read), (total, rows) in cells.items()
    ]
    height, width = tiles[0].shape[:2]
    sheet = joined(tiles)
    exact = lossless(sheet)
    return {
        "file": section.image(
            "confusion-cells", exact if len(exact) <= LARGEST_EXACT else photo(sheet)[0]
        ),
        "width": width,
        "height": height,
        "columns": SHEET_COLUMNS,
        "scale": screen_scale(max(width, height), 84),
        "cells": items,
    }


def thumbnails(images: Tensor) -> list[NDArray[np.uint8]]:
    """Images with at most `SIDE` pixels a side, as 8-bit levels ``(height, width[, 3])``.

    Args:
        images: ``(image, 1 or 3, height, width)``: 8-bit levels or pixels in [0, 1].
    """
    levels = images if images.dtype == torch.uint8 else (images.clamp(0, 1) * 255).round()
    longest = max(levels.shape[2:])
    if longest > SIDE:
        size = [max(1, round(side * SIDE / longest)) for side in levels.shape[2:]]
        levels = interpolate(levels.float(), size=size, mode="bilinear", antialias=True)
    return [levels_of(image) for image in levels.clamp(0, 255).round().to(torch.uint8)]


def joined(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size, row by row, `SHEET_COLUMNS` beside each other."""
    lines = math.ceil(len(tiles) / SHEET_COLUMNS)
    height, width, *channels = tiles[0].shape
    sheet = np.zeros((lines * height, SHEET_COLUMNS * width, *channels), np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // SHEET_COLUMNS * height, i % SHEET_COLUMNS * width
        sheet[top : top + height, left : left + width] = tile
    return sheet
