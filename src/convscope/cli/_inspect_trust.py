"""``convscope inspect MODEL --trust``: which explanations to trust."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from convscope.cli._opened import opened_data
from convscope.cli._options import Common, Output
from convscope.cli._output import counted, emit, say, table, warn, watching, wrote

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
    split: str | None,
    count: int | None,
    common: Common,
    output: Output,
) -> None:
    """Put explanation methods to tests on a sample of a data set.

    Args:
        classifier: The network.
        chosen: The methods; by default all that are quick enough for images of this size.
        data: The data set.
        split: Of the data.
        count: At most this many images.
        common: Where data are, and the seed.
        output: What to write.
    """
    import torch

    from convscope.explanations import EXPLANATIONS, passes_per_map, trust_passes
    from convscope.pages import seconds_per_pass, trust_on, trust_rows, write_trust

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
        classifier, data, split=split, count=most, common=common, labels_needed=False
    )
    sample, dataset = opened.split, opened.dataset
    generator = torch.Generator().manual_seed(common.seed)
    work = trust_passes(classifier, len(sample), methods)
    seconds = sum(work.values()) * seconds_per_pass(classifier, sample.to_float())
    if seconds > WORTH_SAYING:
        say(f"about {duration(seconds)} for {counted(len(sample))}; --count and --show change that")
    with watching("evaluating explanations"):
        found = trust_on(
            classifier,
            sample,
            methods,
            classes=classifier.num_classes if opened.labeled else 0,
            generator=generator,
        )
    lines = trust_rows(found)
    if common.as_json:
        facts = {"data": data, **opened.facts()}
        emit(facts | {"images": found.images, "methods": lines, "notes": found.notes}, as_json=True)
    else:
        applied = [key for key in lines[0] if any(line[key] is not None for line in lines)]
        shown = [["" if line[key] is None else line[key] for key in applied] for line in lines]
        table(applied, shown, title="which explanations to trust")
    for text in found.notes:
        warn(text)
    if output.out is not None:
        title = f"Which explanations to trust: {dataset.name}"
        write_trust(found, output.out, title=title, force=output.force, formats=output.kinds)
        wrote(output.out)
    opened.raise_if_refused()


def duration(seconds: float) -> str:
    """Roughly.

    Example:
        >>> duration(40), duration(400), duration(10000)
        ('40 seconds', '7 minutes', '3 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{round(seconds / 3600)} hours"
