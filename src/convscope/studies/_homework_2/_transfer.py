"""Problem 2: features of a network that was trained before, and a linear classifier of pets."""

from __future__ import annotations

import math

from convscope.data import SHAPE_NAMES, Dataset, Split, shape_scenes
from convscope.figures import (
    class_label,
    cross_validation_curve,
    per_class_bars,
    pixels,
    top_confusions,
)
from convscope.studies._comparison import span
from convscope.studies._homework_2._materials import network, pets, say_stand_in
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.transfer import TransferResult, transfer

WORST, COLUMNS = 10, 5
"""Misclassified pets that are shown, and how many in a row: what fits into a page."""

Number = {"kind": "number"}
Share = {"kind": "percent"}


def transfer_to_pets(study: Study, question: Question) -> None:
    """Features before the last layer, of length one, and a linear classifier on them."""
    classifier = network(study)
    images = None
    if study.fast:
        shapes = _few_shapes()
        result, images = transfer(classifier, shapes, generator=study.generator(2)), shapes.test
    else:
        for file in pets(study):
            study.file(file)
        result = transfer(
            classifier, "pets", data_dir=study.data_dir, generator=study.generator(2),
            offline=study.offline,
        )  # fmt: skip
    low, high = result.mean_per_class_interval
    classes = len(result.class_names)
    question.find(
        f"Mean-per-class accuracy {100 * result.mean_per_class:.2f} % on {result.n:,} test images "
        f"of {classes} classes that the network was not trained on (by guessing: "
        f"{100 / classes:.1f} %)."
    )
    question.tile("transfer, mean per class", f"{100 * result.mean_per_class:.2f} %",
                  detail=f"{result.n:,} test images, {classes} classes")  # fmt: skip
    question.compare(
        "mean-per-class accuracy", document="asked for, without a value to reach",
        measured=result.mean_per_class, unit="share",
        words=f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)",
        note=f"{classes} classes, {result.training_images:,} training images",
    )  # fmt: skip
    question.compare("accuracy over all images", document="not asked for",
                     measured=result.accuracy, unit="share")  # fmt: skip
    question.table(
        "classes",
        ["class", {"title": "test images", **Number}, {"title": "right", **Number},
         {"title": "accuracy", **Share}],
        [
            [name, int(result.confusion[i].sum()), int(result.confusion[i, i]),
             None if math.isnan(value) else round(value, 4)]
            for i, (name, value) in enumerate(
                zip(result.class_names, result.per_class.tolist(), strict=True)
            )
        ],
        caption="Accuracy of each class; their mean is the mean-per-class accuracy.",
    )  # fmt: skip
    question.figure(
        "per-class", per_class_bars(result), alt="Accuracy of each class with its interval",
        caption="Accuracy of each class (dot) with its 95 % interval (line); dashed: their mean.",
    )  # fmt: skip
    question.confusions(result, labels=result.labels, predicted=result.predicted,
                       images=None if images is None else images.to_float)  # fmt: skip
    question.figure(
        "regularization", cross_validation_curve(result),
        alt="Mean-per-class accuracy of each fold over the regularization",
        caption=f"How {result.parameter} was chosen, on training images only: mean-per-class "
        "accuracy of each fold (dots), their mean (line), the choice (dashed).",
    )  # fmt: skip
    _mistakes(question, result)
    question.number("mean_per_class", result.mean_per_class)
    question.number("accuracy", result.accuracy)
    question.number("per_class", dict(zip(result.class_names, result.per_class.tolist(),
                                          strict=True)))  # fmt: skip
    question.number(result.parameter, result.value)
    _discuss_transfer(question, result)
    question.deviate(
        "a linear classifier; its settings are free",
        f"multinomial logistic regression; {result.parameter} = {result.value:g} by "
        f"cross-validation in {result.fold_scores.shape[1]} folds of the training images",
        "Test images are looked at once.",
    )
    if not study.fast:
        question.deviate(
            "37 breeds", f"{classes} breeds", "All breeds that are in the data folder."
        )
    say_stand_in(study, question)


def _mistakes(question: Question, result: TransferResult) -> None:
    wrong = result.mistakes
    if not len(wrong.labels):
        return
    names = result.class_names
    cells: list[Picture | None] = [
        Picture(
            image=pixels(wrong.images[i].float() / 255), tone="bad",
            title=f"as {class_label(names, int(wrong.predicted[i]), 14)}",
            detail=f"is {class_label(names, int(wrong.labels[i]), 14)}",
        )
        for i in range(min(len(wrong.labels), WORST))
    ]  # fmt: skip
    columns = min(COLUMNS, len(cells))
    cells += [None] * (-len(cells) % columns)
    lines = [("", cells[start : start + columns]) for start in range(0, len(cells), columns)]
    question.pictures(
        "mistakes", [""] * columns, lines,
        caption="Misclassified test images, those that are most wrong first: what they are taken "
        "for and what they are.",
    )  # fmt: skip


def _discuss_transfer(question: Question, result: TransferResult) -> None:
    values = [(value, name) for value, name in zip(result.per_class.tolist(), result.class_names,
              strict=True) if not math.isnan(value)]  # fmt: skip
    worst, best = min(values), max(values)
    text = (
        f"Features: {result.features} (L2 norm), after the last ReLU and pooling. "
        f"The easiest class is {best[1]} ({100 * best[0]:.1f} %), the hardest {worst[1]} "
        f"({100 * worst[0]:.1f} %)."
    )
    for true, predicted, count in top_confusions(result, 1):
        text += (
            f" The most frequent confusion: {count} images of {result.class_names[true]} are taken "
            f"for {result.class_names[predicted]}."
        )
    question.discuss(text)
    difference = 100 * (result.mean_per_class - result.accuracy)
    counts = result.confusion.sum(dim=1)
    question.discuss(
        f"Mean-per-class accuracy gives every class the same weight; accuracy gives it to every "
        f"image. A class has {span(int(counts.min()), int(counts.max()))} test images, so that the "
        f"two differ by {abs(difference):.2f} points."
    )


def _few_shapes() -> Dataset:
    """Generated shapes: another task than that of the network."""

    def part(name: str, count: int) -> Split:
        scenes = shape_scenes(name, count, difficulty="easy")
        return Split(name=name, images=scenes.images, labels=scenes.labels)

    return Dataset(
        name="shapes",
        class_names=SHAPE_NAMES,
        train=part("train", 600),
        validation=part("validation", 100),
        test=part("test", 300),
        source="generated shapes, no clutter",
        hashes={"shapes": "generated"},
    )
