"""Problem 3 Part 3: a deeper and better network."""

from __future__ import annotations

from convscope.figures import per_class_bars, run_curves
from convscope.models import MODELS, NetworkSummary, summarize
from convscope.studies._homework_2._small_networks import (
    NORMALIZED,
    PLAIN,
    better,
    judged,
    on_images,
    say_digits,
    settings,
    trained,
)
from convscope.studies._question import Question
from convscope.studies._study import Study
from convscope.training import evaluate

Number = {"kind": "number"}
Share = {"kind": "percent"}


def deeper_network(study: Study, question: Question) -> None:
    """A network with more layers that is better than both, and what it costs."""
    name = better(study)
    models = (PLAIN, NORMALIZED, name)
    runs = {model: trained(study, model) for model in models}
    found = {model: judged(study, model) for model in models}
    chosen = settings(study, name)
    views = evaluate(runs[name].classifier, study.dataset().test, tta=chosen.tta)
    best = max(found[PLAIN].accuracy, found[NORMALIZED].accuracy)
    accuracy = found[name].accuracy
    question.find(
        f"{name} classifies {100 * accuracy:.2f} % of the test images correctly, "
        f"{abs(100 * (accuracy - best)):.2f} points {'more' if accuracy >= best else 'less'} than "
        f"the better of the two before ({100 * best:.2f} %)."
    )
    question.tile("deeper network", f"{100 * accuracy:.2f} %", detail=name)
    question.compare(
        "test accuracy", document="better than the networks before", measured=accuracy,
        unit="share", at_least=study.pick(None, best), note=on_images(study),
    )  # fmt: skip
    question.compare(
        "the same, mean over views of each image", document="not asked for",
        measured=views.accuracy, unit="share", note=f"test-time augmentation: {chosen.tta}",
    )  # fmt: skip
    sizes = {
        model: summarize(run.classifier.module, run.classifier.input_shape)
        for model, run in runs.items()
    }
    question.table(
        "networks",
        ["network", {"title": "convolutions", **Number}, {"title": "parameters", **Number},
         {"title": "multiply-adds", **Number}, {"title": "epochs", **Number},
         {"title": "test accuracy", **Share}, {"title": "test error", **Share}],
        [
            [model, convolutions(sizes[model]), sizes[model].parameters,
             sizes[model].multiply_adds, settings(study, model).epochs,
             round(found[model].accuracy, 4), round(1 - found[model].accuracy, 4)]
            for model in models
        ],
        caption="Multiply-adds: for one image.",
        wide=True,
    )  # fmt: skip
    histories = {model: run.history for model, run in runs.items()}
    question.figure(
        "error", run_curves(histories, "error", parts=("training",)),
        alt="Training error of the three networks over the epochs",
        caption="Misclassified training images over the epochs, logarithmic: errors, because the "
        "deeper network's loss is smoothed over the classes and cannot be compared. It sees the "
        "images augmented, which is harder.",
    )  # fmt: skip
    question.figure(
        "per-class", per_class_bars(found[name]), alt="Test accuracy of each class",
        caption="Test accuracy of each class (dot) with its 95 % interval (line); dashed: mean.",
    )  # fmt: skip
    question.number("test_accuracy", accuracy)
    question.number("test_accuracy_views", views.accuracy)
    depth = convolutions(sizes[name]), convolutions(sizes[PLAIN])
    work = sizes[name].multiply_adds / sizes[PLAIN].multiply_adds
    question.discuss(
        f"{depth[0]} convolutions in place of {depth[1]}, {sizes[name].parameters:,} parameters in "
        f"place of {sizes[PLAIN].parameters:,}, and {work:.1f} times the multiply-adds. Its "
        "filters are 3 x 3 or smaller: two of them see 5 x 5 pixels with fewer weights and a "
        "ReLU between them."
    )
    if accuracy < best:
        question.discuss(
            f"It is not better here: {chosen.epochs} epochs of {len(study.dataset().train):,} "
            f"images are {chosen.epochs * len(study.dataset().train):,} looks, in which a deep "
            "network does not find its way. "
            + ("Without --fast it has CIFAR-10 and its whole recipe." if study.fast else
               "More epochs are what it wants.")
        )  # fmt: skip
    question.discuss(
        f"Recipe: {chosen.epochs} epochs, {chosen.summary()}. Initialization: "
        f"{MODELS[name].initialization}."
    )
    say_digits(study, question)


def convolutions(summary: NetworkSummary) -> int:
    """Convolutions of a network.

    Example:
        >>> from convscope.models import build
        >>> convolutions(summarize(build("cifar-11x11"), (3, 32, 32)))
        3
    """
    return sum(row.kind == "Conv2d" for row in summary.rows)
