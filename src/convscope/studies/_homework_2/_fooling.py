"""Problem 4 Part 1: four photos that are predicted as something else."""

from __future__ import annotations

from typing import Any

import torch

from convscope.attacks import AttackResult, linf_gradient_ascent, pgd
from convscope.classifier import Classifier
from convscope.figures import (
    as_saved,
    class_label,
    difference_tile,
    difference_words,
)
from convscope.pages import name_of
from convscope.studies._chosen import listed
from convscope.studies._homework_2._materials import (
    Photos,
    network,
    photos,
    say_stand_in,
    target_class,
)
from convscope.studies._question import Picture, Question, Tone
from convscope.studies._study import Study
from convscope.types import Images, Labels

FACTORS = (1, 100, 10_000)
"""Values of lambda for the update as printed."""

LOGARITHM, DESCENT = "log-probability, λ = epsilon", "projected gradient descent"

Number = {"kind": "number"}
Share = {"kind": "percent"}


def budget(study: Study) -> float:
    """Epsilon: 2 gray levels for photos of 224 pixels, 4 for images of 32."""
    return study.pick(4 / 255, 2 / 255)


def attempt(study: Study) -> tuple[Classifier, Photos, Labels]:
    """The network, the four photos, and what they are predicted as."""
    classifier = network(study)
    found = photos(study, classifier)
    return classifier, found, classifier.predict(found.images, top=1).labels[:, 0]


def steps_of(study: Study) -> int:
    """Steps of projected gradient descent, in this question and the next."""
    return study.pick(12, 40)


def fooling(study: Study, question: Question) -> None:
    """Image, noise and sum of the four photos; the update as printed next to two others."""
    classifier, found, labels = attempt(study)
    target = target_class(classifier)
    variants = _variants(study, classifier, found.images, labels)
    saved = as_saved(variants[DESCENT])
    wanted = class_label(classifier.class_names, target, 24)
    epsilon = budget(study)
    shares, before = saved.logits_after.softmax(dim=1), saved.logits_before.softmax(dim=1)
    reached = int(saved.success.sum())
    farthest = 255 * float(saved.distance("linf").max())
    question.find(
        f"{reached} of {len(saved)} images are predicted as {wanted} after changes of at most "
        f"{farthest:.0f} of 255 gray levels; the {found.names[0]} with a probability of "
        f"{100 * float(shares[0, target]):.1f} % "
        f"(before: {100 * float(before[0, target]):.2g} %)."
    )
    question.tile("images fooled", f"{reached} of {len(saved)}",
                  detail=f"as {wanted}, ±{255 * epsilon:.0f} of 255")  # fmt: skip
    question.compare("images fooled", document="all four", measured=reached, unit="count",
                     words=f"of {len(saved)}", at_least=4)  # fmt: skip
    question.compare(
        "largest change", document="at most epsilon, too small to see", measured=farthest,
        words=f"of 255 gray levels (epsilon {255 * epsilon:.0f})",
    )  # fmt: skip
    question.pictures(
        "four-by-three", ["image", "noise", "image + noise"],
        [
            (found.names[i], [
                _predicted(saved.originals[i], saved.logits_before[i], classifier),
                Picture(image=difference_tile(saved, i), title=difference_words(saved, i),
                        alt=f"The noise for {found.names[i]}; gray is no change"),
                _predicted(saved.adversarials[i], saved.logits_after[i], classifier,
                           tone="bad" if bool(saved.success[i]) else "good"),
            ])
            for i in range(len(saved))
        ],
        caption="Image, noise and their sum: class and probability under each. The noise is "
        "magnified by the factor below it, gray is no change. Sums are the 8-bit images, judged "
        "again as they are saved; orange: fooled.",
    )  # fmt: skip
    question.table(
        "updates",
        ["update", {"title": "fooled", **Number}, {"title": "steps, at most", **Number},
         {"title": "mean probability of the target", **Share},
         {"title": "largest change, gray levels", **Number},
         {"title": "steps without a gradient", **Number}],
        [
            [name, int(as_saved(one).success.sum()), int(one.steps.max()),
             round(_of_target(one), 4), round(255 * float(as_saved(one).distance("linf").max()), 2),
             int(one.zero_gradients.sum())]
            for name, one in variants.items()
        ],
        caption=f"The same four images and the same ball (epsilon {255 * epsilon:.0f} of 255) by "
        "the update as printed, with several values of lambda, by the same with the logarithm of "
        "the probability, and by projected gradient descent (the figure above), which takes the "
        "sign of that gradient and goes on after the prediction has changed. The others leave an "
        "image alone once its prediction is the target.",
        wide=True,
    )  # fmt: skip
    question.table(
        "photos",
        ["image", "class before", {"title": "probability before", **Share}, "class after",
         {"title": "probability after", **Share}, {"title": "steps", **Number}],
        [
            [name, name_of(classifier.class_names, int(before[i].argmax())),
             round(float(before[i].max()), 4),
             name_of(classifier.class_names, int(shares[i].argmax())),
             round(float(shares[i].max()), 4), int(saved.steps[i])]
            for i, name in enumerate(found.names)
        ],
        caption="The numbers of the figure.",
    )  # fmt: skip
    question.number("target", {"class": target, "name": wanted})
    question.number("probabilities", shares[:, target].tolist())
    question.number(
        "fooled", {name: int(as_saved(v).success.sum()) for name, v in variants.items()}
    )
    _discuss_fooling(question, variants, before[:, target])
    question.deviate(
        "X' ← X' + λ ∂P(y|X')/∂X'",
        "X' ← X' + λ sign ∂ log P(y|X')/∂X' in the figure; as printed in the table",
        "The gradient of the probability is the probability times that of its logarithm: it is "
        "next to nothing where the class is improbable, at the start. The sign makes every pixel "
        "use its part of the ball.",
    )
    question.deviate(
        "clipped to the ball of radius epsilon",
        "clipped to the ball and to [0, 1]",
        "Outside of [0, 1] it is no image.",
    )
    say_stand_in(study, question)


