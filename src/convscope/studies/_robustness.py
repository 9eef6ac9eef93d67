"""The section on robustness: accuracy against epsilon, attack suite, transforms, defenses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from convscope._random import seed_of
from convscope.attacks import ATTACKS
from convscope.defenses import DEFENSES
from convscope.errors import ConvscopeError
from convscope.figures import (
    budget,
    draw_certification,
    draw_defenses,
    draw_robustness_curve,
    draw_robustness_evaluation,
    lossless,
    percent,
    pixels,
    svg,
)
from convscope.pages import name_of
from convscope.reports import Section
from convscope.robustness import (
    Certification,
    CertificationJudging,
    CurveJudging,
    RobustnessCurve,
    RobustnessEvaluation,
    RobustnessJudging,
    certification_of,
    compare_defenses,
    curve_of,
    model_transfer,
    robustness_of,
    transformation_robustness,
)
from convscope.stats import wilson
from convscope.studies._context import Audit
from convscope.studies._stages import Found, JudgedSection, Shown, Stage

GRAY = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
COLOR = tuple(level / 255 for level in (0.5, 1, 2, 3, 4, 6, 8, 12))
JUDGED = {"quick": 50, "standard": 200, "full": 1000}
"""Images of the suite and of the defenses."""
QUERIES = {"quick": 200, "standard": 1000, "full": 5000}
"""Of Square, where there are no gradients."""
DRAWS = {"quick": 1000, "standard": 10_000, "full": 10_000}
"""Noisy copies of an image that a certificate rests on."""


def _stages(audit: Audit) -> dict[str, Stage]:
    """Curve, suite with its checks, transformations, defenses, other networks, certificates."""
    rows = audit.attacked_rows
    few = rows[: JUDGED[audit.effort]]
    grid = sorted({*(GRAY if audit.classifier.input_shape[0] == 1 else COLOR), audit.epsilon})
    attack, settings = _attack(audit)
    stages: dict[str, Stage] = {
        "curve": CurveJudging(
            classifier=audit.classifier,
            pixels=partial(_pixels, audit, rows),
            labels=audit.test.labels[rows],
            epsilons=grid,
            attack=attack,
            arguments=settings,
        ),
        "suite": RobustnessJudging(
            audit.classifier,
            partial(_pixels, audit, few),
            audit.test.labels[few],
            epsilon=audit.epsilon,
            norm="linf",
            effort=audit.effort,
            seed=seed_of(audit.generator(60)),
        ),
    }
    for name, fill in PIECES.items():
        stages[name] = partial(_piece, fill=fill)
    if audit.sigma is not None:
        stages["certificates"] = CertificationJudging(
            audit.classifier,
            partial(_pixels, audit, few),
            audit.test.labels[few],
            std=audit.sigma,
            draws=DRAWS[audit.effort],
            alpha=0.001,
            seed=seed_of(audit.generator(61)),
        )
    return stages


def _show(shown: Shown, section: Section, found: Mapping[str, Found]) -> None:
    if (failure := found["curve"].failure) is not None:
        raise failure
    whole = curve_of(found["curve"].records)
    _headline(shown, section, whole)
    _curve(section, whole)
    suite = found["suite"]
    if suite.usable(section):
        _suite(shown, section, robustness_of(suite.settings, suite.head, suite.records))
    for name in PIECES:
        found[name].put(shown, section)
    sure = found.get("certificates")
    if sure is not None and sure.usable(section):
        _certified(shown, section, certification_of(sure.settings, sure.records))
    _curve_table(section, whole)


robustness = JudgedSection(stages=_stages, show=_show)
"""Curve, suite, transformations, defenses, other networks, certificates."""


def _pixels(audit: Audit, rows: Tensor, block: slice | Tensor) -> Tensor:
    return audit.test.to_float(rows[block])


def _piece(audit: Audit, section: Section, *, fill: Callable[..., None]) -> None:
    """A part on the images of the suite; what stops it is said in its place."""
    rows = audit.attacked_rows[: JUDGED[audit.effort]]
    try:
        fill(audit, section, audit.test.to_float(rows), audit.test.labels[rows])
    except ConvscopeError as error:
        section.note(f"A part of this section stopped: {error}", level="warning")


def _attack(audit: Audit) -> tuple[str, dict[str, Any]]:
    """The attack of curve and transformations: one without gradients where there are none."""
    if audit.classifier.black_box:
        return "square", {"queries": QUERIES[audit.effort]}
    return "pgd", {"steps": 40}


def _curve(section: Section, found: RobustnessCurve) -> None:
    section.figure(
        "curve",
        svg(draw_robustness_curve(found)),
        alt="Accuracy against the size of the perturbation",
        caption="Share of images that are classified correctly under every change of that size "
        "that the attack found. A stronger attack can only lower it.",
    )


def _curve_table(section: Section, found: RobustnessCurve) -> None:
    count = len(found.labels)
    points = zip(found.epsilons.tolist(), found.accuracies.tolist(), strict=True)
    words = ", ".join(f"{value} {name}" for name, value in found.settings.items())
    with section.details("The curve in numbers"):
        section.table(
            [
                "budget",
                {"title": "classified correctly", "kind": "percent"},
                {"title": "95 % interval, %", "kind": "number"},
            ],
            [
                [
                    "no change" if epsilon == 0 else f"L∞ ≤ {budget(epsilon)}",
                    share,
                    _interval(share, count),
                ]
                for epsilon, share in points
            ],
            caption=f"{count} random test images, {found.attack} with {words}; "
            f"{found.cost.forwards / max(count, 1):.0f} forward and "
            f"{found.cost.backwards / max(count, 1):.0f} backward passes per image for all of it.",
            name="curve",
        )


def _interval(share: float, count: int) -> str:
    low, high = wilson(round(share * count), count)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _headline(shown: Shown, section: Section, found: RobustnessCurve) -> None:
    at = int((found.epsilons - shown.epsilon).abs().argmin())
    share, clean = float(found.accuracies[at]), float(found.accuracies[0])
    shown.numbers["robust"] = share
    section.finding = finding(found, shown.epsilon)
    shown.report.tile(
        "Robust accuracy",
        percent(share, 1),
        detail=f"L∞ ≤ {budget(shown.epsilon)}, {len(found.labels)} images, "
        f"interval {_interval(share, len(found.labels))}",
        tone="bad" if share < 0.5 * clean else "",
    )
    if clean - share > 0.2:
        shown.report.alert(
            f"A change of at most {budget(shown.epsilon)} per pixel lowers accuracy from "
            f"{percent(clean, 1)} to {percent(share, 1)}.",
            level="warning",
            section="robustness",
            code="robust-accuracy",
        )
    for flag in found.flags:
        shown.report.alert(f"Robustness: {flag}.", section="robustness", code=flag.code)


def finding(found: RobustnessCurve, epsilon: float) -> str:
    """What changes of at most `epsilon` do to the accuracy, and where more than half is lost."""
    at = int((found.epsilons - epsilon).abs().argmin())
    share, clean = float(found.accuracies[at]), float(found.accuracies[0])
    if clean == 0:
        count = len(found.labels)
        images = "The image is not" if count == 1 else f"None of {count:,} images is"
        return f"{images} classified correctly, even without a change: there is nothing to lose."
    changes = f"Changes of at most {budget(epsilon)} per pixel"
    if share == clean:
        text = f"{changes} leave accuracy at {percent(clean, 1)}"
    else:
        text = f"{changes} lower accuracy from {percent(clean, 1)} to {percent(share, 1)}"
    lost = found.epsilons[found.accuracies < clean / 2]
    return (
        f"{text}; more than half is lost at {budget(float(lost[0]))}." if len(lost) else f"{text}."
    )


def _suite(shown: Shown, section: Section, found: RobustnessEvaluation) -> None:
    """The worst case per image over several attacks, with the signs of a wrong figure."""
    labels = found.labels
    if not found.clean_accuracy > 0:
        section.text(
            "None of the images for the suite is classified correctly: nothing is evaluated."
        )
        return
    section.figure(
        "suite",
        svg(draw_robustness_evaluation(found)),
        alt="Images still classified correctly after each attack",
        caption=f"The worst case per image over a suite of attacks ({len(labels)} images): each "
        "bar is what withstands this attack and all above it. The line is the 95 % interval.",
    )
    tones = {"ok": "good", "warn": "warn"}
    with section.details("Sanity checks of this figure"):
        section.table(
            [{"title": "check", "kind": "code"}, "verdict", "what it means"],
            [
                [check.name, {"value": check.verdict, "tone": tones.get(check.verdict, "")},
                 check.sentence]
                for check in found.checks
            ],
            name="checks",
        )  # fmt: skip
    for check in found.checks:
        if check.verdict == "warn":
            shown.report.alert(
                f"The robustness figure may be wrong ({check.name}): {check.sentence}",
                level="warning",
                section="robustness",
                code=check.name,
            )


def _transforms(audit: Audit, section: Section, images: Tensor, labels: Tensor) -> None:
    """Are adversarial images still adversarial when flipped, cropped, rotated or desaturated?"""
    attack, settings = _attack(audit)
    attacked = ATTACKS[attack](audit.classifier, images, labels, epsilon=audit.epsilon, **settings)
    found = transformation_robustness(audit.classifier, attacked)
    rows: list[dict[str, Any]] = []
    success = attacked.success_quantized.nonzero()[: audit.sized(2, 1), 0].tolist()
    names = audit.classifier.class_names
    for row in success:
        cells = []
        for i, title in enumerate(found.names):
            predicted = int(found.adversarials_predicted[i, row])
            still = bool(found.still_adversarial[i, row])
            cells.append(
                {
                    "file": section.image(
                        f"{title}-{row}", lossless(pixels(found.transformed[i, row]))
                    ),
                    "alt": f"Adversarial, {title}: predicted as {name_of(names, predicted)}",
                    "detail": f"{name_of(names, predicted)} "
                    f"{percent(float(found.adversarials_probabilities[i, row]), 0)}",
                    "tone": "bad" if still else "good",
                }
            )
        rows.append({"title": name_of(names, int(labels[row])), "cells": cells})
    if rows:
        section.grid(
            list(found.names), rows, scale=audit.scale,
            caption="Adversarial images after a transformation, and what they are predicted as.",
        )  # fmt: skip
    right = (found.originals_predicted == found.labels).double().mean(dim=1)
    section.table(
        ["transformation", *({"title": t, "kind": "percent"} for t in ("still adversarial",
         "originals classified correctly"))],
        [[t, float(found.rates[i]), float(right[i])] for i, t in enumerate(found.names)],
        caption="How many adversarial images (of those that are so untransformed) still are, and "
        "what the transformation does to the originals.",
        name="transforms",
    )  # fmt: skip


def _defenses(audit: Audit, section: Section, images: Tensor, labels: Tensor) -> None:
    """Simple defenses under transferred and under adaptive attacks."""
    if audit.classifier.black_box:
        section.text("Defenses are left out: attacks that know them need gradients.")
        return
    defended = {name: make(audit.classifier) for name, make in DEFENSES.items()}
    found = compare_defenses(
        audit.classifier, defended, images, labels, epsilon=audit.epsilon, steps=20
    )
    section.figure(
        "defenses",
        svg(draw_defenses(found)),
        alt="Accuracy of defended networks without attack, under transferred and adaptive attacks",
        caption=f"Defenses put before the network ({len(labels)} images, {found.attack}). "
        "Transferred attacks ignore the defense and flatter it; only adaptive ones count.",
    )


def _networks(audit: Audit, section: Section, images: Tensor, labels: Tensor) -> None:
    """Do adversarials of this network fool the judge, and the other way round?"""
    if audit.judge is None or audit.classifier.black_box or audit.judge.black_box:
        return
    found = model_transfer(
        {"this network": audit.classifier, "judge": audit.judge}, images, labels,
        epsilon=audit.epsilon,
    )  # fmt: skip
    section.matrix(
        found.rates.tolist(),
        rows=found.names,
        columns=found.names,
        row_title="made on",
        column_title="shown to",
        kind="share",
        caption=f"Percent fooled by {found.attack} (L∞ ≤ {budget(audit.epsilon)}), among images "
        "that both networks classify correctly.",
        name="transfer",
    )


def _certified(shown: Shown, section: Section, found: Certification) -> None:
    """Radii within which the vote of noisy copies provably keeps its prediction, if asked for."""
    labels = found.labels
    abstained = int((found.predicted < 0).sum())
    section.figure(
        "certified",
        svg(draw_certification(found)),
        alt="Share of images certified and right, against the radius",
        caption=f"Randomized smoothing: the prediction is the vote of copies with noise of σ = "
        f"{found.std:g}. No change within the radius can alter it, whatever the attack, except "
        f"with probability {found.alpha:g} per image ({len(labels)} images, {found.draws:,} copies "
        f"each; {abstained} without a clear vote). A network that was not trained on such noise "
        "certifies little.",
    )
    shown.numbers["certified"] = found.accuracy_at(found.std)


PIECES = {"transformations": _transforms, "defenses": _defenses, "networks": _networks}
"""Parts that one worker does as a whole."""
