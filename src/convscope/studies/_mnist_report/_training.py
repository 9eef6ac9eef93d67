"""Batch normalization against none, and the report's three tables."""

from __future__ import annotations

from statistics import mean
from typing import Any

from convscope.classifier import Classifier
from convscope.figures import Measure, run_curves
from convscope.models import build, summarize
from convscope.studies._question import Question
from convscope.studies._study import Study
from convscope.training import TrainResult, evaluate

PLAIN, NORMALIZED = "mnist-conv2-fc", "mnist-conv2-fc-bn"
DOCUMENT = {PLAIN: 0.9753, NORMALIZED: 0.9869}
WORDS = {PLAIN: "without", NORMALIZED: "with batch normalization"}

EARLY = 2
"""Epochs in which a network can be said to learn fast."""

CONV2_IN_THE_REPORT = 320
"""Parameters that the report counts for conv2: those of a convolution that sees one map."""


def report_run(study: Study, model: str = NORMALIZED, seed: int | None = None) -> TrainResult:
    """A network as the report trained it. With ``--fast`` few images ask for larger steps."""
    return study.trained(
        model, preset="paper", seed=seed, epochs=10, batch_size=64,
        learning_rate=study.pick(2e-3, 5e-4),
    )  # fmt: skip


def own_network(study: Study) -> Classifier:
    """The network with batch normalization, which the report goes on with."""
    return report_run(study).classifier


def batch_normalization(study: Study, question: Question) -> None:
    """Test accuracy of both networks, and their curves in one chart each."""
    test = study.dataset().test
    seeds = study.pick([study.seed, study.seed + 1], [study.seed])
    found: dict[str, list[float]] = {model: [] for model in DOCUMENT}
    for model, seed in study.each([(model, seed) for model in DOCUMENT for seed in seeds]):
        found[model].append(evaluate(report_run(study, model, seed).classifier, test).accuracy)
    plain, normalized = mean(found[PLAIN]), mean(found[NORMALIZED])
    gain = 100 * (normalized - plain)
    question.find(
        f"{100 * plain:.2f} % of {len(test):,} test images are classified correctly without and "
        f"{100 * normalized:.2f} % with batch normalization; the report has 97.53 and 98.69 %."
    )
    note = "on digits, not MNIST" if study.fast else "batches of 64, Adam at 5e-4, 10 epochs"
    for model, reported in DOCUMENT.items():
        question.compare(
            f"test accuracy {WORDS[model]}", document=f"{100 * reported:.2f} %",
            measured=found[model], unit="share", at_least=study.pick(None, reported), note=note,
        )  # fmt: skip
        question.tile(f"test accuracy {'with' if model == NORMALIZED else 'without'} BN",
                      f"{100 * mean(found[model]):.2f} %",
                      detail=f"report: {100 * reported:.2f} %")  # fmt: skip
    history = {WORDS[model]: report_run(study, model).history for model in DOCUMENT}
    curves: tuple[tuple[Measure, str], ...] = (
        ("accuracy", "Accuracy on the validation images over the epochs, in percent."),
        ("loss", "Cross-entropy on the validation images over the epochs, logarithmic."),
        ("error", "Share of misclassified validation images, in percent, logarithmic."),
    )
    for what, caption in curves:
        question.figure(
            what, run_curves(history, what),
            alt=f"Validation {what} of both networks over the epochs", caption=caption,
        )  # fmt: skip
    if not study.fast:
        question.compare(
            "gain by batch normalization", document="+1.16 points", measured=round(gain, 2),
            words="points", at_least=100 * (DOCUMENT[NORMALIZED] - DOCUMENT[PLAIN]), note=note,
        )  # fmt: skip
    question.number("test_accuracies", found)
    _discuss(question, history, gain, runs=len(seeds))
    if study.fast:
        question.deviate(
            "Adam at 5e-4", "Adam at 2e-3",
            "Ten epochs of 1,259 digits are 190 updates: too few for small steps.",
        )  # fmt: skip
    question.deviate(
        "97.53 and 98.69 %, the images of validation are not told",
        f"{len(study.dataset().train):,} images for training, "
        f"{len(study.dataset().validation):,} for validation, {len(test):,} for testing",
        "Test images are looked at once, after everything is chosen.",
    )


