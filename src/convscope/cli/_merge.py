"""``convscope merge``: one report of what several workers have judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cyclopts

from convscope._metrics import Command, gates_of
from convscope.cli._attack_judge import show_certification, show_evaluation
from convscope.cli._eval import show_accuracy
from convscope.cli._gates import read_gates
from convscope.cli._options import NOWHERE, Json, OutputOptions
from convscope.cli._output import say, warn
from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.sharding import Job, Record, collected, parts_below

Gates = Annotated[
    list[str],
    cyclopts.Parameter(help="Gates, as NAME=NUMBER: those of the command that judged."),
]


class Kind(NamedTuple):
    """A command whose parts can be put together.

    Attributes:
        command: Whose gates it has; None: it has none.
        bare: The gate that a number alone means.
        combine: The result of the records of all blocks.
        show: Prints and writes it.
    """

    command: Command | None
    bare: str
    combine: Callable[[Job, Record, Sequence[Record]], Any]
    show: Callable[..., None]


def _evaluation(job: Job, head: Record, records: Sequence[Record]) -> Any:
    from convscope.robustness import robustness_of

    return robustness_of(job.settings, head, records)


def _accuracy(job: Job, head: Record, records: Sequence[Record]) -> Any:
    from convscope.training import accuracy_of

    return accuracy_of(job.settings, records)


def _certification(job: Job, head: Record, records: Sequence[Record]) -> Any:
    from convscope.robustness import certification_of

    return certification_of(job.settings, records)


KINDS = {
    "attack evaluate": Kind("attack evaluate", "robust", _evaluation, show_evaluation),
    "attack certify": Kind(None, "", _certification, show_certification),
    "eval": Kind("eval", "accuracy", _accuracy, show_accuracy),
}
"""By the kind of a job."""


def merge(
    *parts: Path,
    fail_under: Gates | None = None,
    as_json: Json = False,
    output: OutputOptions = NOWHERE,
) -> None:
    """Put the parts of a job together: the report that a single process would have given.

    No network, no data and no accelerator are needed. Every image has to be in exactly one part.

    Args:
        parts: Folders that were given to --part, or folders that hold several of them.
        fail_under: Gates, as NAME=NUMBER: those of the command that judged.
        as_json: Print JSON.
        output: What to write.
    """
    if not parts:
        raise UsageError(
            "nothing to merge", code="U01", expected="the folders that were given to --part"
        )
    output.check()
    found = parts_below(parts)
    job = found[0].job
    if job.kind not in KINDS:
        raise UsageError(
            f"holds parts of {job.kind!r}", code="U01", where=found[0].folder,
            expected=f"parts of {', '.join(KINDS)}",
        )  # fmt: skip
    kind = KINDS[job.kind]
    _check_facts(job, found[0].folder)
    known = gates_of(kind.command) if kind.command else ()
    gates = read_gates(fail_under or [], known, bare=kind.bare)
    head, records, notes = collected(found)
    for note in notes:
        warn(note)
    say(f"{job.kind}: {job.rows:,} images of {len(found)} part{'s' * (len(found) > 1)}")
    try:
        result = kind.combine(job, head, records)
    except ConvscopeError:
        raise
    except Exception as error:  # what the records hold may be anything
        raise DataError(
            f"holds no records of {job.kind}: {type(error).__name__}: {error}",
            code="T24",
            where=found[0].folder,
        ) from error
    kind.show(result, job.facts, gates, as_json=as_json, output=output)


def _check_facts(job: Job, where: Path) -> None:
    """What a report says about the job comes from a file, too.

    Raises:
        DataError: T24, something is not there, or of another type.
    """
    about, facts = job.facts.get("about"), job.facts
    good = isinstance(about, dict) and all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in (about.get("refused"), about.get("absent_classes"),
                      facts.get("audit", facts.get("evaluate")))
    )  # fmt: skip
    for each in (facts.get("rows"), facts.get("names")):
        good = good and (each is None or (isinstance(each, list) and len(each) == job.rows))
    if not good or (job.kind == "eval" and not isinstance(facts.get("name"), str)):
        raise DataError("says nothing about its data", code="T24", where=where / "job.json")


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(merge)
