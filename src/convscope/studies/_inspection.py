"""Look closely at a few images or units: pages and folders for ``convscope inspect``."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope import results
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations import (
    EXPLANATIONS,
    LAYER_VIEWS,
    Explanation,
    FeatureMaps,
    Filters,
    OcclusionTable,
    Trust,
    watched,
)
from convscope.figures import (
    ascent_curve,
    draw,
    explanation_tile,
    explanation_title,
    filter_caption,
    filter_legend,
    filter_sheet,
    is_signed,
    map_caption,
    map_sheet,
    png,
    row_limit,
    svg,
    visualization_title,
)
from convscope.figures import draw_feature_maps as draw_maps
from convscope.reports import Report, Section, render
from convscope.studies._context import keep_image, name_of, screen_scale
from convscope.studies._visualizations import picture_rows
from convscope.types import Images
from convscope.visualizations import Visualization

MOST_ON_PAGE = 64
"""Images shown on one page."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What was found about some images.

    Attributes:
        classifier: The network.
        images: ``(batch, channel, height, width)``.
        names: One per image.
        labels: ``(batch,)`` true classes, if they are known.
        logits: ``(batch, class)``.
        found: Results by the name of the method, in the order asked for.
    """

    classifier: Classifier
    images: Images
    names: tuple[str, ...]
    labels: Tensor | None
    logits: Tensor
    found: Mapping[str, Any]


def inspect_images(
    classifier: Classifier,
    images: Images,
    *,
    show: Sequence[str],
    names: tuple[str, ...],
    labels: Tensor | None = None,
    targets: Any = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Inspection:
    """Run the named explanations and layer views on the same images.

    Args:
        classifier: The network to look into.
        images: ``(batch, channel, height, width)``.
        show: Names in `EXPLANATIONS` or `LAYER_VIEWS`.
        names: What to call the images.
        labels: True classes, if known.
        targets: As explanations take them.
        settings: Keyword settings by method.
        on_progress: Called with the name of a method and the share of it that is done.
    """
    given = settings or {}
    found: dict[str, Any] = {}
    for name in show:
        options = dict(given.get(name, {}))
        tell = partial(on_progress, name) if on_progress is not None else _unheard
        with watched(tell):
            if name == "filters":
                found[name] = LAYER_VIEWS[name](classifier, **options)
            elif name in LAYER_VIEWS:
                found[name] = LAYER_VIEWS[name](classifier, images, **options)
            else:
                found[name] = EXPLANATIONS[name](classifier, images, targets, **options)
        tell(1.0)
    with classifier.probe() as probe:
        logits = probe.logits(images)
    return Inspection(
        classifier=classifier,
        images=images,
        names=names,
        labels=labels,
        logits=logits,
        found=found,
    )


def _unheard(share: float) -> None:
    """For callers who do not watch."""


def prediction_rows(work: Inspection) -> list[dict[str, Any]]:
    """One line per image: what it is called, what it is, what the network reads."""
    shares = work.logits.softmax(dim=1)
    rows = []
    for i, name in enumerate(work.names):
        read = int(shares[i].argmax())
        classes = work.classifier.class_names
        row: dict[str, Any] = {"image": name}
        if work.labels is not None:
            row["true"] = name_of(classes, int(work.labels[i]))
        row |= {"predicted": name_of(classes, read), "probability": float(shares[i, read])}
        rows.append(row)
    return rows


def occlusion_rows(
    table: OcclusionTable, class_names: tuple[str, ...], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The documents' table: position, probability of the label, class predicted there."""
    of_label, predicted = table.of_label.tolist(), table.predicted.tolist()
    rows = []
    for i, name in enumerate(names):
        label = name_of(class_names, int(table.labels[i]))
        for p, (top, left, bottom, right) in enumerate(table.windows.tolist()):
            rows.append(
                {
                    "image": name,
                    "top": top,
                    "left": left,
                    "bottom": bottom,
                    "right": right,
                    "class": label,
                    "probability": of_label[i][p],
                    "predicted": name_of(class_names, predicted[i][p]),
                }
            )
    return rows


def write_images(work: Inspection, out: Path, *, title: str, force: bool = False) -> None:
    """A page if `out` ends in ``.html``, else a folder of pictures, tables and results."""
    if out.suffix.lower() == ".html":
        report = Report(title=title, subtitle=work.classifier.source)
        _image_page(report, work)
        write_page(report, out, force=force)
        return
    folder = fresh_folder(out, force=force)
    for name, result in work.found.items():
        if isinstance(result, FeatureMaps):
            for row in range(min(len(work.images), MOST_ON_PAGE)):
                draw_maps(result, row).savefig(folder / f"{name}-{row}.png", dpi=150)
        else:
            draw(result).savefig(folder / f"{name}.png", dpi=150)
        if isinstance(result, Explanation) and result.table is not None:
            rows = occlusion_rows(result.table, result.class_names, work.names)
            write_csv(folder / f"{name}.csv", rows)
        results.save(result, folder / "results" / name, force=force)
    write_csv(folder / "predictions.csv", prediction_rows(work))


def write_units(found: Visualization, out: Path, *, title: str, force: bool = False) -> None:
    """Pictures of units as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        _unit_section(report, found)
        write_page(report, out, force=force)
        return
    folder = fresh_folder(out, force=force)
    draw(found).savefig(folder / "units.png", dpi=150)
    write_csv(folder / "units.csv", unit_rows(found))
    write_csv(folder / "effect.csv", effect_rows(found))
    results.save(found, folder / "results" / "units", force=force)


def write_trust(found: Trust, out: Path, *, title: str, force: bool = False) -> None:
    """The table of trust as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        trust_section(report.section("trust", "Whom to believe", TRUST_LEAD), found)
        write_page(report, out, force=force)
        return
    folder = fresh_folder(out, force=force)
    draw(found).savefig(folder / "trust.png", dpi=150)
    write_csv(folder / "trust.csv", trust_rows(found))
    results.save(found, folder / "results" / "trust", force=force)


