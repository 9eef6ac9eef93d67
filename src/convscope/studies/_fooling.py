"""What does it take to fool it?"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from convscope.attacks import ATTACKS, AttackResult
from convscope.errors import ConvscopeError
from convscope.figures import budget, difference_tile, png, verdict
from convscope.reports import Section
from convscope.studies._context import Audit, keep_image, legend, name_of
from convscope.studies._performance import percent

QUICK: dict[str, dict[str, Any]] = {
    "fgsm": {},
    "pgd": {"steps": 40},
    "apgd": {"steps": 30},
    "l2-gradient-ascent": {},
    "deepfool": {},
    "ddn": {"steps": 100},
}
"""Attacks of a quick audit and their settings, weak before strong."""

MORE: dict[str, dict[str, Any]] = {
    "mi-fgsm": {"steps": 20},
    "linf-gradient-ascent": {},
    "square": {"queries": 1000},
    "apgd": {"steps": 100},
    "fab": {},
    "ddn": {"steps": 100},
    "carlini-wagner": {"search_steps": 4},
}
"""What a longer audit adds or tries harder."""

MINIMAL = ("l2-gradient-ascent", "deepfool", "ddn", "carlini-wagner")
"""Attacks that take as large a change as they need."""

MINIMAL_IMAGES = 50
"""They never stop early, so a quick audit gives them fewer images."""

SERIOUS = ("zero gradient", "NaN", "exceeded")

MOST = 4


def fooling(audit: Audit, section: Section) -> None:
    """A table of attacks on many images, then a few images in pictures."""
    rows = audit.attacked_rows
    images, labels = audit.test.to_float(rows), audit.test.labels[rows]
    done = _run(audit, section, images, labels)
    _table(audit, section, done)
    shown, shown_labels = audit.shown
    few = _run(audit, section, shown[:MOST], shown_labels[:MOST], chosen=tuple(QUICK))
    _grid(audit, section, few)
    _differences(audit, section, few)
    _alerts(audit, section, done)


def _run(
    audit: Audit,
    section: Section,
    images: Tensor,
    labels: Tensor,
    *,
    chosen: tuple[str, ...] | None = None,
) -> list[AttackResult]:
    """Run the attacks of this effort, or the `chosen` ones; one that stops is noted."""
    plan = QUICK if audit.effort == "quick" else {**QUICK, **MORE}
    done = []
    for method, settings in plan.items():
        if method not in ATTACKS or (chosen is not None and method not in chosen):
            continue
        more = {} if method in MINIMAL else {"epsilon": audit.epsilon}
        count = MINIMAL_IMAGES if audit.effort == "quick" and method in MINIMAL else len(images)
        try:
            attack = ATTACKS[method]
            done.append(
                attack(audit.classifier, images[:count], labels[:count], **settings, **more)
            )
        except ConvscopeError as error:
            section.note(f"`{method}` stopped: {error}", level="warning")
    return done


def _table(audit: Audit, section: Section, done: list[AttackResult]) -> None:
    rows = []
    for found in done:
        s = found.summary()
        rows.append(
            [
                found.method,
                len(found),
                "none" if found.epsilon is None else f"L∞ ≤ {budget(found.epsilon)}",
                s["fooled"],
                s["median_l2"],
                s["median_linf"],
                s["lost_by_saving"],
                f"{s['forwards_per_image']:.1f} + {s['backwards_per_image']:.1f}",
                s["seconds"],
            ]
        )
    number = {"kind": "number"}
    section.table(
        [
            {"title": "attack", "kind": "code"},
            number | {"title": "images"},
            "budget",
            {"title": "fooled", "kind": "percent"},
            number | {"title": "median L2"},
            number | {"title": "median L∞"},
            number | {"title": "lost by saving"},
            number | {"title": "forwards + backwards"},
            number | {"title": "seconds"},
        ],
        rows,
        caption="Untargeted attacks on random test images. “Fooled” "
        "counts images that were read rightly before. “Lost by saving” fool as floats but not as "
        "8-bit images. Passes are per image; images that are done cost nothing more.",
        name="attacks",
    )


def _grid(audit: Audit, section: Section, few: list[AttackResult]) -> None:
    if not few:
        return
    names = audit.classifier.class_names
    first, rows = few[0], []
    for row in range(len(first)):
        true = name_of(names, int(first.labels[row]))
        cells: list[dict[str, Any]] = [
            {
                "file": keep_image(section, f"original-{row}", first.originals[row]),
                "alt": f"Test image, {true}",
                "detail": verdict(first, row, 40)[0].replace("\\$", "$"),
            }
        ]
        for found in few:
            after, fooled = read(found, row), bool(found.fooled[row])
            cells.append(
                {
                    "file": keep_image(
                        section, f"{found.method}-{row}", found.saved[row].float() / 255
                    ),
                    "alt": f"{true} after {found.method}, read as {after}",
                    "detail": after,
                    "tone": "bad" if fooled else "good",
                }
            )
        rows.append({"title": true, "cells": cells})
    section.grid(
        ["original", *(found.method for found in few)],
        rows,
        scale=audit.scale,
        caption=f"What the images look like afterwards (as saved in 8 bits) and what they are read "
        f"as. Bounded attacks stay within L∞ ≤ {budget(audit.epsilon)}; the others take what "
        "they need.",
    )


def _differences(audit: Audit, section: Section, few: list[AttackResult]) -> None:
    names = audit.classifier.class_names
    chosen = [f for f in few if f.method in ("pgd", "ddn")]
    if not chosen:
        return
    rows = []
    for row in range(min(2, len(chosen[0]))):
        cells: list[dict[str, Any]] = []
        for found in chosen:
            size = float(found.distance("linf")[row])
            for times in (1.0, 10.0):
                tile = png(difference_tile(found, row, times))
                cells.append(
                    {
                        "file": section.image(f"{found.method}-{row}-{times:g}", tile),
                        "alt": f"Difference made by {found.method}, {times:g} times",
                        "detail": f"L∞ {size:.3g}" if times == 1 else "",
                    }
                )
        rows.append({"title": name_of(names, int(chosen[0].labels[row])), "cells": cells})
    heads = [h for f in chosen for h in (f"{f.method}: difference", "10 times")]
    section.grid(
        heads,
        rows,
        scale=audit.scale,
        caption="What was added to the first images, as it is and ten times as strong. "
        + legend(audit.classifier.input_shape[0]),
    )


def read(found: AttackResult, row: int) -> str:
    """The class that the attacked image is read as, with its probability."""
    logits = found.logits_after[row]
    share = float(logits.softmax(dim=0).max())
    return f"{name_of(found.class_names, int(logits.argmax()))} {percent(share, 0)}"


def _alerts(audit: Audit, section: Section, done: list[AttackResult]) -> None:
    """What a method noticed; what casts doubt on its figures goes to the top of the report."""
    for found in done:
        for flag in found.flags:
            if "not counted" in flag:
                continue
            section.note(f"`{found.method}`: {flag}.")
            if any(word in flag for word in SERIOUS):
                audit.report.alert(f"{found.method}: {flag}.", level="warning", section="fooling")
