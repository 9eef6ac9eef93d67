"""``convscope eval``: how good a classifier is, with error bars and a gate for scripts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._output import data_place, emit, next_step, parse_gates, progress, table, warn
from convscope.errors import DataError, GateFailed, choose

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Split
    from convscope.training import Evaluation

SHORT = {"acc": "accuracy", "ece": "calibration-error", "error": "calibration-error"}
AT_MOST = ("calibration-error", "loss")
GATES = ("accuracy", "mean-per-class", "worst-class", "top1", "top3", "top5", *AT_MOST)


def evaluate_model(
    model: str,
    /,
    *,
    data: str,
    data_dir: Path | None = None,
    split: str = "test",
    limit: int | None = None,
    fail_under: list[str] | None = None,
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
        split: train, validation or test.
        limit: Only the first so many images.
        fail_under: Exit with 1 unless reached: accuracy=0.98, mean-per-class=0.97, top3=0.99;
            calibration-error=0.02 and loss=0.1 are upper limits. Several with commas.
        offline: Never download.
        accept_modified_data: Go on with data files whose checksum is not the known one.
        allow_nonfinite: Load weights with NaN or infinity.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    gates = {SHORT.get(name, name): least for name, least in parse_gates(fail_under or []).items()}
    for name in gates:
        choose("gate", name, GATES)
    from convscope.data import open_dataset
    from convscope.training import evaluate

    classifier = network.load(model, allow_nonfinite=allow_nonfinite)
    for flag in classifier.flags:
        warn(flag)
    dataset = open_dataset(
        data,
        data_dir=data_dir,
        offline=offline,
        accept_modified=accept_modified_data,
        input_shape=classifier.input_shape,
    )
    for warning in dataset.warnings:
        warn(warning)
    part = match_labels(dataset.split(split), dataset.class_names, classifier)
    if limit is not None:
        part = part.subset(range(min(limit, len(part))))
    with progress(f"reading {len(part):,} {split} images", total=len(part)) as bar:
        done = 0

        def on_progress(so_far: int, total: int) -> None:
            nonlocal done
            bar.advance(so_far - done)
            done = so_far

        result = evaluate(classifier, part, on_progress=on_progress)
    facts = report(result)
    for name in gates:
        choose("gate", name, measures(result))
    about = {"model": model, "source": classifier.source, "data": data}
    if as_json:
        emit(about | facts, as_json=True)
    else:
        _print(result)
    failed = check_gates(result, gates)
    if failed:
        raise GateFailed("; ".join(failed))
    next_step(f"convscope audit {model}{network.again()} --data {data}{data_place(data_dir)}")


def match_labels(part: Split, names: tuple[str, ...], classifier: Classifier) -> Split:
    """The split with the classifier's class numbers, matched by name where names allow it.

    Raises:
        DataError: The data have other classes, and more of them than the network.
    """
    known = {name: index for index, name in enumerate(classifier.class_names)}
    if names == classifier.class_names:
        return part
    if all(name in known for name in names) and len(known) == classifier.num_classes:
        import torch

        warn(f"the data have other class numbers; matched by name: {', '.join(names[:5])}, ...")
        return replace(part, labels=torch.tensor([known[name] for name in names])[part.labels])
    if len(names) > classifier.num_classes:
        raise DataError(
            f"the data have {len(names)} classes, the network {classifier.num_classes}",
            code="M21",
            expected=f"classes such as {', '.join(classifier.class_names[:5])}",
        )
    ours, theirs = ", ".join(classifier.class_names[:3]), ", ".join(names[:3])
    warn(f"class names differ (network: {ours}, ...; data: {theirs}, ...); matched by number")
    return part


def report(result: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation by name, without the per-image ones."""
    return {
        "split": result.split,
        "n": result.n,
        "accuracy": result.accuracy,
        "interval": result.interval,
        "mean_per_class": result.mean_per_class,
        "per_class": result.per_class,
        "class_names": result.class_names,
        "loss": result.loss,
        "top": {f"{k}": share for k, share in zip(result.top, result.top_accuracy, strict=True)},
        "calibration_error": result.calibration_error,
        "confusion": result.confusion,
        "mistakes": [
            {
                "row": row,
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


def measures(result: Evaluation) -> dict[str, float]:
    """What a gate can ask for."""
    found = {
        "accuracy": result.accuracy,
        "mean-per-class": result.mean_per_class,
        "worst-class": min(v for v in result.per_class.tolist() if not math.isnan(v)),
        "calibration-error": result.calibration_error,
        "loss": result.loss,
    }
    for k, share in zip(result.top, result.top_accuracy, strict=True):
        found[f"top{k}"] = share
    return found


def check_gates(result: Evaluation, gates: dict[str, float]) -> list[str]:
    """One sentence per gate that was not reached."""
    found, failed = measures(result), []
    for name, limit in gates.items():
        value = found[name]
        passed = value <= limit if name in AT_MOST else value >= limit
        if not passed:
            failed.append(
                f"{name} is {value:.4f}, {'above' if name in AT_MOST else 'under'} {limit}"
            )
    return failed


def _print(result: Evaluation) -> None:
    low, high = result.interval
    emit(
        {
            f"accuracy on {result.n:,} {result.split} images": f"{result.accuracy:.2%}"
            f"  (95 % interval {low:.2%} to {high:.2%})",
            "mean per class": f"{result.mean_per_class:.2%}",
            "top": ", ".join(
                f"{k}: {share:.2%}"
                for k, share in zip(result.top, result.top_accuracy, strict=True)
            ),
            "loss (nats)": f"{result.loss:.4f}",
            "calibration error": f"{result.calibration_error:.4f}",
        }
    )
    counts = result.confusion
    order = result.per_class.nan_to_num(2.0).argsort().tolist()[:10]
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
    title = "classes" if len(order) == len(counts) else "the ten hardest classes"
    table(["class", "images", "read rightly", "most often mistaken for"], rows, title=title)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(evaluate_model, name="eval")
