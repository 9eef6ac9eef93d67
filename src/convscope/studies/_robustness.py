"""How does accuracy fall with the size of the change?"""

from __future__ import annotations

from convscope.figures import budget, draw_robustness_curve, svg
from convscope.reports import Section
from convscope.robustness import RobustnessCurve, curve
from convscope.studies._context import Audit
from convscope.studies._performance import percent
from convscope.training._evaluate import wilson

GRAY = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
COLOR = tuple(level / 255 for level in (0.5, 1, 2, 3, 4, 6, 8, 12))


def robustness(audit: Audit, section: Section) -> None:
    """The curve of accuracy against epsilon, and its headline."""
    rows = audit.attacked_rows
    images, labels = audit.test.floats(rows), audit.test.labels[rows]
    grid = sorted({*(GRAY if audit.classifier.input_shape[0] == 1 else COLOR), audit.epsilon})
    found = curve(audit.classifier, images, labels, epsilons=grid, steps=40)
    section.figure(
        "curve",
        svg(draw_robustness_curve(found)),
        alt="Accuracy against the size of the perturbation",
        caption="Share of images that are read rightly and withstand every change of that size "
        "that the attack found. A stronger attack can only lower it.",
    )
    count = len(labels)
    section.table(
        [
            "budget",
            {"title": "read rightly", "kind": "percent"},
            {"title": "95 % interval, %", "kind": "number"},
        ],
        [
            [
                "no change" if epsilon == 0 else f"L∞ ≤ {budget(epsilon)}",
                share,
                _interval(share, count),
            ]
            for epsilon, share in zip(
                found.epsilons.tolist(), found.accuracies.tolist(), strict=True
            )
        ],
        caption=f"{count} random test images, {found.attack} with 40 steps; "
        f"{found.cost.forwards / max(count, 1):.0f} forward and "
        f"{found.cost.backwards / max(count, 1):.0f} backward passes per image for all budgets.",
        name="curve",
    )
    _headline(audit, found)


def _interval(share: float, count: int) -> str:
    low, high = wilson(round(share * count), count)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _headline(audit: Audit, found: RobustnessCurve) -> None:
    at = int((found.epsilons - audit.epsilon).abs().argmin())
    share, clean = float(found.accuracies[at]), float(found.accuracies[0])
    audit.numbers["robust"] = share
    audit.report.tile(
        "Robust accuracy",
        percent(share, 1),
        detail=f"L∞ ≤ {budget(audit.epsilon)}, {len(found.labels)} images, "
        f"interval {_interval(share, len(found.labels))}",
        tone="bad" if share < 0.5 * clean else "",
    )
    if clean - share > 0.2:
        audit.report.alert(
            f"A change of at most {budget(audit.epsilon)} per pixel lowers accuracy from "
            f"{percent(clean, 1)} to {percent(share, 1)}.",
            level="warning",
            section="robustness",
        )
    for flag in found.flags:
        audit.report.alert(f"Robustness: {flag}.", section="robustness")
