"""``convscope inspect MODEL --trust``: whether to believe explanations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.cli._inspect_words import counted, duration
from convscope.cli._opened import opened_data
from convscope.cli._output import emit, say, table, warn, watching, wrote

if TYPE_CHECKING:
    from convscope.classifier import Classifier

SMALL = 112
"""Sides in pixels up to which every method is judged without being asked."""

MOST_PASSES_IF_LARGE = 50
"""Methods with more passes per image are judged on larger images only if asked."""

COUNT, COUNT_IF_LARGE = 32, 16

WORTH_SAYING = 20
"""Seconds."""


def judge_methods(
    classifier: Classifier,
    chosen: list[str] | None,
    data: str,
    data_dir: Path | None,
    split: str | None,
    count: int | None,
    skip_bad: bool,
    offline: bool,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    import torch

    from convscope.explanations import EXPLANATIONS, passes_per_map, trust_passes
    from convscope.studies._inspection import write_trust
    from convscope.studies._inspection_tables import trust_rows
    from convscope.studies._trust import seconds_per_pass, trust_on

    large = min(classifier.input_shape[1:]) > SMALL
    most_passes = MOST_PASSES_IF_LARGE if large else math.inf
    usual = [name for name in EXPLANATIONS if passes_per_map(name) <= most_passes]
    if large and chosen is None:
        out_of_it = [
            f"{n} ({passes_per_map(n)} passes per map)" for n in EXPLANATIONS if n not in usual
        ]
        say(f"for images of this size without {' and '.join(out_of_it)}; --show adds them")
    names = usual if chosen is None else chosen
    methods = {name: EXPLANATIONS[name] for name in names}
    most = count if count is not None else COUNT_IF_LARGE if large else COUNT
    opened = opened_data(
        classifier, data, split=split, count=most, seed=seed, data_dir=data_dir, offline=offline,
        skip_bad=skip_bad, labels_needed=False,
    )  # fmt: skip
    sample, dataset = opened.split, opened.dataset
    generator = torch.Generator().manual_seed(seed)
    work = trust_passes(classifier, len(sample), methods)
    seconds = sum(work.values()) * seconds_per_pass(classifier, sample.floats())
    if seconds > WORTH_SAYING:
        say(f"about {duration(seconds)} for {counted(len(sample))}; --count and --show change that")
    with watching("testing explanations"):
        found = trust_on(
            classifier,
            sample,
            methods,
            classes=classifier.num_classes if opened.labelled else 0,
            generator=generator,
        )
    lines = trust_rows(found)
    if as_json:
        facts = {"data": data, **opened.facts()}
        emit(facts | {"images": found.images, "methods": lines, "notes": found.notes}, as_json=True)
    else:
        applied = [key for key in lines[0] if any(line[key] is not None for line in lines)]
        shown = [["" if line[key] is None else line[key] for key in applied] for line in lines]
        table(applied, shown, title="whom to believe")
    for text in found.notes:
        warn(text)
    if out is not None:
        write_trust(found, out, title=f"Whom to believe: {dataset.name}", force=force)
        wrote(out)
    opened.raise_if_refused()
