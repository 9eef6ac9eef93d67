"""``convscope merge``: one report of what several workers have judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from convscope._metrics import gates_of
from convscope.cli._attack import ATTACK
from convscope.cli._attack_judge import CERTIFY, EVALUATE
from convscope.cli._audit import AUDIT
from convscope.cli._eval import EVAL
from convscope.cli._gates import read_gates
from convscope.cli._inspect_trust import TRUST
from convscope.cli._options import NOWHERE, Json, OutputOptions
from convscope.cli._output import say, warn
from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.sharding import collected, parts_below

Gates = Annotated[
    list[str],
    cyclopts.Parameter(help="Gates, as NAME=NUMBER: those of the command that judged."),
]


COMMANDS = {command.kind: command for command in (EVAL, ATTACK, EVALUATE, CERTIFY, TRUST, AUDIT)}
"""By the kind of their jobs."""


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
    if job.kind not in COMMANDS:
        raise UsageError(
            f"holds parts of {job.kind!r}", code="U01", where=found[0].folder,
            expected=f"parts of {', '.join(COMMANDS)}",
            hint=f"the command itself makes the report of such a part: --part {found[0].folder}",
        )  # fmt: skip
    command = COMMANDS[job.kind]
    if not command.knows(job):
        raise DataError(
            "says nothing about its data", code="T24", where=found[0].folder / "job.json"
        )
    known = gates_of(command.gates) if command.gates else ()
    gates = read_gates(fail_under or [], known, bare=command.bare)
    head, records, notes = collected(found)
    for note in notes:
        warn(note)
    say(f"{job.kind}: {job.rows:,} {command.unit} of {len(found)} part{'s' * (len(found) > 1)}")
    try:
        result = command.combine(job.settings, job.facts, head, records)
    except ConvscopeError:
        raise
    except Exception as error:  # what the records hold may be anything
        raise DataError(
            f"holds no records of {job.kind}: {type(error).__name__}: {error}",
            code="T24",
            where=found[0].folder,
        ) from error
    command.show(result, job.facts, gates, as_json=as_json, output=output)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(merge)
