"""Where does it look?"""

from __future__ import annotations

from typing import Any

from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, Explanation, occlusion
from convscope.figures import explanation_tile, is_empty, png, strength
from convscope.pages import keep_image, name_of
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._performance import percent

SHOWN = (
    "grad-cam", "occlusion", "integrated-gradients", "smooth-grad", "rise", "saliency",
    "input-times-gradient",
)  # fmt: skip
"""Columns, the most trustworthy first; those that the registry has."""

MOST = 4
NARROW = 84
"""Screen pixels of a picture where a row has many: eight fit beside each other."""


def looking(audit: Audit, section: Section) -> None:
    """One row per image, one column per method; then the occlusion table of one image."""
    images, labels = audit.shown
    images, labels = images[:MOST], labels[:MOST]
    names = audit.classifier.class_names
    done: list[Explanation] = []
    for method in (m for m in SHOWN if m in EXPLANATIONS):
        try:
            done.append(EXPLANATIONS[method](audit.classifier, images, labels))
        except ConvscopeError as error:
            section.note(f"`{method}` does not work on this network: {error}", level="warning")
    rows = []
    for row in range(len(images)):
        true = name_of(names, int(labels[row]))
        cells: list[dict[str, Any]] = [
            {"file": keep_image(section, f"image-{row}", images[row]), "alt": f"Test image, {true}"}
        ]
        for found in done:
            cells.append(
                {
                    "file": section.image(
                        f"{found.method}-{row}", png(explanation_tile(found, row))
                    ),
                    "alt": f"{found.method} map of {true}",
                    "detail": strength(found, row),
                }
            )
        rows.append({"title": true, "cells": cells})
    side = max(audit.classifier.input_shape[1:])
    section.grid(
        ["image", *(found.method for found in done)],
        rows,
        scale=min(audit.scale, NARROW / side) if len(done) > 5 else audit.scale,
        caption="Maps for the true class. Signed maps: red speaks for the class, blue against it. "
        "Unsigned maps: dark is nothing, yellow is most. Each map has its own scale; the "
        "value of its strongest color stands below.",
    )
    _empty(audit, section, done)
    section.facts({found.method: _settings(found) for found in done if _settings(found)})
    _completeness(audit, section, done)
    _occlusion_table(audit, section, 0)


def _settings(found: Explanation) -> str:
    parts = [f"at {found.layer_label}"] if found.layer else []
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in found.settings.items()]
    return ", ".join(parts)


def _empty(audit: Audit, section: Section, done: list[Explanation]) -> None:
    """A map of nothing says that the method sees nothing here, which a reader must know."""
    for found in done:
        empty = sum(is_empty(found, row) for row in range(len(found.images)))
        if empty:
            text = f"{found.method}: the maps of {empty} of {len(found.images)} images are empty"
            section.note(f"{text}: zero but for rounding.", level="warning")
            audit.report.alert(f"{text}.", section=section.id)


def _completeness(audit: Audit, section: Section, done: list[Explanation]) -> None:
    for found in done:
        if "completeness" in found.evidence:
            worst = float(found.evidence["completeness"].abs().max())
            section.text(
                f"`{found.method}` should add up to the change of the logit; its largest relative "
                f"error here is {percent(worst, 1)}."
            )


def _occlusion_table(audit: Audit, section: Section, row: int) -> None:
    """The documents' table: position of the window, probability of the true class, class read."""
    images, labels = audit.shown
    preset = "14/7" if min(images.shape[2:]) >= 28 and max(images.shape[2:]) <= 64 else None
    found = occlusion(audit.classifier, images[row : row + 1], labels[row : row + 1], preset=preset)
    table = found.table
    if table is None:
        return
    names = audit.classifier.class_names
    rows = []
    for i, (top, left, bottom, right) in enumerate(table.windows.tolist()):
        read = int(table.predicted[0, i])
        right_class = read == int(labels[row])
        rows.append(
            [
                f"{top}–{bottom - 1}, {left}–{right - 1}",
                float(table.of_label[0, i]),
                {"value": name_of(names, read), "tone": "" if right_class else "bad"},
            ]
        )
    clean = float(table.clean[0, int(labels[row])])
    true = name_of(names, int(labels[row]))
    share = {"kind": "percent", "title": "probability of the true class"}
    with section.details(f"Occlusion in numbers: {true}, position by position"):
        section.table(
            ["rows, columns hidden", share, "read as"],
            rows,
            caption=f"A window of {table.window[0]} x {table.window[1]} pixels ({table.fill}) "
            f"moves by {table.stride[0]} pixels. Without it: {percent(clean)}.",
            name="occlusion",
        )
    if bool((table.predicted[0] == int(labels[row])).all()):
        section.text(
            f"No position of the window changes the class of this image ({len(rows)} positions)."
        )