def _discuss(question: Question, history: dict[str, Any], gain: float, *, runs: int) -> None:
    early = {
        name: [point.validation_accuracy for point in points if point.epoch <= EARLY] or [0.0]
        for name, points in history.items()
    }
    plain, normalized = mean(early[WORDS[PLAIN]]), mean(early[WORDS[NORMALIZED]])
    last = {name: points[-1].validation_accuracy for name, points in history.items()}
    question.discuss(
        f"Batch normalization changes the test accuracy by {gain:+.2f} points "
        f"({'one run each' if runs == 1 else f'{runs} runs each'}; the report: +1.16). Over the "
        f"first {EARLY} epochs the mean of {len(early[WORDS[PLAIN]])} validation accuracies is "
        f"{100 * normalized:.1f} % with and {100 * plain:.1f} % without it: "
        + ("it learns faster at first." if normalized > plain else "it does not learn faster here.")
        + f" At the end they are {100 * last[WORDS[NORMALIZED]]:.1f} and "
        f"{100 * last[WORDS[PLAIN]]:.1f} %."
    )


def tables(study: Study, question: Question) -> None:
    """Dimensions, neurons and parameters, with the one number that is wrong in the report."""
    summary = summarize(build(PLAIN), (1, 28, 28))
    sizes = {row.name: row for row in summary.rows}
    shape = "1 x 28 x 28"
    dimensions, counts = [], []
    for row in summary.rows:
        output = " x ".join(map(str, row.output_shape or ()))
        dimensions.append([row.name, row.kind, shape, output])
        shape = output
        if row.parameters:
            theirs = CONV2_IN_THE_REPORT if row.name == "conv2" else row.parameters
            tone = "warn" if theirs != row.parameters else ""
            counts.append([row.name, row.document_neurons, row.neurons, theirs,
                           {"value": row.parameters, "tone": tone}])  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "dimensions", ["layer", "kind", "input", "output"], dimensions,
        caption="Channels x rows x columns of one image on its way through the network.",
    )  # fmt: skip
    question.table(
        "counts",
        ["layer", number | {"title": "neurons, as in the report"},
         number | {"title": "neurons: values computed"},
         number | {"title": "parameters in the report"}, number | {"title": "parameters"}],
        counts,
        caption="The report's neurons are filter taps (32 x 3 x 3 = 288), flattened values (1,568) "
        "and dense outputs. conv2 has 32 x 32 x 9 + 32 = 9,248 parameters, as it sees 32 maps; 320 "
        "would be a convolution that sees one.",
    )  # fmt: skip
    flattened = sizes["fc1"].document_neurons - 500
    for what, document, value in (
        ("neurons of conv1, as counted there", "288", sizes["conv1"].document_neurons),
        ("neurons of conv2, as counted there", "288", sizes["conv2"].document_neurons),
        ("flattened values", "1,568", flattened),
        ("neurons in all, as counted there", "2,654", summary.document_neurons),
    ):
        question.compare(what, document=document, measured=value, unit="count")
    question.compare("parameters of conv2", document="320", measured=sizes["conv2"].parameters,
                     unit="count", note="the report is wrong here")  # fmt: skip
    question.number("document_neurons", summary.document_neurons)
    question.number("neurons", summary.neurons)
    question.number("parameters", summary.parameters)
    question.find(
        f"{summary.parameters:,} parameters and {summary.document_neurons:,} neurons as the report "
        f"counts them ({summary.neurons:,} values computed); conv2 has "
        f"{sizes['conv2'].parameters:,} parameters and not {CONV2_IN_THE_REPORT}."
    )
    question.discuss(
        f"{100 * sizes['fc1'].parameters / summary.parameters:.1f} % of the parameters connect the "
        f"{flattened:,} flattened values with the 500 hidden units. Batch normalization adds 128: "
        "a factor and an offset for each of 64 maps."
    )
    question.deviate(
        f"{CONV2_IN_THE_REPORT} parameters of conv2", f"{sizes['conv2'].parameters:,}",
        "Every filter of conv2 sees all 32 maps.",
    )  # fmt: skip