def _variants(
    study: Study, classifier: Classifier, images: Images, labels: Labels
) -> dict[str, AttackResult]:
    """The same photos by the update as printed, with the logarithm, and with its sign."""
    targets = torch.full_like(labels, target_class(classifier))
    common: dict[str, Any] = {"targets": targets, "epsilon": budget(study)}
    steps = study.pick(30, 40)
    made = {
        f"as printed, λ = {factor:,}": linf_gradient_ascent(
            classifier, images, labels, **common, steps=steps, objective="probability",
            step_size=float(factor),
        )
        for factor in FACTORS
    }  # fmt: skip
    made[LOGARITHM] = linf_gradient_ascent(classifier, images, labels, **common, steps=steps)
    made[DESCENT] = pgd(classifier, images, labels, **common, steps=steps_of(study), keep="best")
    return made


def _discuss_fooling(
    question: Question, variants: dict[str, AttackResult], before: torch.Tensor
) -> None:
    reached = {name: int(as_saved(one).success.sum()) for name, one in variants.items()}
    printed = [f"{reached[name]} with {name.partition(', ')[2]}" for name in variants
               if name not in (LOGARITHM, DESCENT)]  # fmt: skip
    question.discuss(
        f"Before, the target has probabilities of {float(before.min()):.1g} to "
        f"{float(before.max()):.1g}. As printed, the update fools, of {len(before)} images, "
        f"{listed(printed)}; with the logarithm it fools {reached[LOGARITHM]}, with lambda as "
        "small as epsilon. Which lambda is right as printed depends on the probability that the "
        "image begins with: too small and nothing moves, too large and every step jumps to the "
        "corners of the ball."
    )
    question.discuss(
        f"With the logarithm the target has a mean probability of "
        f"{100 * _of_target(variants[LOGARITHM]):.1f} % at the moment when it wins. Projected "
        f"gradient descent moves every pixel by the same amount and goes on: "
        f"{100 * _of_target(variants[DESCENT]):.1f} % in the same ball."
    )


def _of_target(result: AttackResult) -> float:
    saved = as_saved(result)
    assert saved.targets is not None
    return float(saved.logits_after.softmax(dim=1).gather(1, saved.targets[:, None]).mean())


def _predicted(
    image: torch.Tensor, logits: torch.Tensor, classifier: Classifier, tone: Tone = ""
) -> Picture:
    """An image with what it is predicted as."""
    shares = logits.softmax(dim=0)
    top = int(shares.argmax())
    return Picture(
        image=image,
        title=class_label(classifier.class_names, top, 16),
        detail=f"{100 * float(shares[top]):.1f} %",
        tone=tone,
    )
