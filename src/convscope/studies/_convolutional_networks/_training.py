"""Three networks, each trained with L2 on its weights: errors, accuracy, random test images."""

from __future__ import annotations

from statistics import mean

from convscope.classifier import Classifier
from convscope.figures import Measure, run_curves
from convscope.models import summarize
from convscope.pages import name_of
from convscope.studies._chosen import random_rows
from convscope.studies._overfitting import overfitting_words
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.training import Measured, TrainResult, evaluate, recipe

MODELS = ("mnist-conv1", "mnist-conv2", "mnist-conv2-fc")
"""The networks of the assignment, in its order."""

WEIGHT_DECAY = 1e-4
"""Strength of L2. The preset ``paper`` has none, and this assignment wants it."""

SHOWN = 20
"""Random test images."""

NOT_TOLD = "asked for; an assignment has no number"


def learned(
    study: Study, model: str, *, seed: int | None = None, weight_decay: float = WEIGHT_DECAY
) -> TrainResult:
    """A network trained as the assignment asks: L2 on weights only, by the preset ``paper``."""
    return study.trained(
        model,
        preset="paper",
        seed=seed,
        weight_decay=weight_decay,
        batch_size=batch_size(study),
    )


def batch_size(study: Study) -> int:
    """Images of an update."""
    return study.pick(16, 64)


def best_model(study: Study) -> str:
    """The network that does best on the validation images."""
    return first_by_validation({model: learned(study, model).history[-1] for model in MODELS})


def best_network(study: Study) -> Classifier:
    """The best of the three on the validation images, which questions 6 to 9 look into."""
    return learned(study, best_model(study)).classifier


def first_by_validation(ends: dict[str, Measured]) -> str:
    """The name with the highest validation accuracy; among equals, with the lowest loss.

    Args:
        ends: Name to the last row of its history.
    """
    return max(ends, key=lambda name: (ends[name].validation_accuracy, -ends[name].validation_loss))


def one_convolution(study: Study, question: Question) -> None:
    """32 filters, a max-pool, ten logits."""
    _network(study, question, "mnist-conv1")
    _how(study, question)


def two_convolutions(study: Study, question: Question) -> None:
    """The same with a second convolution and max-pool."""
    _network(study, question, "mnist-conv2")
    _against(study, question, "mnist-conv2", "mnist-conv1", "The second convolution")


def dense_layer(study: Study, question: Question) -> None:
    """The same with 500 hidden units, and the three networks beside each other."""
    _network(study, question, "mnist-conv2-fc")
    _against(study, question, "mnist-conv2-fc", "mnist-conv2", "The dense layer")
    _all_three(study, question)


def _accuracies(study: Study, model: str) -> list[float]:
    """Test accuracy of each seed: two where a run takes seconds, one where it takes minutes."""
    test = study.dataset().test
    seeds = study.pick([study.seed, study.seed + 1], [study.seed])
    return [evaluate(learned(study, model, seed=seed).classifier, test).accuracy for seed in seeds]


def _network(study: Study, question: Question, model: str) -> None:
    """What all three questions ask for."""
    run, test = learned(study, model), study.dataset().test
    found, last = _accuracies(study, model), run.history[-1]
    question.find(
        f"{100 * mean(found):.2f} % of {len(test):,} test images are classified correctly after "
        f"{last.epoch:g} epochs; the training error ends at {100 * last.train_error:.2f} %, the "
        f"validation error at {100 * last.validation_error:.2f} %."
    )
    question.compare(
        "test accuracy", document=NOT_TOLD, measured=found, unit="share",
        note="on digits, not MNIST" if study.fast else
        f"Adam, batches of {batch_size(study)}, {last.epoch:g} epochs, "
        f"L2 {WEIGHT_DECAY:g}",
    )  # fmt: skip
    if not study.fast:
        ours = [
            evaluate(study.trained(model, preset="fast", seed=seed).classifier, test).accuracy
            for seed in range(study.seed, study.seed + 3)
        ]
        question.compare(
            "test accuracy, recipe of this package", document=NOT_TOLD, measured=ours,
            unit="share", note="same network, one-cycle AdamW with weight decay, weights only",
        )  # fmt: skip
        question.number("recipe_accuracies", ours)
    curves: tuple[tuple[Measure, str], ...] = (
        ("error", "Share of misclassified images, logarithmic"),
        ("accuracy", "Share of correctly classified images"),
        ("loss", "The cost that is minimized, cross-entropy, logarithmic"),
    )
    for what, words in curves:
        question.figure(
            what,
            run_curves({model: run.history}, what, parts=("training", "validation"), x="step"),
            alt=f"Training and validation {what} of {model} over the iterations",
            caption=f"{words}, over the iterations (updates of {batch_size(study)} images). "
            "Training: mean over the images since the point before; validation: images that are "
            "never trained on.",
        )  # fmt: skip
    wrong = _random_images(study, question, run.classifier)
    question.number("test_accuracies", found)
    question.number("train_error", last.train_error)
    question.number("validation_error", last.validation_error)
    question.number("wrong_of_shown", wrong)
    question.discuss(
        f"After {run.history[0].step:,} iterations "
        f"{100 * run.history[0].validation_accuracy:.1f} % of the validation images are right, at "
        f"the end {100 * last.validation_accuracy:.2f} %. {overfitting_words(run.history)}"
    )


