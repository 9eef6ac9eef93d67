"""The audit's section on which explanations to trust, and estimates of its time."""

from __future__ import annotations

from convscope.explanations import EXPLANATIONS
from convscope.figures import draw_trust, svg
from convscope.pages import TRUST_COLUMNS, trust_on
from convscope.reports import Section
from convscope.studies._context import Audit

IMAGES = {"quick": 8, "standard": 24, "full": 64}


def trusted(audit: Audit, section: Section) -> None:
    """Scores of the methods that this effort tests, with a random map as the yardstick."""
    specs = EXPLANATIONS.specs().items()
    methods = {name: EXPLANATIONS[name] for name, spec in specs if audit.effort in spec.trusted}
    scores = trust_on(
        audit.classifier,
        audit.test.subset(audit.attacked_rows[: IMAGES[audit.effort]]),
        methods,
        classes=len(audit.dataset.class_names),
        generator=audit.generator(40),
    )
    *rows, random = scores.rows
    weak = [
        row.method
        for row in rows
        if row.insertion_minus_deletion <= random.insertion_minus_deletion
    ]
    section.finding = (
        f"{len(rows) - len(weak)} of {len(rows)} methods find the pixels that matter better than a "
        f"random map, on {scores.images} test images (insertion - deletion)."
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
        audit.report.alert(
            f"No better than a random map on {scores.images} images: {', '.join(weak)}.",
            section="trust",
        )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
