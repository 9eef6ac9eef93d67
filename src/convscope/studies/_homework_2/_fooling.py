"""Problem 4: four photos that are read as something else, and what a transformation leaves."""

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
    draw_survival,
)
from convscope.pages import name_of
from convscope.robustness import (
    Survival,
    TransformationRobustness,
    survival,
)
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


def transformed(study: Study, question: Question) -> None:
    """The four after a flip, a crop, a rotation and without color: classes and probabilities."""
    classifier, found, labels = attempt(study)
    target = target_class(classifier)
    wanted = class_label(classifier.class_names, target, 24)
    lasting = survival(
        classifier, found.images, labels, targets=torch.full_like(labels, target),
        epsilon=budget(study), steps=steps_of(study), eot_samples=study.pick(4, 8),
        generator=study.generator(8),
    )  # fmt: skip
    after = lasting.plain_transformed
    assert after.targets is not None
    still = after.adversarials_predicted == after.targets
    back = after.adversarials_predicted == after.originals_predicted
    changed, total = still[1:], still[1:].numel()
    shares = after.target_probabilities
    question.find(
        f"After a transformation {int(changed.sum())} of {total} images are still predicted as "
        f"{wanted}, and {int(back[1:].sum())} as the unchanged photo under the same "
        f"transformation; the target's mean probability falls from "
        f"{100 * float(shares[0].mean()):.1f} % to {100 * float(shares[1:].mean()):.1f} %."
    )
    question.tile("still fooled, transformed", f"{int(changed.sum())} of {total}",
                  detail="flip, crop, rotation, grayscale")  # fmt: skip
    question.compare("still predicted as the target", document="asked for, to be discussed",
                     measured=int(changed.sum()), unit="count", words=f"of {total}")  # fmt: skip
    titles = [_spoken(name) for name in after.names]
    question.pictures(
        "transformed", titles,
        [
            (name, [
                Picture(
                    image=after.transformed[t, i].clamp(0, 1),
                    title=class_label(
                        classifier.class_names, int(after.adversarials_predicted[t, i]), 16),
                    detail=f"{100 * float(after.adversarials_probabilities[t, i]):.1f} %",
                    tone="bad" if bool(still[t, i]) else "good" if bool(back[t, i]) else "warn",
                )
                for t in range(len(titles))
            ])
            for i, name in enumerate(found.names)
        ],
        caption=f"Fooled images after each transformation, with class and probability. Orange: "
        f"still {wanted}; green: the class of the unchanged photo under the same transformation; "
        "gold: a third class.",
    )  # fmt: skip
    question.table(
        "transformed",
        ["image", "transformation", "class", {"title": "probability", **Share},
         {"title": f"probability of {wanted}", **Share}, "class of the unchanged photo",
         {"title": "its probability", **Share}],
        [
            [name, title, name_of(classifier.class_names, int(after.adversarials_predicted[t, i])),
             round(float(after.adversarials_probabilities[t, i]), 4),
             round(float(shares[t, i]), 6),
             name_of(classifier.class_names, int(after.originals_predicted[t, i])),
             round(float(after.originals_probabilities[t, i]), 4)]
            for i, name in enumerate(found.names)
            for t, title in enumerate(titles)
        ],
        caption="New classes and probabilities, next to those of the photo that was not attacked.",
        wide=True,
    )  # fmt: skip
    _survival(question, lasting, titles)
    _discuss_transformed(question, after, titles, lasting)
    question.number("still", {title: int(row.sum()) for title, row in
                              zip(titles, still, strict=True)})  # fmt: skip
    question.number("target_probability", {title: float(row.mean()) for title, row in
                                           zip(titles, shares, strict=True)})  # fmt: skip
    question.deviate(
        "a crop at a random place",
        "the crop of 80 % is in the center",
        "All images see the same; random places are in the attack that has to survive them.",
    )
    say_stand_in(study, question)


def _survival(question: Question, lasting: Survival, titles: list[str]) -> None:
    question.figure(
        "survival", draw_survival(lasting),
        alt="Probability of the target after each transformation, for two attacks",
        caption="Probability of the target after each transformation: of the images "
        "above (plain), and of images that were made to survive random transformations, in the "
        "same ball. Bars: means; dots: images.",
    )  # fmt: skip
    lines = (
        ("as above", lasting.plain_transformed.target_probabilities),
        ("made to survive", lasting.eot_transformed.target_probabilities),
    )
    question.table(
        "survival",
        ["images", *({"title": title, **Share} for title in titles)],
        [[name, *(round(float(row.mean()), 4) for row in table)] for name, table in lines],
        caption="Mean probability of the target over the four images.",
    )  # fmt: skip


def _discuss_transformed(
    question: Question, after: TransformationRobustness, titles: list[str], lasting: Survival
) -> None:
    assert after.targets is not None
    means = after.target_probabilities.mean(dim=1).tolist()
    pairs = list(zip(means, titles, strict=True))[1:]
    strongest, weakest = min(pairs), max(pairs)
    hold = [title for title, row in zip(titles, after.adversarials_predicted, strict=True)
            if bool((row == after.targets).any())][1:]  # fmt: skip
    question.discuss(
        f"The noise is made for every single pixel. {strongest[1].capitalize()} leaves the target "
        f"a mean probability of {100 * strongest[0]:.2g} %, {weakest[1]} of "
        f"{100 * weakest[0]:.2g} %. "
        + (
            f"Images are still read as the target after: {listed(hold)}."
            if hold
            else "No image is read as the target after any of them."
        )
    )
    unlike = (after.adversarials_predicted != after.originals_predicted) & (
        after.adversarials_predicted != after.targets
    )
    question.discuss(
        f"In {int(unlike[1:].sum())} of {unlike[1:].numel()} cases a third class is predicted, "
        "neither the target nor what the unchanged photo is predicted as under the same "
        "transformation: the noise still does harm there."
    )
    plain, survivor = lasting.mean_probabilities
    question.discuss(
        f"It is no defense. Images of the same ball that are made with the mean over random flips, "
        f"crops, rotations and grayscale keep a mean probability of {100 * survivor:.1f} % after "
        f"the transformations; those above keep {100 * plain:.1f} %."
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


SPOKEN = {"none": "none", "flip": "mirror image", "crop 80 %": "crop of 80 %",
          "rotate 30": "rotation by 30°", "grayscale": "grayscale"}  # fmt: skip


def _spoken(name: str) -> str:
    return SPOKEN.get(name, name)