TRUST_LEAD = (
    "Every method is put to the same tests. A method that does not beat the random map "
    "in the last row says nothing about this network."
)


def trust_section(section: Section, found: Trust) -> None:
    """Curves and table of a `Trust` in a section of any report."""
    section.figure(
        "trust", svg(draw(found)), alt="Deletion, insertion and randomization curves", wide=True
    )
    rows = trust_rows(found)
    number = {"kind": "number"}
    section.table(
        ["method", *(number | {"title": name} for name in list(rows[0])[1:])],
        [list(row.values()) for row in rows],
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


def trust_rows(found: Trust) -> list[dict[str, Any]]:
    """One line per method; tests that do not apply are ``None``."""
    rows = []
    for row in found.rows:
        line: dict[str, Any] = {
            "method": row.method,
            "insertion - deletion": row.gap,
            "insertion": row.insertion,
            "deletion": row.deletion,
            "random weights": row.randomized,
            "pointing": row.pointing,
        }
        if found.area is not None:
            line |= {"on object": row.inside, "hits": row.hit}
        line |= {
            "stability": row.stability,
            "completeness error": row.completeness,
            "seconds": row.seconds,
        }
        rows.append(line)
    return rows


def unit_rows(found: Visualization) -> list[dict[str, Any]]:
    """One line per unit: how active, compared with what, and who recognizes it."""
    shares = found.logits.softmax(dim=1)
    rows = []
    for i, unit in enumerate(found.units):
        read = int(shares[i].argmax())
        row: dict[str, Any] = {"unit": unit, "activation": float(found.activations[i])}
        if found.natural is not None:
            row["largest on real images"] = float(found.natural[i])
        row |= {"read as": name_of(found.class_names, read), "probability": float(shares[i, read])}
        if found.judgement is not None:
            row["judge reads"] = name_of(found.class_names, int(found.judgement.labels[i]))
            row["judge's probability"] = float(found.judgement.probabilities[i])
        if found.nearest is not None:
            row["distance to nearest real image"] = float(found.nearest.distances[i])
        if found.stuck is not None and bool(found.stuck[i]):
            row["read as"] = "no gradient: a dead unit"
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


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Dicts as a table; columns in the order of first use."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_page(report: Report, out: Path, *, force: bool) -> None:
    """One HTML file and nothing else."""
    refuse_taken_file(out, force=force)
    with tempfile.TemporaryDirectory() as temporary:
        folder = report.write(Path(temporary) / "report")
        render(folder, out)


def refuse_taken_file(out: Path, *, force: bool) -> None:
    """Before the work: may `out` be written?

    Raises:
        UsageError: U13 if it exists and not `force`.
    """
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not force:
        raise UsageError("already exists", code="U13", where=out, hint="another --out, or --force")


def fresh_folder(out: Path, *, force: bool) -> Path:
    """`out` as a folder to write into."""
    refuse_taken_file(out, force=force)
    out.mkdir(parents=True, exist_ok=True)
    return out


def _image_page(report: Report, work: Inspection) -> None:
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
        "looking", "Where it looks", "Red speaks for the class, blue against it; yellow is most."
    )
    for method, found in explanations.items():
        count = min(found.maps.shape[1], 12)
        rows = []
        for i in range(min(len(work.images), MOST_ON_PAGE)):
            file = keep_image(section, f"image-{i}", work.images[i])
            strongest = f"{'±' if is_signed(found) else '0 to '}{row_limit(found, i):.3g}"
            cells: list[dict[str, Any]] = [
                {"file": file, "alt": work.names[i], "detail": strongest}
            ]
            for k in range(count):
                name = name_of(found.class_names, int(found.targets[i, k]))
                tile = png(explanation_tile(found, i, k))
                path = section.image(f"{method}-{i}-{k}", tile)
                cells.append({"file": path, "alt": f"{method} map of {name}", "detail": name})
            rows.append({"title": work.names[i], "cells": cells})
        section.grid(
            ["image", *(_heading(found, k) for k in range(count))],
            rows,
            scale=scale,
            caption=f"{explanation_title(found)}. Below each image: the strongest color's value.",
        )
        if found.table is not None:
            _occlusion_details(section, work, found.table, found.class_names)


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
                alt=f"Maps of {layer.layer}",
                caption=map_caption(layer),
                scale=max(1, min(4, 860 // sheet.shape[1])),
            )


def _unit_section(report: Report, found: Visualization) -> None:
    section = report.section("units", "What units like best", f"{visualization_title(found)}.")
    picture_rows(section, found, screen_scale(max(found.images.shape[2:])))
    section.figure(
        "ascent", svg(ascent_curve(found)), alt="Objective over the steps of the ascent", wide=True
    )
    rows = unit_rows(found)
    section.table(list(rows[0]), [list(row.values()) for row in rows])
    effects = effect_rows(found)
    if effects and len(found.class_names) <= 24:
        section.matrix(
            [list(row.values())[1:] for row in effects],
            rows=list(found.units),
            columns=list(found.class_names),
            row_title="unit",
            column_title="change of the logit",
            kind="number",
            caption="Which classes the image raises and lowers, against usual images.",
        )
    section.facts({"recipe": found.recipe, **{k: str(v) for k, v in found.settings.items()}})
