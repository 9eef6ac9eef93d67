"""Evaluation of explanation methods: run it on a data set, and make a page or a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convscope import results
from convscope.classifier import Classifier
from convscope.data import Split
from convscope.errors import ModelContractError
from convscope.explanations import Explanation, Trust, TrustJudging, saliency
from convscope.figures import draw, svg
from convscope.pages._write import fresh_folder, save_figure, write_csv, write_page
from convscope.reports import Report, Section
from convscope.types import Images

TRUST_COLUMNS = {
    "insertion_minus_deletion": "insertion - deletion",
    "insertion": "insertion",
    "deletion": "deletion",
    "randomized": "random weights",
    "grid_pointing_game": "grid pointing",
    "relevance_mass": "relevance mass",
    "pointing_accuracy": "pointing accuracy",
    "stability": "stability",
    "completeness": "completeness error",
    "seconds": "seconds",
}
"""Scores of a `TrustRow` in the order of tables, and the heads of their columns."""


def trust_judging(
    classifier: Classifier,
    sample: Split,
    methods: Mapping[str, Callable[..., Explanation]],
    *,
    classes: int,
    seed: int,
) -> TrustJudging:
    """The judging of methods on a data set: its classes, its masks where it has them.

    Args:
        classifier: The network that is explained.
        sample: A few images of a split.
        methods: Functions by name.
        classes: How many classes the data set has. If the network has another number, maps are
            about the predicted classes.
        seed: Of every draw.
    """
    return TrustJudging(
        classifier=classifier,
        images=sample.to_float(),
        given_labels=sample.labels if classes == classifier.num_classes else None,
        methods=methods,
        masks=sample.masks,
        seed=seed,
    )


def seconds_per_pass(classifier: Classifier, images: Images) -> float:
    """How long one image takes through the network, there and back: the second of two runs."""
    few, seconds = images[:8], 0.0
    for _ in range(2):
        start = time.perf_counter()
        try:
            passes = 2 * len(saliency(classifier, few).maps)
        except ModelContractError:  # no gradient, or not where it was asked for
            with classifier.probe() as probe:
                passes = len(probe.logits(few))
        seconds = (time.perf_counter() - start) / passes
    return seconds


def write_trust(
    found: Trust,
    out: Path,
    *,
    title: str,
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """The table of trust as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        trust_section(report.section("trust", "Which explanations to trust", TRUST_LEAD), found)
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        save_figure(draw(found), folder / "trust", formats)
        write_csv(folder / "trust.csv", trust_rows(found))
        results.save(found, folder / "results" / "trust", force=force)


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
        caption=f"Evaluated on {found.images} images. Insertion and deletion: area under the "
        "probability of the class while pixels are sharpened or blurred in the order of the map. "
        "Random weights: rank correlation with the map of the same network with random weights, "
        "0 is good. Grid pointing: share of positive relevance in the right quarter of 2 x 2 "
        "mosaics, chance is 0.25"
        + (" (of mosaics shrunk to the size of one image)" if found.shrunk else "")
        + ". Stability: largest relative change under noise of 0.02, small is good."
        + (
            ""
            if found.area is None
            else f" Relevance mass on the object: chance is {found.area:.2f}."
        ),
    )
    for text in found.notes:
        section.note(text)


def trust_rows(scores: Trust) -> list[dict[str, Any]]:
    """One line per method; tests that do not apply are ``None``, those of masks are left out."""
    of_masks = ("relevance_mass", "pointing_accuracy")
    columns = {
        key: title
        for key, title in TRUST_COLUMNS.items()
        if scores.area is not None or key not in of_masks
    }
    return [
        {"method": row.method, **{title: getattr(row, key) for key, title in columns.items()}}
        for row in scores.rows
    ]
