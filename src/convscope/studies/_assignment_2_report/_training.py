"""Training with and without batch normalization, and what there is to train."""

from __future__ import annotations

from statistics import mean

from convscope.classifier import Classifier
from convscope.figures import Part, run_curves
from convscope.models import build, summarize
from convscope.pages import name_of
from convscope.studies._chosen import random_rows
from convscope.studies._overfitting import overfitting_words
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.training import TrainResult, evaluate

PLAIN, NORMALIZED = "mnist-conv2-fc", "mnist-conv2-fc-bn"
DOCUMENT, DOCUMENT_NORMALIZED = 0.9892, 0.9905
SHOWN = 20
"""Random test images."""


def document_run(study: Study, model: str = PLAIN, seed: int | None = None) -> TrainResult:
    """A network as the report trained it: batches of 16, Adam, five epochs."""
    return study.trained(model, preset="paper", seed=seed)


def own_network(study: Study) -> Classifier:
    """The network without batch normalization, which the report is about."""
    return document_run(study).classifier


def seeds_of(study: Study) -> list[int]:
    """Seeds of the runs: two where a run takes seconds, one where it takes minutes."""
    return study.pick([study.seed, study.seed + 1], [study.seed])


def accuracies(study: Study, model: str) -> list[float]:
    """Test accuracy of each seed."""
    test = study.dataset().test
    return [
        evaluate(document_run(study, model, seed).classifier, test).accuracy
        for seed in study.each(seeds_of(study))
    ]


def recipe_accuracies(study: Study, model: str) -> list[float]:
    """Test accuracy of the same network by the recipe of this package, three seeds."""
    test = study.dataset().test
    return [
        evaluate(study.trained(model, preset="fast", seed=seed).classifier, test).accuracy
        for seed in study.each(range(study.seed, study.seed + 3))
    ]


def training(study: Study, question: Question) -> None:
    """Losses over the iterations, test accuracy, random test images with P and T."""
    test = study.dataset().test
    found = accuracies(study, PLAIN)
    run = document_run(study)
    question.find(
        f"{100 * mean(found):.2f} % of {len(test):,} test images are classified correctly after "
        f"{run.history[-1].epoch:g} epochs; the report has 98.92 %."
    )
    question.tile("test accuracy", f"{100 * mean(found):.2f} %", detail="report: 98.92 %")
    question.compare(
        "test accuracy", document="98.92 %", measured=found, unit="share",
        at_least=study.pick(None, DOCUMENT),
        note="on digits, not MNIST" if study.fast else "batches of 16, Adam, 5 epochs",
    )  # fmt: skip
    if not study.fast:
        ours = recipe_accuracies(study, PLAIN)
        question.compare(
            "test accuracy, recipe of this package", document="98.92 %", measured=ours,
            unit="share", at_least=DOCUMENT, note="same network, 2 epochs, one-cycle AdamW",
        )  # fmt: skip
        question.number("recipe_accuracies", ours)
    parts: tuple[Part, ...] = ("training", "validation")
    question.figure(
        "loss", run_curves({PLAIN: run.history}, "loss", parts=parts, x="step"),
        alt="Training and validation loss over the iterations",
        caption="Cross-entropy over the iterations (updates of 16 images), logarithmic. Training: "
        "mean since the point before; validation: images that are not trained on.",
    )  # fmt: skip
    question.figure(
        "accuracy",
        run_curves({PLAIN: run.history}, "accuracy", parts=("training", "validation"), x="step"),
        alt="Training and validation accuracy over the iterations",
        caption="Accuracy over the same iterations.",
    )
    _random_images(study, question, run)
    last = run.history[-1]
    question.number("test_accuracies", found)
    question.number("validation_loss", last.validation_loss)
    question.discuss(overfitting_words(run.history))
    question.deviate(
        "the size of the validation set is not told",
        f"{len(study.dataset().train):,} images for training, "
        f"{len(study.dataset().validation):,} for validation, {len(test):,} for testing",
        "The split of the assignment behind the report; test images are looked at once."
        if not study.fast
        else "--fast uses the digits of scikit-learn.",
    )


def _random_images(study: Study, question: Question, run: TrainResult) -> None:
    split, classifier = study.dataset().test, run.classifier
    rows = random_rows(split, SHOWN, study.generator(1))
    predicted = classifier.predict(split.to_float(rows), top=1)
    cells = []
    for i, row in enumerate(rows.tolist()):
        true, got = int(split.labels[row]), int(predicted.labels[i, 0])
        names = [name_of(classifier.class_names, label) for label in (got, true)]
        cells.append(
            Picture(
                image=split.to_float([row])[0],
                title=f"P {names[0]}, T {names[1]}",
                tone="good" if got == true else "bad",
                alt=f"Test image {row}: predicted {names[0]}, true {names[1]}",
            )
        )
    wrong = sum(cell.tone == "bad" for cell in cells)
    question.pictures(
        "random-images", [""] * 10, [("", cells[:10]), ("", cells[10:])],
        caption=f"{SHOWN} random test images with the predicted (P) and the true class (T); "
        f"{wrong} of them misclassified (orange).",
    )  # fmt: skip


