"""Problem 4 Part 2: what a transformation leaves of the fooled photos."""

from __future__ import annotations

import torch

from convscope.figures import class_label, draw_survival
from convscope.pages import name_of
from convscope.robustness import Survival, TransformationRobustness, survival
from convscope.studies._chosen import listed
from convscope.studies._homework_2._fooling import attempt, budget, steps_of
from convscope.studies._homework_2._materials import say_stand_in, target_class
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

Number = {"kind": "number"}
Share = {"kind": "percent"}


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
            f"Images are still predicted as the target after: {listed(hold)}."
            if hold
            else "No image is predicted as the target after any of them."
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


SPOKEN = {"none": "none", "flip": "mirror image", "crop 80 %": "crop of 80 %",
          "rotate 30": "rotation by 30°", "grayscale": "grayscale"}  # fmt: skip


def _spoken(name: str) -> str:
    return SPOKEN.get(name, name)
