"""``convscope eval``: how good a classifier is, with error bars and a gate for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope._metrics import METRICS, gates_of
from convscope.cli._early import check_names, check_number, check_seed
from convscope.cli._gates import failed_gates, read_gates
from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._opened import opened_data, words
from convscope.cli._output import data_place, emit, next_step, table, warn, watching
from convscope.errors import GateFailed, choose

if TYPE_CHECKING:
    from convscope.data import Split
    from convscope.training import Evaluation

MOST_IN_MATRIX = 200
"""Classes up to which JSON has the whole confusion matrix; above, the pairs that occur."""


def evaluate_model(
    model: str,
    /,
    *,
    data: str,
    data_dir: Path | None = None,
    split: Literal["train", "validation", "test", "all"] | None = None,
    limit: int | None = None,
    seed: int = 0,
    fail_under: list[str] | None = None,
    skip_bad: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    offline: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    accept_modified_data: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    allow_nonfinite: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    as_json: Annotated[bool, cyclopts.Parameter(name="--json")] = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Judge a classifier: accuracy with its interval, per class, confusion, calibration, mistakes.

    Args:
        model: Run folder, .safetensors file, name of a network, hf:..., package.module:factory.
        data: digits, mnist, cifar10, shapes, pets or folder:DIRECTORY.
        data_dir: Folder that holds the data files.
        split: train, validation, test or all. By default test; all images of a folder that has no
            test folder, if the network was not trained on it.
        limit: Only so many images: a sample with every class in proportion.
        seed: Of that sample.
        fail_under: Exit with 1 unless reached: accuracy=0.98, mean-per-class=0.97, top3=0.99;
            calibration-error=0.02 and loss=0.1 are upper limits. Several with commas; a number
            alone means accuracy.
        skip_bad: Leave files out that cannot be read; exit with 8 if there were any.
        offline: Never download.
        accept_modified_data: Go on with data files whose checksum is not the known one.
        allow_nonfinite: Load weights with NaN or infinity.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("eval"), bare="accuracy")
    check_names(models=[model], data=data)
    check_number("--limit", limit)
    check_seed(seed)
    from convscope.training import evaluate

    classifier = network.load(model, allow_nonfinite=allow_nonfinite)
    for flag in classifier.flags:
        warn(flag)
    opened = opened_data(
        classifier,
        data,
        split=split,
        count=limit,
        seed=seed,
        data_dir=data_dir,
        offline=offline,
        accept_modified=accept_modified_data,
        skip_bad=skip_bad,
    )
    part = opened.split
    with watching(f"predicting {len(part):,} {part.name} images"):
        result = evaluate(classifier, part)
    facts = report(result, part)
    for name in gates:
        choose("gate", name, result.metrics())
    about = {"model": model, "source": classifier.source, "data": data, **opened.facts()}
    about["execution"] = classifier.describe()["execution"]
    if as_json:
        emit(about | facts, as_json=True)
    else:
        _print(result)
    failed = failed_gates(gates, result.metrics(), opened.absent)
    if failed:
        raise GateFailed("; ".join(failed))
    opened.raise_if_refused()
    again = words("convscope", "audit", model) + network.again()
    next_step(f"{again} {words('--data', data)}{data_place(data_dir)}")


def report(result: Evaluation, part: Split) -> dict[str, Any]:
    """The numbers of an evaluation by name, without the per-image ones."""
    many = len(result.class_names) > MOST_IN_MATRIX
    pairs = result.confusion.nonzero().tolist() if many else []
    return {
        **result.summary(),
        "per_class": result.per_class,
        "class_names": result.class_names,
        "confusion": None if many else result.confusion,
        "confusion_pairs": [
            {"true": true, "predicted": read, "images": int(result.confusion[true, read])}
            for true, read in pairs
        ],
        "mistakes": [
            {
                "row": part.position(row),
                "image": part.names[row] if part.names else f"{part.name}/{part.position(row)}",
                "true": result.class_names[label],
                "predicted": result.class_names[predicted],
                "confidence": confidence,
            }
            for row, label, predicted, confidence in zip(
                result.mistakes.rows.tolist(),
                result.mistakes.labels.tolist(),
                result.mistakes.predicted.tolist(),
                result.mistakes.confidences.tolist(),
                strict=True,
            )
        ],
    }


def _print(result: Evaluation) -> None:
    low, high = result.interval
    what = f"all {result.n:,}" if result.split == "all" else f"{result.n:,} {result.split}"
    text = METRICS["accuracy"].text
    shown = {
        f"accuracy on {what} images": f"{text(result.accuracy)}"
        f"  (95 % interval {text(low)} to {text(high)})"
    }
    for name, value in result.metrics().items():
        if name != "accuracy":
            shown[METRICS[name].title or name.replace("-", " ")] = METRICS[name].text(value)
    emit(shown)
    counts = result.confusion
    present = (counts.sum(dim=1) > 0).nonzero()[:, 0]
    order = present[result.per_class[present].argsort(stable=True)].tolist()[:10]
    rows = []
    for label in order:
        others = counts[label].clone()
        others[label] = 0
        mixed = int(others.argmax())
        rows.append(
            [
                result.class_names[label],
                int(counts[label].sum()),
                f"{result.per_class[label].item():.2%}",
                f"{result.class_names[mixed]} ({int(others[mixed])})" if others.any() else "-",
            ]
        )
    title = "classes" if len(order) == len(counts) else f"the {len(order)} hardest classes"
    table(["class", "images", "correct", "most often mistaken for"], rows, title=title)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(evaluate_model, name="eval")
