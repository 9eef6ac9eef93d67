"""``convscope eval``: how good a classifier is, with error bars and a gate for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import cyclopts

from convscope._metrics import METRICS, gates_of
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._judged import (
    JudgedCommand,
    Rehearsal,
    Settings,
    about_is_known,
    run_judged,
)
from convscope.cli._large import AT_ONCE, LargeOptions
from convscope.cli._opened import opened_data, opened_network, raise_if_left_out
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    DataName,
    Flag,
    ModelName,
    Output,
    OwnNetwork,
    SplitName,
    check_names,
    check_number,
    check_seed,
)
from convscope.cli._output import data_place, emit, next_step, table
from convscope.errors import GateFailed, choose

if TYPE_CHECKING:
    from convscope.data import Split
    from convscope.sharding import Job, Record
    from convscope.training import Evaluation

Gates = Annotated[
    list[str],
    cyclopts.Parameter(help=gates_help("eval", "accuracy=0.98,top3=0.99", bare="accuracy")),
]

MOST_IN_MATRIX = 200
"""Classes up to which JSON has the whole confusion matrix; above, the pairs that occur."""


def evaluate_model(
    model: ModelName,
    /,
    *,
    data: DataName,
    split: SplitName | None = None,
    count: int | None = None,
    tta: Literal["none", "mirror", "mirror-shift"] = "none",
    fail_under: Gates | None = None,
    allow_nonfinite: Flag = False,
    large: LargeOptions = AT_ONCE,
    common: CommonOptions = USUAL,
    network: OwnNetwork = NOTHING,
) -> None:
    """Judge a classifier: accuracy with its interval, per class, confusion, calibration, mistakes.

    Args:
        model: The network.
        data: The data set.
        split: train, validation, test or all. By default test; all images of a folder that has no
            test folder, unless convscope trained the network on a folder.
        count: At most this many images: a sample with every class in proportion; all by default.
        tta: Test-time augmentation: average the logits of each image and its mirror image, or of
            both moved by a pixel, too. Accuracy without it is reported beside.
        fail_under: Gates, as NAME=NUMBER.
        allow_nonfinite: Load weights with NaN or infinity.
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("eval"), bare="accuracy")
    check_names(models=[model], data=data)
    check_number("--count", count)
    check_seed(common.seed)
    large.chosen()
    import torch

    from convscope._random import seed_of
    from convscope.training import AccuracyJudging

    classifier = opened_network(
        model, network=network, device=common.device, allow_nonfinite=allow_nonfinite
    )
    opened = opened_data(
        classifier,
        data,
        split=split,
        count=count,
        common=common,
    )
    part = opened.split

    def judging_of(images: Split) -> AccuracyJudging:
        seed = seed_of(torch.Generator().manual_seed(0))
        return AccuracyJudging(classifier, images, tta=tta, seed=seed)

    about = {"model": model, "source": classifier.source, "data": data, **opened.facts()}
    about["execution"] = classifier.describe()["execution"]
    facts = {
        "about": about,
        "name": part.name,
        "rows": None if part.rows is None else part.rows.tolist(),
        "names": None if part.names is None else list(part.names),
        "audit": [model, *network.again(), "--data", data, *data_place(common.data_dir)],
    }
    run_judged(
        EVAL,
        judging_of(part),
        title=f"predicting {len(part):,} {part.name} images",
        classifier=classifier,
        subject=part,
        facts=facts,
        large=large,
        gates=gates,
        as_json=common.as_json,
        rehearsal=Rehearsal(of=judging_of, few=64, more=192),
    )


def show_accuracy(
    result: Evaluation,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output = NOWHERE,
) -> None:
    """Print and write an evaluation, whoever judged it.

    Args:
        result: What was found.
        facts: What the job says about itself.
        gates: Thresholds by name.
        as_json: For machines.
        output: What to write.

    Raises:
        GateFailed: A threshold was not reached.
        PartlyRefused: D21, files were left out.
    """
    about = dict(facts["about"])
    numbers = report(result, Places(facts["name"], facts["rows"], facts["names"]))
    for name in gates:
        choose("gate", name, result.metrics())
    if as_json:
        emit(about | numbers, as_json=True)
    else:
        _print(result)
    output.write(result)
    failed = failed_gates(gates, result.metrics(), about["absent_classes"])
    if failed:
        raise GateFailed("; ".join(failed))
    raise_if_left_out(about["refused"])
    next_step("convscope audit", *facts["audit"])


class Places(NamedTuple):
    """Where images come from.

    Attributes:
        name: Of the split.
        rows: Positions in the split as it was opened; None: it is all of it.
        names: Of images that come as files.
    """

    name: str
    rows: Sequence[int] | None
    names: Sequence[str] | None

    def position(self, row: int) -> int:
        """Where image `row` stands in the split as it was opened."""
        return row if self.rows is None else self.rows[row]


def report(result: Evaluation, part: Places) -> dict[str, Any]:
    """The numbers of an evaluation by name, without the per-image ones."""
    many = len(result.class_names) > MOST_IN_MATRIX
    pairs = result.confusion.nonzero().tolist() if many else []
    return {
        **result.summary(),
        "per_class": result.per_class,
        "class_names": result.class_names,
        "confusion": None if many else result.confusion,
        "confusion_pairs": [
            {"true": true, "predicted": predicted, "images": int(result.confusion[true, predicted])}
            for true, predicted in pairs
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
    if result.tta != "none":
        shown["test-time augmentation"] = f"{result.tta}; accuracy without it " + text(
            result.accuracy_without_tta or 0.0
        )
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


def _accuracy(
    settings: Settings, facts: Settings, head: Record, records: Sequence[Record]
) -> Evaluation:
    from convscope.training import accuracy_of

    return accuracy_of(settings, records)


def _is_eval(job: Job) -> bool:
    """Whether a job says where its images come from."""
    facts = job.facts
    each = all(
        one is None or (isinstance(one, list) and len(one) == job.rows)
        for one in (facts.get("rows"), facts.get("names"))
    )
    return each and isinstance(facts.get("name"), str) and about_is_known(job, "audit")


EVAL = JudgedCommand(
    kind="eval",
    combine=_accuracy,
    show=show_accuracy,
    knows=_is_eval,
    gates="eval",
    bare="accuracy",
)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(evaluate_model, name="eval")
