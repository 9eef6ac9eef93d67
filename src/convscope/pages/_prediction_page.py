"""Predictions of images: a table, a page, a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope import results
from convscope.classifier import Predictions
from convscope.errors import UsageError
from convscope.figures import draw, percent
from convscope.pages._write import (
    fresh_folder,
    keep_image,
    name_of,
    save_figure,
    screen_scale,
    shown_name,
    write_csv,
    write_page,
)
from convscope.reports import Report

MOST_ON_PAGE = 64
"""Images shown on one page; the table has all of them."""


def joined_predictions(parts: Iterable[Predictions]) -> Predictions:
    """Predictions of several batches as one, with the first images only.

    Args:
        parts: In order, of one network; each is let go when the next is asked for.

    Returns:
        All of them; `images` holds the first `MOST_ON_PAGE`.

    Raises:
        UsageError: U10 if there are none.
    """
    first: Predictions | None = None
    names: list[str] = []
    labels: list[Tensor] = []
    probabilities: list[Tensor] = []
    images: list[Tensor] = []
    for part in parts:
        first = first or replace(part, images=None)
        labels.append(part.labels)
        probabilities.append(part.probabilities)
        names.extend(part.image_names)
        room = MOST_ON_PAGE - sum(len(kept) for kept in images)
        if part.images is not None and room > 0:
            images.append(part.images[:room].clone())
    if first is None:
        raise UsageError("no predictions", code="U10", expected="those of at least one image")
    return replace(
        first,
        labels=torch.cat(labels),
        probabilities=torch.cat(probabilities),
        images=torch.cat(images) if images else None,
        image_names=tuple(names),
    )


def class_rows(found: Predictions) -> list[dict[str, Any]]:
    """One line per image and class: image, rank from 1, number and name of the class, share."""
    return [
        {
            "image": name,
            "rank": rank,
            "number": number,
            "class": name_of(found.class_names, number),
            "probability": share,
        }
        for name, numbers, shares in zip(
            found.image_names, found.labels.tolist(), found.probabilities.tolist(), strict=True
        )
        for rank, (number, share) in enumerate(zip(numbers, shares, strict=True), 1)
    ]


def write_predictions(
    found: Predictions,
    out: Path,
    *,
    source: str = "",
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder with a figure, a table and the result.

    Args:
        found: With names of the images.
        out: Where to.
        source: Of the network, for the head of the page.
        force: Write over what is there.
        formats: Of the figure in a folder: ``png``, ``svg``, ``pdf``.

    Raises:
        UsageError: U13 if `out` is taken.
        ResourceError: If the disk refuses.
    """
    if out.suffix.lower() == ".html":
        _write_page(found, out, source=source, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        save_figure(draw(found), folder / "figure", formats)
        write_csv(folder / "predictions.csv", class_rows(found))
        results.save(found, folder / "result", force=force)


def _write_page(found: Predictions, out: Path, *, source: str, force: bool) -> None:
    shown = replace(found, image_names=tuple(map(shown_name, found.image_names)))
    title = shown.image_names[0] if len(shown) == 1 else f"{len(shown):,} images"
    report = Report(title=f"Predictions of {title}", subtitle=source)
    section = report.section(
        "images", "Images", "Each image as the network is given it, beside its likeliest classes."
    )
    section.finding = _finding(shown)
    rows = []
    pictures = () if shown.images is None else shown.images
    for row, image in enumerate(pictures):
        name = shown.image_names[row]
        file = keep_image(section, f"image-{row}", image)
        cells = [{"file": file, "alt": name}, probability_bars(shown, row)]
        rows.append({"title": name, "cells": cells})
    if rows:
        left = len(shown) - len(rows)
        section.grid(
            ["image", "likeliest classes"],
            rows,
            scale=screen_scale(max(shown.images.shape[2:]) if shown.images is not None else 1),
            caption="Bars: the softmax of the logits."
            + (f" {left:,} more images are in the table alone." if left else ""),
        )
    lines = class_rows(shown)
    columns: list[str | dict[str, Any]] = [
        "image",
        *({"title": title, "kind": "number"} for title in ("rank", "number")),
        "class",
        {"title": "probability", "kind": "percent"},
    ]
    section.table(columns, [list(line.values()) for line in lines], name="predictions")
    write_page(report, out, force=force)


def probability_bars(found: Predictions, row: int) -> dict[str, Any]:
    """The cell of a grid with the likeliest classes of an image."""
    pairs = [
        (name_of(found.class_names, number), share)
        for number, share in zip(
            found.labels[row].tolist(), found.probabilities[row].tolist(), strict=True
        )
    ]
    told = "; ".join(f"{name} {percent(share)}" for name, share in pairs)
    bars = [
        {"label": f"{percent(share)} {name.partition(',')[0]}", "shares": [share]}
        for name, share in pairs
    ]
    return {"bars": bars, "alt": f"Probabilities: {told}"}


def _finding(found: Predictions) -> str:
    if len(found) == 1:
        share = percent(float(found.probabilities[0, 0]))
        return f"Predicted as {found.names(0)[0]} with a probability of {share}."
    first = found.labels[:, 0]
    classes, sure = len(set(first.tolist())), int((found.probabilities[:, 0] >= 0.5).sum())
    kinds = "the same class" if classes == 1 else f"{classes:,} different classes"
    return (
        f"{len(found):,} images are predicted as {kinds}, {sure:,} of them with a probability of "
        "at least 50 %."
    )
