"""Explanations and layer views of a few images: run them, and make a page or a folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope import results
from convscope.classifier import Classifier
from convscope.explanations import (
    EXPLANATIONS,
    LAYER_VIEWS,
    Explanation,
    FeatureMaps,
    Filters,
    OcclusionTable,
    SelectedMaps,
    passes_per_map,
)
from convscope.figures import (
    SIGNED_LEGEND,
    UNSIGNED_LEGEND,
    draw,
    draw_feature_maps,
    draw_selected_maps,
    explanation_tile,
    explanation_title,
    filter_caption,
    filter_legend,
    filter_sheet,
    is_empty,
    lossless,
    map_caption,
    map_sheet,
    overlay_tile,
    percent,
    photo,
    png,
    scale_bar,
    selection_caption,
    strength,
    stretched,
)
from convscope.pages._write import (
    SMALL,
    fresh_folder,
    keep_image,
    name_of,
    save_figure,
    screen_scale,
    shown_name,
    some_are,
    write_csv,
    write_page,
)
from convscope.progress import announce, stage
from convscope.reports import Report, Section
from convscope.types import Images

MOST_ON_PAGE = 64
"""Images shown on one page."""

MOST_CLASSES = 12
"""Classes shown of each image."""

STRONGEST = 0.1
"""Share of the pixels of a map that are called its strongest."""

PAGE_WIDTH, GAP = 800, 8
"""Pixels for the pictures of a row, and between two of them."""


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
) -> Inspection:
    """Run the named explanations and layer views on the same images.

    Says how far it is to whoever listens by `convscope.progress.watch`.

    Args:
        classifier: The network to look into.
        images: ``(batch, channel, height, width)``.
        show: Names in `EXPLANATIONS` or `LAYER_VIEWS`.
        names: What to call the images.
        labels: True classes, if known.
        targets: As explanations take them.
        settings: Keyword settings by method.
    """
    given = settings or {}
    found: dict[str, Any] = {}
    done, total = 0, sum(map(passes_per_map, show))
    for name in show:
        options, passes = dict(given.get(name, {})), passes_per_map(name)
        with stage(done / total, (done + passes) / total, name):
            if name in EXPLANATIONS:
                found[name] = EXPLANATIONS[name](classifier, images, targets, **options)
            elif LAYER_VIEWS.spec(name).takes_images:
                found[name] = LAYER_VIEWS[name](classifier, images, **options)
            else:
                found[name] = LAYER_VIEWS[name](classifier, **options)
        done += passes
        announce(done / total)
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


def write_images(
    work: Inspection,
    out: Path,
    *,
    title: str,
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder of pictures, tables and results."""
    if out.suffix.lower() == ".html":
        report = Report(title=title, subtitle=work.classifier.source)
        image_page(report, replace(work, names=tuple(map(shown_name, work.names))))
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        for name, result in work.found.items():
            if isinstance(result, FeatureMaps | SelectedMaps):
                for row in range(min(len(work.images), MOST_ON_PAGE)):
                    drawn = (
                        draw_feature_maps(result, row)
                        if isinstance(result, FeatureMaps)
                        else draw_selected_maps(result, row)
                    )
                    save_figure(drawn, folder / f"{name}-{row}", formats)
            else:
                save_figure(draw(result), folder / name, formats)
            if isinstance(result, Explanation) and result.table is not None:
                rows = occlusion_rows(result.table, result.class_names, work.names)
                write_csv(folder / f"{name}.csv", rows)
            results.save(result, folder / "results" / name, force=force)
        write_csv(folder / "predictions.csv", prediction_rows(work))