def parameters(study: Study, question: Question) -> None:
    """799,078 parameters; neurons as the report counts them and as the field does."""
    summary = summarize(build(PLAIN), (1, 28, 28))
    convolutions = [row for row in summary.rows if row.kind == "Conv2d"]
    dense = [row for row in summary.rows if row.kind == "Linear"]
    of_convolutions = sum(row.parameters for row in convolutions)
    of_dense = sum(row.parameters for row in dense)
    question.find(
        f"{summary.parameters:,} parameters: {of_convolutions:,} in the convolutions and "
        f"{of_dense:,} in the dense layers, as in the report."
    )
    question.tile("parameters", f"{summary.parameters:,}", detail="report: 799,078")
    for what, document, value in (
        ("parameters of the convolutions", "9,568", of_convolutions),
        ("parameters of the dense layers", "789,510", of_dense),
        ("parameters", "799,078", summary.parameters),
        ("neurons of the convolutions, counted as there", "576",
         sum(row.document_neurons for row in convolutions)),
        ("neurons of the dense layers, counted as there", "2,078",
         sum(row.document_neurons for row in dense)),
    ):  # fmt: skip
        question.compare(what, document=document, measured=value, unit="count")
    number = {"kind": "number"}
    question.table(
        "layers",
        ["layer", "output", number | {"title": "parameters"}, number | {"title": "neurons"},
         number | {"title": "neurons, as in the report"}],
        [
            [row.name, " x ".join(map(str, row.output_shape or ())), row.parameters, row.neurons,
             row.document_neurons]
            for row in summary.rows
        ],
        caption="Neurons: values that a convolution or dense layer computes for one image. The "
        "report counts filter taps (filters x rows x columns), flattened values and dense outputs.",
    )  # fmt: skip
    question.number("parameters", summary.parameters)
    question.number("neurons", summary.neurons)
    question.number("document_neurons", summary.document_neurons)
    question.discuss(
        f"{100 * of_dense / summary.parameters:.1f} % of the parameters are in the dense layers, "
        "nearly all of them in the first, which sees 1,568 values. The convolutions, which do most "
        "of the work, share their weights over all positions."
    )
    question.deviate(
        f"{summary.document_neurons:,} neurons",
        f"{summary.neurons:,} neurons",
        "A filter tap is a weight and no neuron; the field counts outputs of layers. Both are in "
        "the table.",
    )


def batch_normalization(study: Study, question: Question) -> None:
    """Losses with batch normalization, accuracy over the iterations with and without it."""
    plain, found = accuracies(study, PLAIN), accuracies(study, NORMALIZED)
    runs = {
        "without": document_run(study, PLAIN),
        "with batch normalization": document_run(study, NORMALIZED),
    }
    difference = mean(found) - mean(plain)
    verb = "more" if difference >= 0 else "less"
    question.find(
        f"With batch normalization {100 * mean(found):.2f} % of the test images are classified "
        f"correctly, {abs(100 * difference):.2f} points {verb} than without; the report has 99.05 "
        "and 98.92 %."
    )
    question.tile("with batch norm", f"{100 * mean(found):.2f} %", detail="report: 99.05 %")
    note = "on digits, not MNIST" if study.fast else "batches of 16, Adam, 5 epochs"
    question.compare("test accuracy without", document="98.92 %", measured=plain, unit="share",
                     at_least=study.pick(None, DOCUMENT), note=note)  # fmt: skip
    question.compare("test accuracy with", document="99.05 %", measured=found, unit="share",
                     at_least=study.pick(None, DOCUMENT_NORMALIZED), note=note)  # fmt: skip
    if not study.fast:
        ours = recipe_accuracies(study, NORMALIZED)
        question.compare(
            "test accuracy with, recipe of this package", document="99.05 %", measured=ours,
            unit="share", at_least=DOCUMENT_NORMALIZED,
            note="same network, 2 epochs, one-cycle AdamW",
        )  # fmt: skip
        question.number("recipe_accuracies", ours)
    history = {name: run.history for name, run in runs.items()}
    question.figure(
        "loss",
        run_curves({NORMALIZED: runs["with batch normalization"].history}, "loss",
                   parts=("training", "validation"), x="step"),
        alt="Training and validation loss with batch normalization",
        caption="With batch normalization: cross-entropy over the iterations, logarithmic.",
    )  # fmt: skip
    question.figure(
        "accuracy", run_curves(history, "accuracy", x="step"),
        alt="Validation accuracy over the iterations with and without batch normalization",
        caption="Validation accuracy over the iterations: both networks, same images in the same "
        "order.",
    )  # fmt: skip
    question.figure(
        "validation-loss", run_curves(history, "loss", x="step"),
        alt="Validation loss over the iterations with and without batch normalization",
        caption="Validation loss of the same two runs.",
    )  # fmt: skip
    question.number("test_accuracies", {"without": plain, "with": found})
    early = {name: points[0].validation_accuracy for name, points in history.items()}
    ahead = max(early, key=lambda name: early[name])
    question.discuss(
        f"At the first point, after {history['without'][0].step:,} iterations, the network "
        f"{ahead} is ahead: "
        + " and ".join(f"{100 * value:.1f} % {name}" for name, value in early.items())
        + ". At the end they differ by "
        f"{abs(100 * difference):.2f} points on the test images"
        + (
            f" with {len(found)} seeds each; sd "
            + " and ".join(
                f"{100 * _sd(values):.2f} points {name}"
                for name, values in (("without", plain), ("with", found))
            )
            if len(found) > 1
            else "; one run each, so that differences of a tenth of a point mean little"
        )
        + "."
    )


def _sd(values: list[float]) -> float:
    from statistics import stdev

    return stdev(values)
