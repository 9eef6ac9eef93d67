"""The section on noises: universal perturbations, images from noise, transferred noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from convscope.attacks import (
    AttackResult,
    UniversalPerturbation,
    added_noise,
    apply_noise,
    from_noise,
    toward_image,
    uap,
)
from convscope.data import sample_rows
from convscope.errors import ConvscopeError
from convscope.figures import (
    budget,
    lossless,
    noise_error_curve,
    noise_success_curve,
    noise_tile,
    percent,
    pixels,
    svg,
)
from convscope.pages import keep_image, name_of
from convscope.progress import stage
from convscope.reports import Section
from convscope.studies._context import Audit, legend
from convscope.studies._fooling import predicted
from convscope.studies._stages import Fill, Found, JudgedSection, Shown, Stage

MOST_CLASSES = 10
FEW_CLASSES = 3
"""Classes where images are large."""
STEPS = {"quick": 30, "standard": 100, "full": 300}
SAMPLES = {"quick": 24, "standard": 64, "full": 64}
FEW_SAMPLES = 8
"""Images per step and noise where images are large."""
PULLS = (1.0, 1000.0)
PULLED = {"quick": 120, "standard": 300, "full": 500}
TESTED = (500, 100)
"""Images that noises are added to: small ones, large ones."""
FITTED = (2000, 200)
"""Images that noises are made on and validated with: small ones, large ones."""


def _stages(audit: Audit) -> dict[str, Stage]:
    """Four pieces of very different length, each a block of its own."""
    parts = {
        "universal": _universal,
        "from noise": _from_noise,
        "toward images": _toward,
        "transferred": _carried,
    }
    return {name: partial(_piece, fill=fill) for name, fill in parts.items()}


def _piece(audit: Audit, section: Section, *, fill: Fill) -> None:
    """What a network may cause ends a piece, and not the section."""
    try:
        fill(audit, section)
    except ConvscopeError as error:
        section.note(f"A part of this section stopped: {error}", level="warning")


def _show(shown: Shown, section: Section, found: Mapping[str, Found]) -> None:
    for one in found.values():
        one.put(shown, section)


noises = JudgedSection(stages=_stages, show=_show)
"""Universal noises, images from noise, images toward others, transferred noise."""


def _classes(audit: Audit) -> Tensor:
    return torch.tensor(sorted(audit.classes(audit.sized(MOST_CLASSES, FEW_CLASSES))))


def _universal(audit: Audit, section: Section) -> None:
    size = 0.3 if audit.classifier.input_shape[0] == 1 else 16 / 255
    train = audit.fitted
    rows = sample_rows(train.labels, audit.sized(*FITTED), seed=audit.stream(50))
    with stage(0.0, 0.8):
        found = uap(
            audit.classifier,
            train.to_float(rows),
            train.labels[rows],
            targets=_classes(audit),
            epsilon=size,
            steps=STEPS[audit.effort],
            samples=audit.sized(SAMPLES[audit.effort], FEW_SAMPLES),
            generator=audit.generator(51),
        )
    tested = audit.test.subset(
        sample_rows(audit.test.labels, audit.sized(*TESTED), seed=audit.stream(55))
    )
    with stage(0.8, 1.0):
        carried = apply_noise(
            audit.classifier,
            tested.to_float(),
            tested.labels,
            noises=found.noises,
            noise_targets=found.targets,
        )
    # Where all test images are of one class, there is none of another to judge its noise on.
    judged = (tested.labels != found.targets[:, None]).any(dim=1)
    rates = carried.target_rates.where(judged, torch.nan)
    _noise_gallery(audit, section, found, rates)
    section.figure("error", svg(noise_error_curve(found)), alt="Error over the steps",
                   caption="Mean over the classes, on training and held-out images.")  # fmt: skip
    section.figure(
        "success",
        svg(noise_success_curve(found)),
        alt="Success over the steps",
        caption="Share of held-out images of other classes predicted as the target.",
    )
    section.finding = finding(rates, size)
    if not bool(judged.any()):
        return
    rate = float(rates[judged].mean())
    audit.numbers["uap"] = rate
    if rate > 0.2:
        audit.report.alert(
            f"One noise per class, at most {budget(size)} per pixel, makes the network predict its "
            f"class for {percent(rate, 0)} of unseen images of other classes.",
            section="noises",
            code="universal-perturbation",
        )


def finding(rates: Tensor, size: float) -> str:
    """How often the noises of some classes work, each on images of other classes.

    Args:
        rates: ``(noise,)``; NaN where there was no image of another class.
        size: The largest change of a pixel.
    """
    known = rates[~rates.isnan()]
    if not len(known):
        return "No test image is of another class than the noises are for: they cannot be judged."
    text = (
        f"One noise per class, at most {budget(size)} per pixel, makes the network predict its "
        f"class for {percent(float(known.mean()), 0)} of unseen images of other classes"
    )
    if len(known) == 1:
        return f"{text}."
    return (
        f"{text}: {percent(float(known.min()), 0)} for the hardest class, "
        f"{percent(float(known.max()), 0)} for the easiest."
    )


def _noise_gallery(
    audit: Audit, section: Section, found: UniversalPerturbation, rates: Tensor
) -> None:
    names = found.class_names
    tested = min(audit.sized(*TESTED), len(audit.test))
    section.gallery(
        [
            {
                "file": section.image(f"noise-{i}", lossless(noise_tile(found, i))),
                "alt": f"Noise for {name_of(names, int(target))}",
                "title": name_of(names, int(target)),
                "detail": percent(float(rates[i]), 0),
            }
            for i, target in enumerate(found.targets.tolist())
        ],
        scale=audit.scale,
        caption="For each class one noise that makes any image be predicted as that class "
        f"(L∞ ≤ {budget(found.epsilon or 1)}, {found.settings.get('steps')} steps on training "
        f"images), and the share of {tested} unseen test images of other "
        "classes for which it works. " + legend(audit.classifier.input_shape[0]),
    )


def _from_noise(audit: Audit, section: Section) -> None:
    targets = _classes(audit)[: 5 if audit.effort == "quick" else MOST_CLASSES]
    shape = (len(targets), *audit.classifier.input_shape)
    found = from_noise(
        audit.classifier,
        torch.full(shape, 0.5),
        (targets + 1) % audit.classifier.num_classes,
        targets=targets,
        generator=audit.generator(52),
    )
    section.gallery(
        [
            {
                "file": keep_image(section, f"from-noise-{i}", found.adversarials[i]),
                "alt": f"Noise predicted as {name_of(found.class_names, int(target))}",
                "title": predicted(found, i),
                "detail": f"{int(found.steps[i])} steps",
                "tone": "bad" if bool(found.success[i]) else "good",
            }
            for i, target in enumerate(targets.tolist())
        ],
        scale=audit.scale,
        caption="Images that began as noise around mid-gray and are predicted as a class with the "
        "probability shown. Nobody would recognize them.",
    )


def _toward(audit: Audit, section: Section) -> None:
    images, labels = audit.shown
    images, labels = images[:3], labels[:3]
    targets = (labels + 1) % audit.classifier.num_classes
    results = {}
    for number, pull in enumerate(PULLS):
        with stage(number / len(PULLS), (number + 1) / len(PULLS)):
            results[f"pull {pull:g}"] = toward_image(
                audit.classifier, images, labels, targets=targets, pull=pull,
                generator=audit.generator(53), steps=PULLED[audit.effort],
            )  # fmt: skip
    names = audit.classifier.class_names
    rows = []
    for row in range(len(images)):
        true, target = name_of(names, int(labels[row])), name_of(names, int(targets[row]))
        cells: list[dict[str, Any]] = [
            {"file": keep_image(section, f"pulled-{row}", images[row]), "alt": f"Image of {true}"}
        ]
        for title, found in results.items():
            cells.append(
                {
                    "file": keep_image(section, f"{title}-{row}", found.adversarials[row]),
                    "alt": f"{title}: predicted as {predicted(found, row)}",
                    "detail": predicted(found, row),
                    "tone": "bad" if bool(found.success[row]) else "good",
                }
            )
        rows.append({"title": f"{true} as {target}", "cells": cells})
    section.grid(
        ["looks like", *results],
        rows,
        scale=audit.scale,
        caption="Images from noise that should look like the left one and be predicted as another "
        "class. A stronger pull weighs the likeness more.",
    )


def _carried(audit: Audit, section: Section) -> None:
    """A noise made on one image of a class, added to one image of every other class."""
    right = (audit.evaluation.predicted == audit.test.labels).nonzero()[:, 0]
    rows = audit.of_many_classes(right, 5, purpose=54)
    images, labels = audit.test.to_float(rows), audit.test.labels[rows]
    targets = (labels + 1) % audit.classifier.num_classes
    found: AttackResult = added_noise(audit.classifier, images[:1], labels[:1], targets=targets[:1])
    carried = apply_noise(
        audit.classifier, images, labels, noises=found.perturbations, noise_targets=targets[:1]
    )
    names = audit.classifier.class_names
    target = name_of(names, int(targets[0]))
    items = []
    for i in range(len(images)):
        sum_ = (images[i] + found.perturbations[0]).clamp(0, 1)
        got = int(carried.predicted[0, i])
        success = got == int(targets[0]) and int(labels[i]) != got
        items.append(
            {
                "file": section.image(f"carried-{i}", lossless(pixels(sum_))),
                "alt": f"{name_of(names, int(labels[i]))} with the noise",
                "title": f"{name_of(names, int(labels[i]))} → {name_of(names, got)}",
                "detail": percent(float(carried.probabilities[0, i]), 0),
                "tone": "bad" if success else "",
            }
        )
    section.gallery(
        items,
        scale=audit.scale,
        caption=f"The noise that makes the first image be predicted as {target}, added to others.",
    )