def image_page(report: Report, work: Inspection) -> None:
    side = max(work.images.shape[2:])
    scale = screen_scale(side)
    section = report.section(
        "images", "Images", "The input, and the class that the network predicts."
    )
    rows = prediction_rows(work)
    section.finding = _predictions(rows)
    section.gallery(
        [
            {
                "file": keep_image(section, f"image-{i}", work.images[i]),
                "alt": row["image"],
                "title": row["predicted"],
                "detail": percent(row["probability"]),
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
        elif isinstance(result, SelectedMaps):
            _selection_section(report, work, result)


def _explanation_section(
    report: Report, work: Inspection, explanations: Mapping[str, Explanation], scale: float
) -> None:
    section = report.section(
        "looking",
        "Attribution maps",
        f"{SIGNED_LEGEND}; {UNSIGNED_LEGEND}. Each map is shown alone and laid over its image.",
    )
    section.finding = agreement(list(explanations.values()))
    scale_bars(section, explanations.values())
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
        rows: list[dict[str, Any]] = []
        for i in range(min(len(work.images), MOST_ON_PAGE)):
            file = keep_image(section, f"image-{i}", work.images[i])
            first = explanations[names[0]]
            target = name_of(first.class_names, int(first.targets[i, 0]))
            cells = [{"file": file, "alt": work.names[i], "detail": target}]
            for name in names:
                found = explanations[name]
                tile = section.image(f"{name}-{i}-0", lossless(explanation_tile(found, i)))
                cells.append(
                    {
                        "file": tile,
                        "alt": f"{name} map of {target}",
                        "detail": strength(found, i),
                    }
                )
            rows.append({"title": work.names[i], "cells": cells})
            laid = [laid_over(section, explanations[name], i, 0) for name in names]
            rows.append({"title": "on the image", "cells": [None, *laid]})
        told = "; ".join(explanation_title(explanations[name]) for name in names)
        section.grid(
            ["image", *names],
            rows,
            scale=scale,
            caption="Below each image: the class that its maps explain. Below each map: the "
            f"value of its strongest color. {told}.",
        )


def _class_by_class(section: Section, work: Inspection, found: Explanation, scale: float) -> None:
    """A column for every class; maps of an image share their colors."""
    count = min(found.maps.shape[1], MOST_CLASSES)
    room = (PAGE_WIDTH / (count + 1) - GAP) / work.images.shape[3]
    scale = min(scale, math.floor(room) if room >= 1 else room)
    rows: list[dict[str, Any]] = []
    for i in range(min(len(work.images), MOST_ON_PAGE)):
        file = keep_image(section, f"image-{i}", work.images[i])
        cells: list[dict[str, Any]] = [
            {"file": file, "alt": work.names[i], "detail": strength(found, i)}
        ]
        for k in range(count):
            name = name_of(found.class_names, int(found.targets[i, k]))
            path = section.image(f"{found.method}-{i}-{k}", lossless(explanation_tile(found, i, k)))
            cells.append({"file": path, "alt": f"{found.method} map of {name}", "detail": name})
        rows.append({"title": work.names[i], "cells": cells})
        laid = [laid_over(section, found, i, k) for k in range(count)]
        rows.append({"title": "on the image", "cells": [None, *laid]})
    more = found.maps.shape[1] - count
    section.grid(
        ["image", *(_heading(found, k) for k in range(count))],
        rows,
        scale=scale,
        caption=f"{explanation_title(found)}. The maps of an image share one scale; the value of "
        "its strongest color stands below the image."
        + (f" The first {count} of {count + more} classes." if more else ""),
    )


def agreement(explanations: Sequence[Explanation]) -> str:
    """How much the methods agree, in one sentence: the share of their strongest pixels in common.

    The strongest tenth of the pixels of each map, by magnitude, is compared pair by pair, on the
    images for which neither map is empty. Nothing is said if that leaves no pair.
    """
    tops = [(found.method, *_strongest(found)) for found in explanations]
    shares = [
        (100 * float((a & b)[both].sum() / a[both].sum()), one, other)
        for (one, a, of_a), (other, b, of_b) in combinations(tops, 2)
        if bool((both := of_a & of_b).any())
    ]
    if not shares:
        return ""
    chance, tenth = f"{100 * STRONGEST:.0f} % by chance", "the strongest tenth of their pixels"
    values = [share for share, _, _ in shares]
    if len(shares) == 1:
        share, one, other = shares[0]
        return f"`{one}` and `{other}` share {share:.0f} % of {tenth} ({chance})."
    return (
        f"On average two methods share {sum(values) / len(values):.0f} % of {tenth} "
        f"({min(values):.0f} to {max(values):.0f} % by pair; {chance})."
    )


def _strongest(found: Explanation) -> tuple[Tensor, Tensor]:
    """The strongest pixels ``(image, pixel)`` of the first maps, and which maps are not empty."""
    first = replace(found, maps=found.maps[:, :1], targets=found.targets[:, :1])
    filled = torch.tensor([not is_empty(first, i) for i in range(len(first.maps))]).bool()
    strong = first.maps[:, 0].nan_to_num(0.0).abs().flatten(1).cpu()
    count = max(1, round(STRONGEST * strong.shape[1]))
    top = torch.zeros(strong.shape, dtype=torch.bool)
    return top.scatter_(1, strong.topk(count).indices, True), filled


def laid_over(section: Section, found: Explanation, row: int, k: int) -> dict[str, Any]:
    """The cell of a grid with a map on its image."""
    name = name_of(found.class_names, int(found.targets[row, k]))
    tile = overlay_tile(found, row, k)
    data = lossless(tile) if max(tile.shape[:2]) <= SMALL else photo(tile)[0]
    path = section.image(f"{found.method}-{row}-{k}-laid-over", data)
    return {"file": path, "alt": f"{found.method} map of {name} laid over the image"}


def scale_bars(section: Section, explanations: Iterable[Explanation]) -> None:
    """What the colors of the maps below stand for, as color bars."""
    items = []
    for signed, ends in ((True, "− largest … 0 … + largest"), (False, "0 … largest")):
        if any(found.signed == signed for found in explanations):
            file = section.image(f"scale-{signed}", lossless(scale_bar(signed=signed)))
            items.append({"file": file, "alt": f"Color bar: {ends}", "detail": ends})
    section.gallery(items, scale=3)


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
    section = report.section(
        "filters", "Filters", "Each filter is stretched to the full range of colors."
    )
    sheet = filter_sheet(found)
    section.picture(
        found.layer,
        png(sheet),
        alt=filter_caption(found),
        caption=f"{filter_caption(found)}; {filter_legend(found)}.",
        scale=max(1, min(12, 640 // sheet.shape[1])),
    )


def _map_section(report: Report, work: Inspection, found: FeatureMaps) -> None:
    section = report.section(
        "feature-maps", "Feature maps", "Each map is stretched to the full range of grays."
    )
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


def _selection_section(report: Report, work: Inspection, found: SelectedMaps) -> None:
    section = report.section(
        "selected-maps",
        "Selected feature maps",
        "The most interesting maps of each layer for this image, each from its smallest value "
        "(black) to its largest (white).",
    )
    for row in range(min(len(work.images), 8)):
        section.text(work.names[row])
        selected_galleries(section, found, row)


def selected_galleries(section: Section, found: SelectedMaps, row: int) -> None:
    """The chosen maps of an image, a gallery per layer."""
    for index, layer in enumerate(found.layers):
        items = [
            {
                "file": section.image(
                    f"{layer.layer}-{row}-{k}", lossless(stretched(layer.maps[row, k]))
                ),
                "alt": f"Map {channel} of {layer.layer_label}",
                "title": f"map {channel}",
                "detail": f"interest {float(layer.interest[row, k]):.2f}",
            }
            for k, channel in enumerate(layer.channels[row].tolist())
        ]
        caption = selection_caption(found, index)
        scale = min(40.0, MAP_SIDE / max(layer.maps.shape[2:]))
        section.gallery(
            items, caption=f"{caption[:1].upper()}{caption[1:]}.", scale=round(scale, 3)
        )


MAP_SIDE = 112
"""Pixels of a selected map on a page, whatever its size."""


def prediction_rows(work: Inspection) -> list[dict[str, Any]]:
    """One line per image: its name, its class, and the prediction."""
    shares = work.logits.softmax(dim=1)
    rows = []
    for i, name in enumerate(work.names):
        top = int(shares[i].argmax())
        classes = work.classifier.class_names
        row: dict[str, Any] = {"image": name}
        if work.labels is not None:
            row["true"] = name_of(classes, int(work.labels[i]))
        row |= {"predicted": name_of(classes, top), "probability": float(shares[i, top])}
        rows.append(row)
    return rows


def _predictions(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the network predicts, in one sentence."""
    if len(rows) == 1:
        row = rows[0]
        true = f"; the true class is {row['true']}" if "true" in row else ""
        share = percent(row["probability"])
        return f"Predicted as {row['predicted']} with a probability of {share}{true}."
    if "true" in rows[0]:
        right = sum(row["true"] == row["predicted"] for row in rows)
        whose = "its" if right == 1 else "their"
        return f"{some_are(right, len(rows), 'image')} predicted as {whose} true class."
    classes = {row["predicted"] for row in rows}
    if len(classes) == 1:
        return f"All {len(rows)} images are predicted as {classes.pop()}."
    return f"{len(rows)} images are predicted as {len(classes)} different classes."


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