def _random_images(study: Study, question: Question, classifier: Classifier) -> int:
    """Random test images, the same for all three networks; how many are misclassified."""
    split = study.dataset().test
    rows = random_rows(split, SHOWN, study.generator(1))
    predicted = classifier.predict(split.to_float(rows), top=1).labels[:, 0].tolist()
    cells = []
    for row, got in zip(rows.tolist(), predicted, strict=True):
        true = int(split.labels[row])
        names = [name_of(classifier.class_names, label) for label in (got, true)]
        cells.append(
            Picture(
                image=split.to_float([row])[0], title=f"P {names[0]}, T {names[1]}",
                tone="good" if got == true else "bad",
                alt=f"Test image {row}: predicted {names[0]}, true {names[1]}",
            )
        )  # fmt: skip
    wrong = sum(cell.tone == "bad" for cell in cells)
    question.pictures(
        "random-images", [""] * 10, [("", cells[:10]), ("", cells[10:])],
        caption=f"{SHOWN} random test images, the same for all three networks, with the predicted "
        f"(P) and the true class (T); {wrong} of them misclassified (orange).",
    )  # fmt: skip
    return wrong


def _how(study: Study, question: Question) -> None:
    """What the assignment leaves open, once for all three."""
    settings = recipe(MODELS[0], data=study.data, preset="paper", batch_size=batch_size(study))
    question.deviate(
        "optimizer, batch size, number of epochs and strength of L2 are left to the student",
        f"the preset paper with weight_decay = {WEIGHT_DECAY:g}: {settings.optimizer} at "
        f"{settings.learning_rate:g}, batches of {settings.batch_size}, {settings.epochs} epochs",
        "The preset is that of the reports on the same networks, which have no L2.",
    )
    if study.fast:
        question.deviate(
            "MNIST, 50,000 / 10,000 / 10,000 images",
            "digits of scikit-learn, "
            + " / ".join(f"{len(split):,}" for split in study.dataset().splits),
            "--fast needs no download and takes two minutes.",
        )


def _against(study: Study, question: Question, model: str, simpler: str, words: str) -> None:
    """What was gained by the layer that was added."""
    found, before = mean(_accuracies(study, model)), mean(_accuracies(study, simpler))
    gain = 100 * (found - before)
    test = len(study.dataset().test)
    shape = study.dataset().input_shape
    sizes = [summarize(learned(study, m).classifier.module, shape).parameters
             for m in (simpler, model)]  # fmt: skip
    question.number("gain_points", gain)
    question.discuss(
        f"{words} changes the number of parameters from {sizes[0]:,} to {sizes[1]:,} and the test "
        f"accuracy by {gain:+.2f} points, {abs(gain) * test / 100:.0f} of {test:,} images."
        + (" A difference of so few images may be chance." if abs(gain) * test / 100 < 10 else "")
    )


def _all_three(study: Study, question: Question) -> None:
    runs = {model: learned(study, model) for model in MODELS}
    best = best_model(study)
    shape = study.dataset().input_shape
    question.figure(
        "three-networks",
        run_curves({m: run.history for m, run in runs.items()}, "error", x="step"),
        alt="Validation error of the three networks over the iterations",
        caption="Validation error of the three networks over the iterations, logarithmic; the "
        "same images in the same order.",
    )  # fmt: skip
    share, number = {"kind": "percent"}, {"kind": "number"}
    accuracies = {model: mean(_accuracies(study, model)) for model in MODELS}
    question.table(
        "three-networks",
        ["network", number | {"title": "parameters"}, share | {"title": "training error"},
         share | {"title": "validation error"}, share | {"title": "test accuracy"}],
        [
            [model, summarize(run.classifier.module, shape).parameters,
             run.history[-1].train_error, run.history[-1].validation_error, accuracies[model]]
            for model, run in runs.items()
        ],
        caption="The three networks at the end of training. Test accuracy: mean over the seeds.",
    )  # fmt: skip
    question.tile(
        "best of three networks", best, detail=f"{100 * accuracies[best]:.2f} % of the test images"
    )
    question.number("best", best)
    question.discuss(
        f"By the validation images {best} is the best of the three: it is the one that is fooled "
        "and looked into below. Test images had no part in this choice."
    )
