"""The audit's section of class images, and rows of optimized images with their controls."""

from __future__ import annotations

from convscope.figures import ascent_curve, svg
from convscope.pages import name_of, picture_rows
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._performance import percent
from convscope.visualizations import Visualization, class_images

MOST = 10
MOST_TOLD = 3
"""Failed classes named in an alert."""


def class_pictures(audit: Audit, section: Section) -> None:
    """An optimized image per class, with controls and the ascent."""
    classes = sorted(audit.classes(MOST))
    found = class_images(
        audit.classifier,
        classes,
        reference=audit.reference,
        evaluator=audit.judge,
        generator=audit.generator(20),
    )
    right = found.predicted_as_intended
    if right is not None:
        section.finding = (
            f"{int(right.sum())} of {len(right)} images are predicted as the class that they were "
            "optimized for."
        )
    picture_rows(section, found, audit.scale)
    failures(audit, section, found)
    section.figure(
        "ascent",
        svg(ascent_curve(found)),
        alt="Objective over the steps of the ascent",
        caption="The objective that was climbed, step by step.",
    )
    rows = []
    for i, unit in enumerate(found.units):
        largest = found.max_dataset_activation
        top = int(found.logits[i].argmax())
        share = float(found.logits[i].softmax(dim=0)[int(found.channels[i])])
        rows.append(
            [
                unit,
                float(found.activations[i]),
                None if largest is None else float(largest[i]),
                share,
                {
                    "value": name_of(found.class_names, top),
                    "tone": "" if top == int(found.channels[i]) else "bad",
                },
            ]
        )
    number = {"kind": "number"}
    section.table(
        [
            "class",
            number | {"title": "logit reached"},
            number | {"title": "largest on real images"},
            {"title": "probability", "kind": "percent"},
            "predicted as",
        ],
        rows,
        caption="The last column is what this network predicts for the image that was optimized "
        "for the class. A logit far above that of any real image means: this is not a typical "
        "member of the class, but an exaggeration.",
        name="classes",
    )
    section.facts(
        {"recipe": found.recipe, **{k.replace("_", " "): str(v) for k, v in found.settings.items()}}
    )
    held_out(section, found)


def failures(audit: Audit, section: Section, found: Visualization) -> None:
    """Say which images the network does not predict as what they were optimized for."""
    for flag in found.flags:
        section.note(f"{flag[:1].upper()}{flag[1:]}.", level="warning")
    right = found.predicted_as_intended
    if right is None or bool(right.all()):
        return
    wrong = (~right).nonzero()[:, 0].tolist()
    told = []
    for i in wrong[:MOST_TOLD]:
        top = int(found.logits[i].argmax())
        share = float(found.logits[i].softmax(dim=0)[int(found.channels[i])])
        real = (
            ""
            if found.max_dataset_activation is None
            else f"; best real image {float(found.max_dataset_activation[i]):.4g}"
        )
        told.append(
            f"{found.units[i]} is predicted as {name_of(found.class_names, top)} "
            f"({found.units[i]} {percent(share, 2)}, logit {float(found.activations[i]):.4g}{real})"
        )
    more = f"; and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
    audit.report.alert(
        f"{len(wrong)} of {len(found.units)} images optimized for a class are not predicted as it: "
        f"{'; '.join(told)}{more}. They do not show what the network learned.",
        level="warning",
        section=section.id,
    )


def held_out(section: Section, found: Visualization) -> None:
    """Predictions of an independent network for the images."""
    verdict = found.held_out
    if verdict is None:
        section.text(
            "No independently trained network was given as a held-out evaluator, so nothing here "
            "says whether others recognize these images."
        )
        return
    count = len(found.units)
    mean = percent(float(verdict.probabilities.mean()), 0)
    section.text(
        f"A held-out evaluator ({verdict.source}) classifies {verdict.correct} of {count} as the "
        f"class they were optimized for, with a mean probability of {mean}."
    )
