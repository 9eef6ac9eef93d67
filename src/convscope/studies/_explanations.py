"""The audit's sections of explanation maps, with a table of occlusion, and of their tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from convscope._random import seed_of
from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, Explanation, Trust, occlusion, trust_of
from convscope.figures import (
    SIGNED_LEGEND,
    UNSIGNED_LEGEND,
    draw_trust,
    explanation_tile,
    is_empty,
    lossless,
    percent,
    strength,
    svg,
)
from convscope.pages import (
    TRUST_COLUMNS,
    agreement,
    keep_image,
    laid_over,
    name_of,
    scale_bars,
    some_are,
    trust_judging,
)
from convscope.progress import announce, stage
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._stages import Found, JudgedSection, Shown, Stage

LEFT_OUT, SCORES = "left out", "scores"
"""Stages of the section on trust."""

MOST = 3
NARROW = 96
"""Screen pixels of a picture where a row has many: eight fit beside each other."""

TESTED = {"quick": 8, "standard": 24, "full": 64}
"""Images that methods are tested on, by effort."""
FEW_TESTED = 2
"""The same where images are large."""
FEW = 2
"""Images with maps where images are large."""


def looking(audit: Audit, section: Section) -> None:
    """One row per image, one column per method; then the occlusion table of one image."""
    images, labels = audit.shown
    count = audit.sized(MOST, FEW)
    images, labels = images[:count], labels[:count]
    names = audit.classifier.class_names
    explanations: list[Explanation] = []
    specs = EXPLANATIONS.specs()
    planned = [name for name, spec in specs.items() if audit.effort in spec.audit]
    chosen = {
        method: specs[method].audit[audit.effort]
        for method in audit.applicable(section, EXPLANATIONS, planned)
    }
    for number, (method, settings) in enumerate(chosen.items()):
        try:
            with stage(number / (len(chosen) + 1), (number + 1) / (len(chosen) + 1)):
                explanations.append(
                    EXPLANATIONS[method](audit.classifier, images, labels, **settings)
                )
                announce(1.0)  # Quick methods say nothing by themselves.
        except ConvscopeError as error:
            section.note(f"`{method}` does not work on this network: {error}", level="warning")
    rows: list[dict[str, Any]] = []
    for i in range(len(images)):
        true = name_of(names, int(labels[i]))
        cells: list[dict[str, Any]] = [
            {
                "file": keep_image(section, f"image-{i}", images[i]),
                "alt": f"Test image, {true}",
                "address": f"image/{audit.test.position(int(audit.shown_rows[i]))}",
            }
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
    with stage(len(chosen) / (len(chosen) + 1), 1.0):
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
            f"moves by {table.stride[0]} pixels. Without it: {percent(clean, 2)}.",
            name="occlusion",
        )
    if bool((table.predicted[0] == int(labels[row])).all()):
        section.text(
            f"No position of the window changes the class of this image ({len(rows)} positions)."
        )


def _trust_stages(audit: Audit) -> dict[str, Stage]:
    """The methods that this effort tests, one after the other."""
    specs = EXPLANATIONS.specs().items()
    planned = [name for name, spec in specs if audit.effort in spec.trusted]
    fit = audit.applicable(Section("trust", ""), EXPLANATIONS, planned)
    rows = audit.attacked_rows[: audit.sized(TESTED[audit.effort], FEW_TESTED)]
    scores = trust_judging(
        audit.classifier,
        audit.test.subset(rows),
        {name: EXPLANATIONS[name] for name in fit},
        classes=len(audit.dataset.class_names),
        seed=seed_of(audit.generator(40)),
    )
    return {LEFT_OUT: partial(_left_out, names=planned), SCORES: scores}


def _left_out(audit: Audit, section: Section, *, names: Sequence[str]) -> None:
    """Say which methods a black box has no gradients for."""
    audit.applicable(section, EXPLANATIONS, names)


def _trust_show(shown: Shown, section: Section, found: Mapping[str, Found]) -> None:
    found[LEFT_OUT].put(shown, section)
    judged = found[SCORES]
    if judged.failure is not None:
        raise judged.failure
    _scores(shown, section, trust_of(judged.head, judged.records))


trusted = JudgedSection(stages=_trust_stages, show=_trust_show)
"""Scores of the methods that this effort tests, with a random map as the yardstick."""


def _scores(shown: Shown, section: Section, scores: Trust) -> None:
    *rows, random = scores.rows
    weak = [
        row.method
        for row in rows
        if row.insertion_minus_deletion <= random.insertion_minus_deletion
    ]
    better = sum(row.insertion_minus_deletion > random.insertion_minus_deletion for row in rows)
    section.finding = (
        f"{some_are(better, len(rows), 'method')} better than a random map at finding the pixels "
        f"that matter ({scores.images} test {'image' if scores.images == 1 else 'images'}, "
        "insertion - deletion)."
    )
    number = {"kind": "number"}
    known = [
        (key, title)
        for key, title in TRUST_COLUMNS.items()
        if any(getattr(row, key) is not None for row in scores.rows)
    ]
    section.table(
        [{"title": "method", "kind": "code"}, *(number | {"title": title} for _, title in known)],
        [[row.method, *(_short(getattr(row, key)) for key, _ in known)] for row in scores.rows],
        caption=f"Scores on {scores.images} test images; the last row is a random map. Deletion: "
        "probability while the pixels that a map puts first are blurred away; low is good. "
        "Insertion: while they are sharpened; high is good. "
        "Random weights: rank correlation with the map of the same network with random weights; "
        "near 0 is good. Completeness error: relative error of the sum of a map, where a sum is "
        "promised. Grid pointing: share of the map on the right quarter of a 2 x 2 mosaic; chance "
        "is 0.25. Stability: largest relative change under weak noise; low is good."
        + (
            ""
            if scores.area is None
            else " Relevance mass: share of the map on the true mask, and pointing accuracy: how "
            f"often its largest value lies there; chance is {scores.area:.2f} for both."
        ),
        name="trust",
    )
    section.figure(
        "trust",
        svg(draw_trust(scores)),
        alt="Deletion, insertion and randomization curves",
        caption="The curves behind the table.",
        wide=True,
    )
    for note in scores.notes:
        section.note(note[:1].upper() + note[1:] + ".")
    if weak:
        shown.report.alert(
            f"No better than a random map on {scores.images} images: {', '.join(weak)}.",
            section="trust",
        )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
