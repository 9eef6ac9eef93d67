"""``convscope inspect --trust``: explanation methods put to tests on a data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convscope.cli._judged import JudgedCommand, Settings, Trials, about_is_known, run_judged
from convscope.cli._large import Large
from convscope.cli._opened import opened_data, raise_if_left_out
from convscope.cli._options import Common, Output
from convscope.cli._output import (
    counted,
    emit,
    fresh_name,
    next_step,
    not_kept,
    say,
    table,
    warn,
    wrote,
)

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.explanations import Trust
    from convscope.sharding import Record

SMALL = 112
"""Sides in pixels up to which every method is evaluated without being asked."""

MOST_PASSES_IF_LARGE = 50
"""Methods with more passes per image are evaluated on larger images only if asked."""

COUNT, COUNT_IF_LARGE = 32, 16

WORTH_SAYING = 20
"""Seconds."""


def usual_methods(large: bool) -> tuple[list[str], list[str]]:
    """Explanation methods that are evaluated without being asked, and those that are not.

    Example:
        >>> usual_methods(large=False)[1], usual_methods(large=True)[1]
        ([], ['integrated-gradients', 'rise'])
    """
    from convscope.explanations import EXPLANATIONS, passes_per_map

    most = MOST_PASSES_IF_LARGE if large else math.inf
    usual = [name for name in EXPLANATIONS if passes_per_map(name) <= most]
    return usual, [name for name in EXPLANATIONS if name not in usual]


def judge_methods(
    classifier: Classifier,
    chosen: list[str] | None,
    data: str,
    split: str | None,
    count: int | None,
    large: Large,
    common: Common,
    output: Output,
    look: list[str],
) -> None:
    """Put explanation methods to tests on a sample of a data set.

    Args:
        classifier: The network.
        chosen: The methods; by default all that are quick enough for images of this size.
        data: The data set.
        split: Of the data.
        count: At most this many images.
        large: Going on after a kill, and many workers.
        common: Where data are, and the seed.
        output: What to write.
        look: Words of the command that is suggested next.
    """
    import torch

    from convscope._random import seed_of
    from convscope.explanations import EXPLANATIONS, passes_per_map, trust_passes
    from convscope.pages import seconds_per_pass, trust_judging

    side = min(classifier.input_shape[1:]) > SMALL
    usual, left_out = usual_methods(side)
    if left_out and chosen is None:
        parts = [f"{name} ({passes_per_map(name)} passes per map)" for name in left_out]
        say(f"for images of this size without {' and '.join(parts)}; --show adds them")
    names = usual if chosen is None else chosen
    methods = {name: EXPLANATIONS[name] for name in names}
    most = count if count is not None else COUNT_IF_LARGE if side else COUNT
    opened = opened_data(
        classifier, data, split=split, count=most, common=common, labels_needed=False
    )
    sample = opened.split
    work = trust_passes(classifier, len(sample), names)
    seconds = sum(work.values()) * seconds_per_pass(classifier, sample.to_float())
    if seconds > WORTH_SAYING:
        say(f"about {duration(seconds)} for {counted(len(sample))}; --count and --show change that")
    judging = trust_judging(
        classifier,
        sample,
        methods,
        classes=classifier.num_classes if opened.labeled else 0,
        seed=seed_of(torch.Generator().manual_seed(common.seed)),
    )
    run_judged(
        TRUST,
        judging,
        title="evaluating explanations",
        classifier=classifier,
        subject=sample,
        facts={
            "about": {"data": data, **opened.facts()},
            "title": f"Which explanations to trust: {opened.dataset.name}",
            "look": look,
        },
        large=large,
        as_json=common.as_json,
        output=output,
        rehearsal=Trials(),
    )


def show_trust(
    found: Trust,
    facts: Mapping[str, Any],
    gates: Mapping[str, float],
    *,
    as_json: bool,
    output: Output,
) -> None:
    """Print and write a table of trust, whoever judged.

    Args:
        found: The table.
        facts: What the job says about itself.
        gates: None: the command has no gates.
        as_json: For machines.
        output: What to write.

    Raises:
        PartlyRefused: D21, files were left out.
    """
    from convscope.pages import trust_rows, write_trust

    lines = trust_rows(found)
    if as_json:
        about = {**facts["about"], "images": found.images}
        emit(about | {"methods": lines, "notes": found.notes}, as_json=True)
    else:
        applied = [key for key in lines[0] if any(line[key] is not None for line in lines)]
        shown = [["" if line[key] is None else line[key] for key in applied] for line in lines]
        table(applied, shown, title="which explanations to trust")
    for text in found.notes:
        warn(text)
    if output.out is not None:
        write_trust(
            found, output.out, title=facts["title"], force=output.force, formats=output.kinds
        )
        wrote(output.out)
    raise_if_left_out(facts["about"]["refused"])
    not_kept("the tables are", output.out, name="trust")
    look = ["--show", "grad-cam,occlusion", "--out", fresh_name("look.html")]
    next_step("convscope inspect", *facts["look"], *look)


def _trust(settings: Settings, facts: Settings, head: Record, records: Sequence[Record]) -> Trust:
    from convscope.explanations import trust_of

    return trust_of(head, records)


TRUST = JudgedCommand(
    kind="inspect --trust",
    combine=_trust,
    show=show_trust,
    knows=lambda job: about_is_known(job, "look") and isinstance(job.facts.get("title"), str),
    unit="methods",
)


def duration(seconds: float) -> str:
    """Roughly.

    Example:
        >>> duration(40), duration(400), duration(10000)
        ('40 seconds', '7 minutes', '3 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{round(seconds / 3600)} hours"
