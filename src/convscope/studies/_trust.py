"""Which maps of where it looks can be believed?"""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Generator

from convscope.classifier import Classifier
from convscope.data import Split
from convscope.errors import ModelContractError
from convscope.explanations import EXPLANATIONS, Explanation, Trust, images_in_all, saliency, trust
from convscope.figures import draw_trust, svg
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.types import Images

JUDGED = ("grad-cam", "occlusion", "integrated-gradients", "saliency")
"""Methods put to the tests; those that the registry has."""

CURVE_POINTS = 17
"""Points of each curve of deletion and of insertion."""

IMAGES = {"quick": 8, "standard": 24, "full": 64}


def trusted(audit: Audit, section: Section) -> None:
    """Methods against tests, with a random map as the yardstick."""
    rows = audit.attacked_rows[: IMAGES[audit.effort]]
    methods = {name: EXPLANATIONS[name] for name in JUDGED if name in EXPLANATIONS}
    found = trust_on(
        audit.classifier,
        audit.test.subset(rows),
        methods,
        classes=len(audit.dataset.class_names),
        generator=audit.generator(40),
    )
    number = {"kind": "number"}
    shown = [
        ("gap", "gap"),
        ("deletion", "deletion"),
        ("insertion", "insertion"),
        ("randomized", "randomized"),
        ("completeness", "incomplete"),
        ("pointing", "pointing"),
        ("inside", "on object"),
        ("hit", "hits"),
        ("stability", "unsteady"),
        ("seconds", "seconds"),
    ]
    known = [(k, title) for k, title in shown if any(getattr(r, k) is not None for r in found.rows)]
    section.table(
        [{"title": "method", "kind": "code"}, *(number | {"title": title} for _, title in known)],
        [[row.method, *(_short(getattr(row, key)) for key, _ in known)] for row in found.rows],
        caption=f"Judged on {found.images} test images; the last row is a random map. Deletion: "
        "probability while the pixels that a map puts first are blurred away; low is good. "
        "Insertion: while they are sharpened; high is good. Gap: insertion minus deletion. "
        "Randomized: rank correlation with the map of the same network with random weights; near "
        "0 is good. Incomplete: relative error of the sum of a map, where a sum is promised. "
        "Pointing: share of the map on the right quarter of a 2 x 2 mosaic; chance is 0.25. "
        "Unsteady: largest relative change under weak noise."
        + (
            ""
            if found.area is None
            else " On object: share of the map on the true mask, and hits: how often its largest "
            f"value lies there; chance is {found.area:.2f} for both."
        ),
        name="trust",
    )
    section.figure(
        "trust",
        svg(draw_trust(found)),
        alt="Deletion, insertion and randomization curves",
        caption="The curves behind the table.",
        wide=True,
    )
    for note in found.notes:
        section.note(note[:1].upper() + note[1:] + ".")
    yardstick = found.rows[-1].gap
    weak = [row.method for row in found.rows[:-1] if row.gap <= yardstick]
    if weak:
        audit.report.alert(
            f"No better than a random map on {found.images} images: {', '.join(weak)}.",
            section="trust",
        )


def trust_on(
    classifier: Classifier,
    sample: Split,
    methods: dict[str, Callable[..., Explanation]],
    *,
    classes: int,
    generator: Generator,
    on_progress: Callable[[str, float], None] | None = None,
) -> Trust:
    """`trust` on some images of a data set: their classes, their masks where they have them.

    Args:
        classifier: The network that is explained.
        sample: A few images of a split.
        methods: Functions by name.
        classes: How many classes the data set has. If the network has another number, maps are
            about the predicted classes.
        generator: Source of every draw.
        on_progress: As for `trust`.
    """
    return trust(
        classifier,
        sample.to_float(),
        sample.labels if classes == classifier.num_classes else None,
        methods,
        masks=sample.masks,
        generator=generator,
        on_progress=on_progress,
    )


def passes_of_trust(classifier: Classifier, count: int, passes: dict[str, int]) -> dict[str, int]:
    """About how many passes the tests of each method take, and at last the curves.

    Args:
        classifier: The network that is explained.
        count: Images to judge on.
        passes: Passes per image of each method.
    """
    explained = images_in_all(classifier, count)
    curves = 2 * CURVE_POINTS * count * (len(passes) + 1)
    return {name: each * explained for name, each in passes.items()} | {"curves": curves}


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


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
