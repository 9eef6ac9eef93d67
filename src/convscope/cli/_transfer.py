"""``convscope transfer``: a linear classifier for your classes, on the features of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from convscope._metrics import METRICS, gates_of
from convscope.cli._gates import failed_gates, gates_help, read_gates
from convscope.cli._large import AT_ONCE, LargeOptions, Pictures, judged
from convscope.cli._opened import opened_network
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    Common,
    CommonOptions,
    DataName,
    ModelName,
    Output,
    OutputOptions,
    OwnNetwork,
    check_names,
    check_seed,
)
from convscope.cli._output import (
    SCREENFUL,
    data_place,
    emit,
    not_kept,
    table,
    warn,
    watching,
    wrote,
)
from convscope.cli._trials import Trial, show_trials, tried
from convscope.errors import GateFailed, PartlyRefused, UsageError, choose
from convscope.files import checked_path
from convscope.transfer import TRANSFER_CLASSIFIERS

if TYPE_CHECKING:
    from convscope.transfer import FeaturesJudging, TransferResult

Gates = Annotated[
    list[str],
    cyclopts.Parameter(
        help=gates_help("transfer", "mean-per-class=0.9,accuracy=0.9", bare="mean-per-class")
    ),
]
ClassifierName = Annotated[
    str,
    cyclopts.Parameter(
        help=f"{', '.join(TRANSFER_CLASSIFIERS)}: linear classifiers of scikit-learn."
    ),
]


def transfer_learning(
    model: ModelName,
    /,
    *,
    data: DataName,
    classifier: ClassifierName = "logistic",
    layer: str | None = None,
    cache: Path | None = None,
    fail_under: Gates | None = None,
    large: LargeOptions = AT_ONCE,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Teach a linear classifier your classes, from the features in front of the last layer.

    Its regularization is chosen by cross-validation on all images but those of the test split,
    which are looked at once, at the end. Features are kept: a run that was stopped goes on where it
    was, and another --classifier is a matter of seconds.

    Args:
        model: The network.
        data: The data set.
        classifier: The linear classifier.
        layer: A layer whose output are the features; by default what enters the last layer.
        cache: Folder of features that are kept; by default in the user's cache.
        fail_under: Gates, as NAME=NUMBER.
        large: Going on after a kill, and many workers.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    gates = read_gates(fail_under or [], gates_of("transfer"), bare="mean-per-class")
    known = TRANSFER_CLASSIFIERS.known(classifier)
    method = choose("classifier", known, TRANSFER_CLASSIFIERS, aliases=TRANSFER_CLASSIFIERS.aliases)
    output.check()
    check_names(models=[model], data=data)
    check_seed(common.seed)
    if cache is not None:
        checked_path(cache)
    shard = large.chosen()
    if cache is not None and large.keeps(shard):
        raise UsageError(
            "--cache with --resume, --part or --shard",
            code="U11",
            expected="one place for features: a part is cut by position, a cache by image",
        )
    import torch

    from convscope.transfer import (
        FeaturesJudging,
        feature_cache_folder,
        transfer,
        transfer_of,
    )

    opened = opened_network(model, network=network, device=common.device)
    generator = torch.Generator().manual_seed(common.seed)
    if not (large.keeps(shard) or large.dry_run):
        with watching(f"learning {data}"):
            found = transfer(
                opened,
                data,
                method=method,
                layer=layer,
                cache=cache or feature_cache_folder(),
                data_dir=common.data_dir,
                offline=common.offline,
                skip_bad=common.skip_bad,
                accept_modified=common.accept_modified,
                generator=generator,
            )
        _show(found, model, gates, common, output)
        return
    judging = FeaturesJudging.of(
        opened,
        data,
        layer=layer,
        data_dir=common.data_dir,
        offline=common.offline,
        accept_modified=common.accept_modified,
        skip_bad=common.skip_bad,
    )
    if large.dry_run:
        show_trials(
            opened, judging, judging, shard, unit="images", as_json=common.as_json,
            after=partial(_tried_learning, judging, method),
        )  # fmt: skip
        return
    some, labels = judging.first()
    with judged(
        judging,
        large,
        f"features of {data}",
        classifier=opened,
        subject=Pictures(some, labels, torch.arange(len(labels))),
        facts={},
        unit="batches",
        again=[
            "convscope transfer", model, *network.again(), "--data", data,
            *data_place(common.data_dir), "--classifier", method,
            *(["--layer", layer] if layer else []),
        ],
    ) as records:  # fmt: skip
        if records is not None:
            with watching(f"learning {data}"):
                found = transfer_of(judging, records[1], method=method, generator=generator)
            _show(found, model, gates, common, output)


def _tried_learning(judging: FeaturesJudging, method: str) -> Trial:
    """What learning takes when all features are there."""
    from convscope.transfer import rehearse_learning

    trial, folds = tried(lambda: rehearse_learning(judging, method=method), math.inf)
    return trial._replace(seconds=folds * trial.seconds, forwards=0)


def _show(
    found: TransferResult,
    model: str,
    gates: Mapping[str, float],
    common: Common,
    output: Output,
) -> None:
    """Print and write what was learned.

    Raises:
        GateFailed: A threshold was not reached.
        PartlyRefused: D21, images were left out.
    """
    from convscope.pages import class_table, mistake_rows, write_transfer

    for note in found.notes:
        warn(note)
    classes, wrong = class_table(found), mistake_rows(found)
    if common.as_json:
        facts = {"model": model, **found.summary(), "classes": classes, "mistakes": wrong}
        facts |= {"class_names": found.class_names, "confusion": found.confusion}
        emit(facts | {"notes": found.notes, "refused": found.refused}, as_json=True)
    else:
        text = METRICS["accuracy"].text
        low, high = found.mean_per_class_interval
        emit(
            {
                "mean per class": f"{text(found.mean_per_class)} of {found.n:,} test images"
                f"  (95 % interval {text(low)} to {text(high)})",
                "accuracy": f"{text(found.accuracy)}  "
                f"({text(found.interval[0])} to {text(found.interval[1])})",
                "worst class": text(found.worst_class),
                "classifier": f"{found.classifier}, {found.parameter} = {found.value:g} "
                f"(cross-validation: {text(float(found.fold_scores.mean(dim=1).max()))})",
                "features": found.features,
            }
        )
        kept = output.out is not None
        table(
            ["class", "images", "correct", "most often mistaken for"],
            [
                [row["class"], row["test images"], _share(row["correct"]), row[_MIXED] or "-"]
                for row in sorted(classes, key=lambda row: (row["correct"] is None, row["correct"]))
            ],
            title="classes, the hardest first",
            most=SCREENFUL,
            written=kept,
        )
        if wrong:
            cells = [list(row.values()) for row in wrong]
            table(list(wrong[0]), cells, "worst mistakes", most=SCREENFUL, written=kept)
    if output.out is not None:
        write_transfer(found, output.out, force=output.force, formats=output.kinds)
        wrote(output.out)
    absent = [row["class"] for row in classes if not row["test images"]]
    failed = failed_gates(gates, found.metrics(), absent)
    if failed:
        raise GateFailed("; ".join(failed))
    for reason in found.refused:
        warn(reason)
    if found.refused:
        count = len(found.refused)
        raise PartlyRefused(
            f"{count} item{'s were' if count > 1 else ' was'} left out; the rest is done",
            code="D21",
        )
    not_kept("the pictures are", output.out, name="transfer")


_MIXED = "most often mistaken for"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(transfer_learning, name="transfer")
