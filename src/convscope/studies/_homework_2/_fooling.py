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
    transformation_robustness,
)
from convscope.studies._chosen import listed
from convscope.studies._homework_2._materials import (
    Photos,
    network,
    photos,
    say_stand_in,
    target_class,
)
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

Number = {"kind": "number"}
Share = {"kind": "percent"}


def budget(study: Study) -> float:
    """Epsilon: 2 gray levels for photos of 224 pixels, 4 for images of 32."""
    return study.pick(4 / 255, 2 / 255)


def fooled_photos(study: Study) -> tuple[Classifier, Photos, AttackResult]:
    """The four photos by the homework's update on the logarithm of the probability."""
    classifier = network(study)
    found = photos(study, classifier)
    return classifier, found, _ascent(study, classifier, found, objective="cross-entropy")


def _ascent(study: Study, classifier: Classifier, found: Photos, **more: Any) -> AttackResult:
    labels = classifier.predict(found.images, top=1).labels[:, 0]
    targets = torch.full_like(labels, target_class(classifier))
    return linf_gradient_ascent(
        classifier, found.images, labels, targets=targets, epsilon=budget(study),
        steps=study.pick(60, 60), **more,
    )  # fmt: skip


def fooling(study: Study, question: Question) -> None:
    """Image, noise and sum of the four photos; the update as printed next to two others."""
    classifier, found, result = fooled_photos(study)
    saved = as_saved(result)
    target = target_class(classifier)
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
                Picture(image=saved.originals[i], **_words(saved.logits_before[i], classifier)),
                Picture(image=difference_tile(saved, i), title=difference_words(saved, i),
                        alt=f"The noise for {found.names[i]}; gray is no change"),
                Picture(image=saved.adversarials[i],
                        tone="bad" if bool(saved.success[i]) else "good",
                        **_words(saved.logits_after[i], classifier)),
            ])
            for i in range(len(saved))
        ],
        caption="Image, noise and their sum: class and probability under each. The noise is "
        "magnified by the factor below it, gray is no change. Sums are the 8-bit images, judged "
        "again as they are saved; orange: fooled.",
    )  # fmt: skip
    variants = _variants(study, classifier, found, result)
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
        "the update as printed, with two values of lambda, by the same with the logarithm of the "
        "probability (the figure above), and by projected gradient descent, which goes on after "
        "the prediction has changed.",
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
        "X' ← X' + λ ∂ log P(y|X')/∂X' in the figure; both in the table",
        "The gradient of the probability is the probability times that of its logarithm: it is "
        "next to nothing where the class is improbable, at the start.",
    )
    question.deviate(
        "clipped to the ball of radius epsilon",
        "clipped to the ball and to [0, 1]",
        "Outside of [0, 1] it is no image.",
    )
    say_stand_in(study, question)


def _variants(
    study: Study, classifier: Classifier, found: Photos, result: AttackResult
) -> dict[str, AttackResult]:
    targets = result.targets
    factors = (1.0, 1e6)
    made = {
        f"as printed, λ = {factor:,.0f}": _ascent(
            study, classifier, found, objective="probability", step_size=factor
        )
        for factor in factors
    }
    made["log-probability, λ = epsilon"] = result
    made["projected gradient descent"] = pgd(
        classifier, found.images, result.labels, targets=targets, epsilon=budget(study),
        steps=study.pick(20, 40), keep="best",
    )  # fmt: skip
    return made


def _discuss_fooling(
    question: Question, variants: dict[str, AttackResult], before: torch.Tensor
) -> None:
    reached = {name: int(as_saved(one).success.sum()) for name, one in variants.items()}
    first, second, logarithm, descent = variants
    question.discuss(
        f"Before, the target has probabilities of {float(before.min()):.1g} to "
        f"{float(before.max()):.1g}. As printed, the update fools {reached[first]} of "
        f"{len(before)} images with lambda 1 and {reached[second]} with lambda 1,000,000; with the "
        f"logarithm it fools {reached[logarithm]}, with lambda as small as epsilon. What is right "
        "for lambda as printed depends on the probability that the image begins with."
    )
    question.discuss(
        f"An image is left alone once its prediction is the target: the mean probability is then "
        f"{100 * _of_target(variants[logarithm]):.1f} %. Projected gradient descent takes steps of "
        f"equal size in every pixel and goes on: {100 * _of_target(variants[descent]):.1f} % in "
        "the same ball."
    )


def transformed(study: Study, question: Question) -> None:
    """The four after a flip, a crop, a rotation and without color: classes and probabilities."""
    classifier, found, result = fooled_photos(study)
    after = transformation_robustness(classifier, result)
    target = target_class(classifier)
    wanted = class_label(classifier.class_names, target, 24)
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
    lasting = survival(
        classifier, result.originals, result.labels, targets=after.targets, epsilon=budget(study),
        steps=study.pick(12, 40), eot_samples=study.pick(4, 8), generator=study.generator(8),
    )  # fmt: skip
    _survival(question, lasting, shares, titles)
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


def _survival(
    question: Question, lasting: Survival, shares: torch.Tensor, titles: list[str]
) -> None:
    question.figure(
        "survival", draw_survival(lasting),
        alt="Probability of the target after each transformation, for two attacks",
        caption="Probability of the target after each transformation: of images that were made "
        "confident (plain), and of images that were made to survive random transformations, in "
        "the same ball. Bars: means; dots: images.",
    )  # fmt: skip
    lines = (
        ("stopped when fooled (above)", shares),
        ("made confident", lasting.plain_transformed.target_probabilities),
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
        f"the transformations; images made without them, but confident, {100 * plain:.1f} %."
    )


def _of_target(result: AttackResult) -> float:
    saved = as_saved(result)
    assert saved.targets is not None
    return float(saved.logits_after.softmax(dim=1).gather(1, saved.targets[:, None]).mean())


def _words(logits: torch.Tensor, classifier: Classifier) -> dict[str, str]:
    shares = logits.softmax(dim=0)
    top = int(shares.argmax())
    return {
        "title": class_label(classifier.class_names, top, 16),
        "detail": f"{100 * float(shares[top]):.1f} %",
    }


SPOKEN = {"none": "none", "flip": "mirror image", "crop 80 %": "crop of 80 %",
          "rotate 30": "rotation by 30°", "grayscale": "grayscale"}  # fmt: skip


def _spoken(name: str) -> str:
    return SPOKEN.get(name, name)
