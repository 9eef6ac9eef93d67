"""Problem 3 Parts 1 and 2: a small network with 11 x 11 filters, plain and normalized."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from convscope.classifier import Classifier
from convscope.explanations import Filters, filters
from convscope.figures import draw, filter_legend, per_class_bars, run_curves
from convscope.models import MODELS, NetworkSummary, summarize
from convscope.studies._chosen import listed
from convscope.studies._question import Question
from convscope.studies._study import Study
from convscope.training import (
    Evaluation,
    Measured,
    TrainResult,
    TrainSettings,
    evaluate,
    recipe,
)

PLAIN, NORMALIZED = "cifar-11x11", "cifar-11x11-bn"
ALL = "train+validation"
"""The homework trains on all training images and keeps none for validation."""

Number = {"kind": "number"}
Share = {"kind": "percent"}


def plan(study: Study, model: str) -> dict[str, Any]:
    """How a network is trained: preset and what is changed of it.

    Networks of the homework share one recipe, field by field. The better network has its own.
    """
    changes: dict[str, Any] = {"train_split": ALL, "evals_per_epoch": 1}
    if model in (PLAIN, NORMALIZED):
        # bfloat16 where the processor multiplies it: the homework tells no settings.
        return {"preset": "paper", **changes, **study.pick({"epochs": 6}, {"precision": "auto"})}
    # Rates and batches of the recipe are for 50,000 images; digits are 1,438.
    few = {"epochs": 3, "batch_size": 100, "learning_rate": 0.1}
    return {"preset": "fast", **changes, **study.pick(few, {})}


def better(study: Study) -> str:
    """The deeper network: the best of the package, or a quick one with ``--fast``."""
    return study.pick("cifar-best-quick", "cifar-best")


def trained(study: Study, model: str) -> TrainResult:
    """A network of this problem; asked again, the same one."""
    return study.trained(model, **plan(study, model))


def own_network(study: Study) -> Classifier:
    """The network with 11 x 11 filters, which the homework designs; that of ImageNet is given."""
    return trained(study, PLAIN).classifier


def settings(study: Study, model: str) -> TrainSettings:
    """The settings that `trained` trains with."""
    return recipe(model, data=study.data, seed=study.seed, **plan(study, model))


def judged(study: Study, model: str) -> Evaluation:
    """All test images, once."""
    return evaluate(trained(study, model).classifier, study.dataset().test)


def network_11x11(study: Study, question: Question) -> None:
    """Loss over the epochs, the 4 x 16 filters, test accuracy, initialization, hyperparameters."""
    run, found = trained(study, PLAIN), judged(study, PLAIN)
    right = round(found.accuracy * found.n)
    question.find(
        f"{right:,} of {found.n:,} test images are classified correctly after "
        f"{settings(study, PLAIN).epochs} epochs on all training images: accuracy "
        f"{100 * found.accuracy:.2f} %, error {100 * (1 - found.accuracy):.2f} %."
    )
    question.tile("11 x 11 network", f"{100 * found.accuracy:.2f} %", detail="test accuracy")
    _accuracies(study, question, found)
    question.figure(
        "loss", run_curves({PLAIN: run.history}, "loss", parts=("training",)),
        alt="Training loss over the epochs",
        caption="Cross-entropy over the epochs, logarithmic: mean over the training images of each "
        "epoch. There is no validation curve: all training images are trained on.",
    )  # fmt: skip
    _filters(question, filters(run.classifier, "conv1"))
    question.figure(
        "per-class", per_class_bars(found), alt="Test accuracy of each class",
        caption="Test accuracy of each class (dot) with its 95 % interval (line); dashed: mean.",
    )  # fmt: skip
    _hyperparameters(study, question, run)
    summary = summarize(run.classifier.module, run.classifier.input_shape)
    _layers(question, summary)
    question.number("test_accuracy", found.accuracy)
    question.number("test_error", 1 - found.accuracy)
    question.number("training_loss", [point.train_loss for point in run.history])
    _discuss_loss(question, run.history)
    values = found.per_class.tolist()
    best, worst = max(values), min(values)
    names = run.classifier.class_names
    question.discuss(
        f"Of the classes, {names[values.index(best)]} is easiest ({100 * best:.1f} %) and "
        f"{names[values.index(worst)]} hardest ({100 * worst:.1f} %). By guessing, "
        f"{100 / len(names):.0f} % would be right."
    )
    question.deviate(
        "padding is not told",
        "no padding: 11 x 11 filters leave "
        + " x ".join(map(str, (summary.rows[0].output_shape or ())[1:])),
        "Measured on CIFAR-10, it learns more per epoch than zero padding, with a third of the "
        "work.",
    )
    say_digits(study, question)


def with_batch_normalization(study: Study, question: Question) -> None:
    """The same with batch normalization and the same recipe: loss, filters, test error."""
    runs = {
        "without": trained(study, PLAIN),
        "with batch normalization": trained(study, NORMALIZED),
    }
    plain, found = judged(study, PLAIN), judged(study, NORMALIZED)
    same = replace(settings(study, NORMALIZED), model=PLAIN) == settings(study, PLAIN)
    difference = 100 * (found.accuracy - plain.accuracy)
    question.find(
        f"With batch normalization the test error is {100 * (1 - found.accuracy):.2f} %, without "
        f"{100 * (1 - plain.accuracy):.2f} %: {abs(difference):.2f} points "
        f"{'less' if difference >= 0 else 'more'}, by the same recipe."
    )
    question.tile("with batch norm", f"{100 * found.accuracy:.2f} %",
                  detail=f"without: {100 * plain.accuracy:.2f} %")  # fmt: skip
    _accuracies(study, question, found)
    histories = {name: run.history for name, run in runs.items()}
    question.figure(
        "loss", run_curves(histories, "loss", parts=("training",)),
        alt="Training loss over the epochs with and without batch normalization",
        caption="Training cross-entropy over the epochs, logarithmic: same images, same order, "
        "same recipe.",
    )  # fmt: skip
    _filters(question, filters(runs["with batch normalization"].classifier, "conv1"))
    question.table(
        "compared",
        ["network", {"title": "test accuracy", **Share}, {"title": "test error", **Share},
         {"title": "loss of the first epoch", **Number},
         {"title": "loss of the last epoch", **Number}],
        [
            [name, round(one.accuracy, 4), round(1 - one.accuracy, 4),
             round(run.history[0].train_loss, 4), round(run.history[-1].train_loss, 4)]
            for (name, run), one in zip(runs.items(), (plain, found), strict=True)
        ],
        caption="Both networks. Settings that differ between them: "
        f"{'none' if same else 'some, see above'}; batch normalization stands between each "
        "convolution and its ReLU.",
    )  # fmt: skip
    question.number("test_accuracies", {"without": plain.accuracy, "with": found.accuracy})
    question.number("one_recipe", same)
    losses = {name: [p.train_loss for p in run.history] for name, run in runs.items()}
    question.number("training_loss", losses)
    _discuss_normalization(question, losses["without"], losses["with batch normalization"],
                           difference)  # fmt: skip
    say_digits(study, question)


def _accuracies(study: Study, question: Question, found: Evaluation) -> None:
    asked = "asked for, without a value to reach"
    question.compare("test accuracy", document=asked, measured=found.accuracy, unit="share",
                     note=on_images(study))  # fmt: skip
    question.compare("test error", document=asked, measured=1 - found.accuracy, unit="share",
                     note=on_images(study))  # fmt: skip


def on_images(study: Study) -> str:
    """What accuracies are measured on."""
    if study.fast:
        return "on digits, not CIFAR-10"
    return f"CIFAR-10, {len(study.dataset().test):,} test images"


def _filters(question: Question, found: Filters) -> None:
    count, channels, height, width = found.weights.shape
    colors = "in red, green and blue" if channels == 3 else "gray, as the images are"
    question.figure(
        "filters", draw(found), wide=True,
        alt=f"The {count} filters of the first convolution in {-(-count // found.columns)} rows",
        caption=f"The {count} filters of the first convolution, {-(-count // found.columns)} rows "
        f"of {found.columns}, {height} x {width} weights each, {colors}. Contrast is stretched: "
        f"{filter_legend(found)}.",
    )  # fmt: skip


def _hyperparameters(study: Study, question: Question, run: TrainResult) -> None:
    chosen, images = settings(study, PLAIN), len(study.dataset().train)
    images += len(study.dataset().validation)
    shown = ("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay",
             "label_smoothing", "seed", "precision")  # fmt: skip
    known = {field.name for field in fields(chosen)}
    rows = [[name.replace("_", " "), str(getattr(chosen, name))] for name in shown if name in known]
    rows = [[name, {"auto": "bf16 where the processor has it, else fp32"}.get(value, value)]
            for name, value in rows]  # fmt: skip
    rows += [
        ["training images", f"{images:,}"],
        ["updates", f"{run.history[-1].step:,}" if run.history else "0"],
        ["augmentation", "none" if chosen.augment == type(chosen.augment)() else "see recipe"],
        ["loss", "cross-entropy"],
        ["initialization", MODELS[PLAIN].initialization],
    ]
    question.table(
        "hyperparameters", ["what", {"title": "value", "kind": "words"}], rows,
        caption="Initialization and hyperparameters.",
    )  # fmt: skip
    question.number("initialization", MODELS[PLAIN].initialization)


def _layers(question: Question, summary: NetworkSummary) -> None:
    question.table(
        "layers",
        ["layer", "output", {"title": "parameters", **Number}],
        [
            [row.name, " x ".join(map(str, row.output_shape or ())), row.parameters]
            for row in summary.rows
        ],
        caption=f"The network, {summary.parameters:,} parameters.",
    )  # fmt: skip


def _discuss_loss(question: Question, history: tuple[Measured, ...]) -> None:
    losses = [point.train_loss for point in history]
    rises = [i + 1 for i in range(1, len(losses)) if losses[i] > losses[i - 1]]
    half = next((i + 1 for i, loss in enumerate(losses) if loss <= losses[0] / 2), None)
    question.discuss(
        f"The training loss falls from {losses[0]:.3f} in the first epoch to {losses[-1]:.3f} in "
        f"the last{f'; it is halved in epoch {half}' if half else ', by less than half'}. "
        + (
            f"It rises in epoch {listed([str(epoch) for epoch in rises])}."
            if rises
            else "It falls in every epoch."
        )
        + f" The training error of the last epoch is {100 * history[-1].train_error:.2f} %."
    )


def _discuss_normalization(
    question: Question, plain: list[float], normalized: list[float], difference: float
) -> None:
    lower = [i + 1 for i, (a, b) in enumerate(zip(plain, normalized, strict=True)) if b < a]
    caught = next((i + 1 for i, loss in enumerate(normalized) if loss <= plain[-1]), None)
    question.discuss(
        f"The training loss is lower with batch normalization in {len(lower)} of {len(plain)} "
        "epochs"
        + (
            f"; it reaches in epoch {caught} what the other reaches in epoch {len(plain)}."
            if caught and caught < len(plain)
            else "."
        )
    )
    faster, kept = len(lower) > len(plain) / 2, difference > 0
    question.discuss(
        (
            "It learns faster, and what it learns holds for test images"
            if faster and kept
            else "It learns faster, and the gain is on the training images alone"
            if faster
            else "It does not learn faster here, and is better on test images"
            if kept
            else "Nothing is gained here"
        )
        + f": {difference:+.2f} points of test accuracy, one run each."
    )


def say_digits(study: Study, question: Question) -> None:
    """In a fast study, that images are not those of the document."""
    if study.fast:
        question.deviate(
            "CIFAR-10",
            f"digits: {len(study.dataset().train) + len(study.dataset().validation):,} gray images "
            "for training, few epochs",
            "--fast uses only what is in the package.",
        )
