"""What an inspection found, as sections of a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convscope.explanations import (
    Explanation,
    FeatureMaps,
    Filters,
    OcclusionTable,
    Trust,
)
from convscope.figures import (
    ascent_curve,
    draw,
    explanation_tile,
    explanation_title,
    filter_caption,
    filter_legend,
    filter_sheet,
    map_caption,
    map_sheet,
    png,
    strength,
    svg,
    unit_name,
    visualization_title,
)
from convscope.reports import Report, Section
from convscope.studies._context import keep_image, name_of, screen_scale
from convscope.studies._inspection_tables import (
    Inspection,
    effect_rows,
    occlusion_rows,
    prediction_rows,
    trust_rows,
    unit_rows,
)
from convscope.studies._visualizations import picture_rows
from convscope.visualizations import Visualization

MOST_ON_PAGE = 64
"""Images shown on one page."""

MOST_CLASSES = 12
"""Classes shown of each image."""

PAGE_WIDTH, GAP = 800, 8
"""Pixels for the pictures of a row, and between two of them."""


def image_page(report: Report, work: Inspection) -> None:
    side = max(work.images.shape[2:])
    scale = screen_scale(side)
    section = report.section("images", "Images", "What the network reads.")
    rows = prediction_rows(work)
    section.gallery(
        [
            {
                "file": keep_image(section, f"image-{i}", work.images[i]),
                "alt": row["image"],
                "title": row["predicted"],
                "detail": f"{row['probability']:.1%}",
                "tone": "bad" if row.get("true", row["predicted"]) != row["predicted"] else "",
            }
            for i, row in enumerate(rows[:MOST_ON_PAGE])
        ],
        scale=scale,
    )
    section.table(list(rows[0]), [list(row.values()) for row in rows])
    explanations = {k: v for k, v in work.found.items() if isinstance(v, Explanation)}
    if explanations:
        _explanation_section(report, work, explanations, scale)
    for result in work.found.values():
        if isinstance(result, Filters):
            _filter_section(report, result)
        elif isinstance(result, FeatureMaps):
            _map_section(report, work, result)


def _explanation_section(
    report: Report, work: Inspection, explanations: Mapping[str, Explanation], scale: float
) -> None:
    section = report.section(
        "looking",
        "Where it looks",
        "Red speaks for the class, blue against it, white is nothing. In maps without a sign dark "
        "blue is nothing and yellow is most.",
    )
    if all(found.maps.shape[1] == 1 for found in explanations.values()):
        _side_by_side(section, work, explanations, scale)
    else:
        for found in explanations.values():
            _class_by_class(section, work, found, scale)
    for found in explanations.values():
        if found.table is not None:
            _occlusion_details(section, work, found.table, found.class_names)


def _side_by_side(
    section: Section, work: Inspection, explanations: Mapping[str, Explanation], scale: float
) -> None:
    """One map per image: a column for every method, in as many grids as the page is wide."""
    methods = list(explanations)
    fit = max(1, int(PAGE_WIDTH / (scale * work.images.shape[3] + GAP)) - 1)
    each = math.ceil(len(methods) / math.ceil(len(methods) / fit))
    for start in range(0, len(methods), each):
        names = methods[start : start + each]
        rows = []
        for i in range(min(len(work.images), MOST_ON_PAGE)):
            file = keep_image(section, f"image-{i}", work.images[i])
            first = explanations[names[0]]
            target = name_of(first.class_names, int(first.targets[i, 0]))
            cells = [{"file": file, "alt": work.names[i], "detail": target}]
            for name in names:
                found = explanations[name]
                tile = section.image(f"{name}-{i}-0", png(explanation_tile(found, i)))
                cells.append(
                    {
                        "file": tile,
                        "alt": f"{name} map of {target}",
                        "detail": strength(found, i),
                    }
                )
            rows.append({"title": work.names[i], "cells": cells})
        told = "; ".join(explanation_title(explanations[name]) for name in names)
        section.grid(
            ["image", *names],
            rows,
            scale=scale,
            caption="Below each image: the class that its maps are about. Below each map: the "
            f"value of its strongest color. {told}.",
        )


def _class_by_class(section: Section, work: Inspection, found: Explanation, scale: float) -> None:
    """A column for every class; maps of an image share their colors."""
    count = min(found.maps.shape[1], MOST_CLASSES)
    room = (PAGE_WIDTH / (count + 1) - GAP) / work.images.shape[3]
    scale = min(scale, math.floor(room) if room >= 1 else room)
    rows = []
    for i in range(min(len(work.images), MOST_ON_PAGE)):
        file = keep_image(section, f"image-{i}", work.images[i])
        cells: list[dict[str, Any]] = [
            {"file": file, "alt": work.names[i], "detail": strength(found, i)}
        ]
        for k in range(count):
            name = name_of(found.class_names, int(found.targets[i, k]))
            path = section.image(f"{found.method}-{i}-{k}", png(explanation_tile(found, i, k)))
            cells.append({"file": path, "alt": f"{found.method} map of {name}", "detail": name})
        rows.append({"title": work.names[i], "cells": cells})
    more = found.maps.shape[1] - count
    section.grid(
        ["image", *(_heading(found, k) for k in range(count))],
        rows,
        scale=scale,
        caption=f"{explanation_title(found)}. The maps of an image share one scale; the value of "
        "its strongest color stands below the image."
        + (f" The first {count} of {count + more} classes." if more else ""),
    )


def _heading(found: Explanation, k: int) -> str:
    """The class of a column, if all rows agree on it."""
    classes = set(found.targets[:, k].tolist())
    return name_of(found.class_names, classes.pop()) if len(classes) == 1 else f"target {k + 1}"


def _occlusion_details(
    section: Section, work: Inspection, table: OcclusionTable, classes: tuple[str, ...]
) -> None:
    with section.details("Occlusion in numbers, position by position"):
        rows = occlusion_rows(table, classes, work.names)
        kinds = [{"title": key, "kind": "text"} for key in rows[0]]
        section.table(kinds, [list(row.values()) for row in rows])


def _filter_section(report: Report, found: Filters) -> None:
    section = report.section("filters", "Filters", "Each is stretched by itself.")
    sheet = filter_sheet(found)
    section.picture(
        found.layer,
        png(sheet),
        alt=filter_caption(found),
        caption=f"{filter_caption(found)}; {filter_legend(found)}.",
        scale=max(1, min(12, 640 // sheet.shape[1])),
    )


def _map_section(report: Report, work: Inspection, found: FeatureMaps) -> None:
    section = report.section("feature-maps", "Feature maps", "Each is stretched by itself.")
    for i in range(min(len(work.images), 8)):
        section.text(work.names[i])
        for layer in found.layers:
            sheet = map_sheet(layer, i, columns=16 if max(layer.maps.shape[2:]) <= 16 else 8)
            section.picture(
                f"{layer.layer}-{i}",
                png(sheet),
                alt=f"Maps of {layer.layer_label}",
                caption=map_caption(layer),
                scale=max(1, min(4, 860 // sheet.shape[1])),
            )


def unit_section(report: Report, found: Visualization) -> None:
    section = report.section("units", "What units like best", f"{visualization_title(found)}.")
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


TRUST_LEAD = (
    "Every method is put to the same tests. A method that does not beat the random map "
    "in the last row says nothing about this network."
)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def trust_section(section: Section, found: Trust) -> None:
    """Curves and table of a `Trust` in a section of any report."""
    section.figure(
        "trust", svg(draw(found)), alt="Deletion, insertion and randomization curves", wide=True
    )
    rows = trust_rows(found)
    applied = [key for key in rows[0] if any(row[key] is not None for row in rows)][1:]
    section.table(
        [{"kind": "code", "title": "method"}, *({"kind": "number", "title": k} for k in applied)],
        [[row["method"], *(_short(row[key]) for key in applied)] for row in rows],
        caption=f"Judged on {found.images} images. Insertion and deletion: area under the "
        "probability of the class while pixels are sharpened or blurred in the order of the map. "
        "Random weights: rank correlation with the map of the same network with random weights, "
        "0 is good. Pointing: share of positive relevance in the right quarter of 2 x 2 mosaics, "
        "chance is 0.25"
        + (" (of mosaics shrunk to the size of one image)" if found.shrunk else "")
        + ". Stability: largest relative change under noise of 0.02, small is good."
        + ("" if found.area is None else f" On object: chance is {found.area:.2f}."),
    )
    for text in found.notes:
        section.note(text)
