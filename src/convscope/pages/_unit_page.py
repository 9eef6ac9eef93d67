"""Images of units: a page or a folder, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope import results
from convscope.figures import (
    ascent_curve,
    bands,
    draw,
    lossless,
    pixels,
    svg,
    unit_name,
    visualization_title,
)
from convscope.pages._write import (
    fresh_folder,
    name_of,
    save_figure,
    screen_scale,
    write_csv,
    write_page,
)
from convscope.reports import Report, Section
from convscope.visualizations import Visualization

BANDS = {
    "image": "the optimized image",
    "random weights": "the same recipe on the network with random weights, which shows what the "
    "recipe synthesizes on its own",
    "best real": "the real image with the largest activation",
    "nearest real": "the real image nearest to the optimized one, to see whether it was memorized",
}


def write_units(
    found: Visualization,
    out: Path,
    *,
    title: str,
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """Pictures of units as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        unit_section(report, found)
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        save_figure(draw(found), folder / "units", formats)
        write_csv(folder / "units.csv", unit_rows(found))
        write_csv(folder / "effect.csv", effect_rows(found))
        results.save(found, folder / "results" / "units", force=force)


def unit_section(report: Report, found: Visualization) -> None:
    section = report.section(
        "units", "Images that maximize units", f"{visualization_title(found)}."
    )
    for flag in found.flags:
        section.note(f"{flag[:1].upper()}{flag[1:]}.", level="warning")
    picture_rows(section, found, screen_scale(max(found.images.shape[2:])))
    section.figure("ascent", svg(ascent_curve(found)), alt="Objective over the steps of the ascent")
    rows = unit_rows(found)
    section.table(list(rows[0]), [list(row.values()) for row in rows])
    effects = effect_rows(found)
    if effects and len(found.class_names) <= 24:
        section.matrix(
            [list(row.values())[1:] for row in effects],
            rows=[unit_name(found, i) for i in range(len(found.units))],
            columns=list(found.class_names),
            row_title="unit",
            column_title="change of the logit",
            kind="number",
            caption="Blue: classes that the image raises, against usual images; orange: lowers.",
        )
    section.facts(
        {"recipe": found.recipe, **{k.replace("_", " "): str(v) for k, v in found.settings.items()}}
    )


def picture_rows(section: Section, found: Visualization, scale: float) -> None:
    """One column per unit: the image, the same from random weights, and real ones."""
    rows = []
    shown = bands(found)
    where = "class" if found.layer == "logits" else found.layer
    for place, (title, images) in enumerate(shown):
        cells = [
            {
                "file": section.image(f"{found.layer}-{title}-{i}", lossless(pixels(image))),
                "alt": f"{title} of {unit}",
                **({} if place else {"address": f"{where}/{int(found.channels[i])}"}),
            }
            for i, (unit, image) in enumerate(zip(found.units, images, strict=True))
        ]
        rows.append({"title": title, "cells": cells})
    section.grid(
        [unit_name(found, i) for i in range(len(found.units))],
        rows,
        scale=scale if len(found.units) < 10 else max(0.05, scale * 0.7),
        caption="Row by row: " + "; ".join(BANDS[title] for title, _ in shown) + ".",
    )


def unit_rows(found: Visualization) -> list[dict[str, Any]]:
    """One line per unit: its activation, what it compares with, and the predicted class."""
    shares = found.logits.softmax(dim=1)
    rows = []
    for i, unit in enumerate(found.units):
        top = int(shares[i].argmax())
        row: dict[str, Any] = {"unit": unit, "activation": float(found.activations[i])}
        if found.max_dataset_activation is not None:
            row["largest on real"] = float(found.max_dataset_activation[i])
        if found.kept is not None:
            row["best step"] = int(found.kept[i])
        row |= {"predicted": name_of(found.class_names, top), "probability": float(shares[i, top])}
        if found.held_out is not None:
            row["held-out prediction"] = name_of(found.class_names, int(found.held_out.labels[i]))
            row["held-out probability"] = float(found.held_out.probabilities[i])
        if found.nearest is not None:
            row["distance to nearest real"] = float(found.nearest.distances[i])
        if found.dead is not None and bool(found.dead[i]):
            row["predicted"] = "no gradient: a dead unit"
        rows.append(row)
    return rows


def effect_rows(found: Visualization) -> list[dict[str, Any]]:
    """Which logits rise and fall when a unit is maximized: one line per unit."""
    if found.effect is None:
        return []
    return [
        {"unit": unit}
        | {name_of(found.class_names, k): value for k, value in enumerate(found.effect[i].tolist())}
        for i, unit in enumerate(found.units)
    ]
