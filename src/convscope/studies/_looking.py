"""The audit's section of explanation maps, and its table of occlusion."""

from __future__ import annotations

from typing import Any

from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, Explanation, occlusion
from convscope.figures import (
    SIGNED_LEGEND,
    UNSIGNED_LEGEND,
    explanation_tile,
    is_empty,
    lossless,
    strength,
)
from convscope.pages import agreement, keep_image, laid_over, name_of, scale_bars
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._performance import percent

MOST = 3
NARROW = 96
"""Screen pixels of a picture where a row has many: eight fit beside each other."""


def looking(audit: Audit, section: Section) -> None:
    """One row per image, one column per method; then the occlusion table of one image."""
    images, labels = audit.shown
    images, labels = images[:MOST], labels[:MOST]
    names = audit.classifier.class_names
    explanations: list[Explanation] = []
    for method, spec in EXPLANATIONS.specs().items():
        if audit.effort not in spec.audit:
            continue
        settings = spec.audit[audit.effort]
        try:
            explanations.append(EXPLANATIONS[method](audit.classifier, images, labels, **settings))
        except ConvscopeError as error:
            section.note(f"`{method}` does not work on this network: {error}", level="warning")
    rows: list[dict[str, Any]] = []
    for i in range(len(images)):
        true = name_of(names, int(labels[i]))
        cells: list[dict[str, Any]] = [
            {"file": keep_image(section, f"image-{i}", images[i]), "alt": f"Test image, {true}"}
        ]
        for explanation in explanations:
            tile = lossless(explanation_tile(explanation, i))
            cells.append(
                {
                    "file": section.image(f"{explanation.method}-{i}", tile),
                    "alt": f"{explanation.method} map of {true}",
                    "detail": strength(explanation, i),
                }
            )
        rows.append({"title": true, "cells": cells})
        laid = [laid_over(section, explanation, i, 0) for explanation in explanations]
        rows.append({"title": "on the image", "cells": [None, *laid]})
    section.finding = agreement(explanations)
    scale_bars(section, explanations)
    side = max(audit.classifier.input_shape[1:])
    many = max(1, NARROW // side) if side <= NARROW else NARROW / side
    section.grid(
        ["image", *(explanation.method for explanation in explanations)],
        rows,
        scale=min(audit.scale, many) if len(explanations) > 5 else audit.scale,
        caption=f"Maps for the true class. {SIGNED_LEGEND}; {UNSIGNED_LEGEND}. Each map has its "
        "own scale; the value of its strongest color stands below.",
    )
    _empty(audit, section, explanations)
    section.facts({each.method: _settings(each) for each in explanations if _settings(each)})
    _completeness(section, explanations)
    _occlusion_table(audit, section, 0)


def _settings(explanation: Explanation) -> str:
    parts = [f"at {explanation.layer_label}"] if explanation.layer else []
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in explanation.settings.items()]
    return ", ".join(parts)


def _empty(audit: Audit, section: Section, explanations: list[Explanation]) -> None:
    """Say which maps are empty: a reader must know that the method finds nothing here."""
    for explanation in explanations:
        count = len(explanation.images)
        empty = sum(is_empty(explanation, i) for i in range(count))
        if empty:
            text = f"{explanation.method}: the maps of {empty} of {count} images are empty"
            section.note(f"{text}: zero but for rounding.", level="warning")
            audit.report.alert(f"{text}.", section=section.id)


def _completeness(section: Section, explanations: list[Explanation]) -> None:
    for explanation in explanations:
        if "completeness" in explanation.evidence:
            worst = float(explanation.evidence["completeness"].abs().max())
            section.text(
                f"`{explanation.method}` should add up to the change of the logit; its largest "
                f"relative error here is {percent(worst, 1)}."
            )


def _occlusion_table(audit: Audit, section: Section, row: int) -> None:
    """The documents' table: position of the window, probability of the true class, prediction."""
    images, labels = audit.shown
    preset = "14/7" if min(images.shape[2:]) >= 28 and max(images.shape[2:]) <= 64 else None
    image, label = images[row : row + 1], labels[row : row + 1]
    table = occlusion(audit.classifier, image, label, preset=preset).table
    if table is None:
        return
    names = audit.classifier.class_names
    rows = []
    for i, (top, left, bottom, right) in enumerate(table.windows.tolist()):
        predicted = int(table.predicted[0, i])
        correct = predicted == int(labels[row])
        rows.append(
            [
                f"{top}–{bottom - 1}, {left}–{right - 1}",
                float(table.of_label[0, i]),
                {"value": name_of(names, predicted), "tone": "" if correct else "bad"},
            ]
        )
    clean = float(table.clean[0, int(labels[row])])
    true = name_of(names, int(labels[row]))
    share = {"kind": "percent", "title": "probability of the true class"}
    with section.details(f"Occlusion in numbers: {true}, position by position"):
        section.table(
            ["rows, columns hidden", share, "predicted as"],
            rows,
            caption=f"A window of {table.window[0]} x {table.window[1]} pixels ({table.fill}) "
            f"moves by {table.stride[0]} pixels. Without it: {percent(clean)}.",
            name="occlusion",
        )
    if bool((table.predicted[0] == int(labels[row])).all()):
        section.text(
            f"No position of the window changes the class of this image ({len(rows)} positions)."
        )
