"""What an audit is made of: stages whose blocks many processes may share, and what they leave.

A section is a function that fills it, which is one block of work; or a `JudgedSection`, which has
stages. A stage is a `convscope.sharding.Judging`, which goes through images block by block, or a
function that fills a piece of the section. What a block finds is a `Record`: numbers of images, or
text, pictures and tables of a piece. The section is put together from records, without the network
and without data.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from convscope.errors import ConvscopeError, DataError
from convscope.files import loads_json, plain_json
from convscope.progress import stage
from convscope.reports import Report, Section
from convscope.sharding import Judging, Record, blocks_of
from convscope.studies._kept import PLACE

DEEPEST = 40
"""Brackets inside of brackets in a piece of a section."""


class Shown(Protocol):
    """What sections may look at when they are put together: it is known without network and data.

    Attributes:
        report: Where tiles and alerts go.
        numbers: What gates and machines ask for.
        epsilon: L-infinity budget of the headline, pixel units.
        sigma: Noise that was certified for; ``None``: none was.
    """

    report: Report
    numbers: dict[str, float]
    epsilon: float
    sigma: float | None


PIECE = {"finding": str, "status": str, "blocks": list, "tiles": list, "alerts": list,
         "numbers": dict}  # fmt: skip
"""What a piece of a section holds."""


class DamagedPiece(DataError):
    """A record that no audit has written: no fault of the network, so no report is made."""


Fill = Callable[[Any, Section], None]
"""``fill(audit, section)`` computes and shows at once."""

Stage = Judging | Fill


class Stopped(ConvscopeError):
    """What stopped a block.

    Args:
        words: What the error said, on one to three lines.
        expected: Whether a network may cause it, so that the section goes on.
    """

    def __init__(self, words: str, *, expected: bool = True) -> None:
        super().__init__(words)
        self.words, self.may_happen = words, expected

    def __str__(self) -> str:
        """The words as they were."""
        return self.words


@dataclass(frozen=True, eq=False)
class Found:
    """What the blocks of a stage have left.

    Attributes:
        settings: Of its `Judging`; empty for a piece.
        head: Of it.
        records: Of its blocks, in order.
    """

    settings: Mapping[str, Any]
    head: Record
    records: Sequence[Record]

    @property
    def failure(self) -> Stopped | None:
        """What stopped one of the blocks."""
        for record in (self.head, *self.records):
            if (failed := record.numbers.get("failed")) is not None:
                return Stopped(str(failed["words"]), expected=bool(failed["expected"]))
        return None

    def usable(self, section: Section, words: str = "A part of this section stopped") -> bool:
        """Whether the stage came to its end; else the section gets a note.

        Raises:
            Stopped: It was no error that a network may cause: the section cannot go on.
        """
        failure = self.failure
        if failure is None:
            return True
        if not failure.may_happen:
            raise failure
        section.note(f"{words}: {failure}", level="warning")
        return False

    def put(self, shown: Shown, section: Section) -> None:
        """Show a piece in its place.

        Raises:
            DamagedPiece: T24, no audit has written the record.
        """
        for record in self.records:
            _put(record, shown, section)


@dataclass(frozen=True)
class JudgedSection:
    """A section of stages.

    Attributes:
        stages: ``stages(audit)``: what is computed, by name.
        show: ``show(shown, section, found)`` puts the section together.
    """

    stages: Callable[[Any], Mapping[str, Stage]]
    show: Callable[[Shown, Section, Mapping[str, Found]], None]

    def __call__(self, audit: Any, section: Section) -> None:
        """Fill the section here and now."""
        stages = self.stages(audit)
        found = {}
        for number, (name, one) in enumerate(stages.items()):
            with stage(number / len(stages), (number + 1) / len(stages)):
                found[name] = _found_here(audit, section, one)
        self.show(audit, section, found)


def is_judged(one: Stage) -> bool:
    """Whether a stage goes through images block by block."""
    return hasattr(one, "judge")


def blocks_in(one: Stage) -> tuple[slice, ...]:
    """The blocks of a stage; a piece is one."""
    if not is_judged(one):
        return (slice(0, 1),)
    judging = cast(Judging, one)
    return blocks_of(judging.rows, judging.size)


def settings_in(one: Stage) -> dict[str, Any]:
    """What a stage depends on, for comparisons."""
    return cast(Judging, one).settings if is_judged(one) else {}


def head_in(one: Stage) -> Record:
    """What a stage has to know before its first block."""
    return guarded(cast(Judging, one).head) if is_judged(one) else Record()


def block_in(audit: Any, section: Section, one: Stage, rows: slice, head: Record) -> Record:
    """One block of a stage.

    Args:
        audit: In progress.
        section: Whose id and title it has; nothing is added to it.
        one: The stage.
        rows: The block.
        head: Of the stage.
    """
    if not is_judged(one):
        return captured(audit, section, cast(Fill, one))
    if "failed" in head.numbers:
        return head
    judging = cast(Judging, one)

    def judged() -> Record:
        found = judging.judge(rows, head)
        return Record(found.numbers, {**found.arrays, **judging.inputs(rows)})

    return guarded(judged)


def guarded(run: Callable[[], Record]) -> Record:
    """What `run` finds; what stops it becomes a record, for the other stages go on.

    Raises:
        ImportError: A part of convscope itself is missing.
    """
    try:
        return run()
    except Exception as error:
        if is_missing_part(error):
            raise
        return failure_of(error)


def failure_of(error: Exception) -> Record:
    """The record of a block that was stopped."""
    expected = isinstance(error, ConvscopeError)
    words = str(error) if expected else f"{type(error).__name__}: {error}"
    return Record({"failed": {"expected": expected, "words": words}})


def is_missing_part(error: Exception) -> bool:
    """Whether a module of convscope is missing, or a name in one: no fault of the network."""
    return isinstance(error, ImportError) and (error.name or "").split(".")[0] == "convscope"


def captured(audit: Any, section: Section, fill: Fill) -> Record:
    """What a function puts into a section, and into the report around it.

    Args:
        audit: In progress; tiles, alerts and numbers are caught, too.
        section: Whose id and title it has; nothing is added to it.
        fill: The function. What stops it is said in the section.
    """
    report, place = Report(title=""), Section(section.id, section.title)
    outer, numbers = audit.report, getattr(audit, "numbers", {})
    audit.report, audit.numbers = report, {}
    try:
        fill(audit, place)
    except Exception as error:
        if is_missing_part(error):
            raise
        report.fail(place, error)
    finally:
        caught, audit.report, audit.numbers = audit.numbers, outer, numbers
    content = {
        "finding": place.finding,
        "status": place.status,
        "blocks": place.blocks,
        "tiles": report.tiles,
        "alerts": report.alerts,
        "numbers": caught,
    }
    # As text: the order of keys in a report is part of its bytes.
    text = json.dumps(plain_json(content), ensure_ascii=True)
    files = list(place.files.items())
    arrays = {f"file.{i}": np.frombuffer(data, np.uint8) for i, (_, data) in enumerate(files)}
    return Record({"piece": text, "files": [path for path, _ in files]}, arrays)


def _put(record: Record, shown: Shown, section: Section) -> None:
    try:
        content: dict[str, Any] = loads_json(record.numbers["piece"], deepest=DEEPEST)
        paths: list[str] = record.numbers["files"]
        files = {path: record.arrays[f"file.{i}"].tobytes() for i, path in enumerate(paths)}
        whole = all(type(content[name]) is kind for name, kind in PIECE.items())
        whole = whole and all(PLACE.fullmatch(path) for path in paths)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedPiece(f"no piece of a section: {error}", code="T24") from None
    if not whole or any(section.files.get(path, data) != data for path, data in files.items()):
        raise DamagedPiece("no piece of a section", code="T24", where=section.id)
    section.files.update(files)
    section.blocks += content["blocks"]
    section.finding = content["finding"] or section.finding
    if content["status"] != "ok":
        section.status = content["status"]
    shown.report.tiles += content["tiles"]
    shown.report.alerts += content["alerts"]
    shown.numbers.update(content["numbers"])


def _found_here(audit: Any, section: Section, one: Stage) -> Found:
    """A stage, done here."""
    head, blocks, records = head_in(one), blocks_in(one), []
    for number, rows in enumerate(blocks):
        with stage(number / len(blocks), (number + 1) / len(blocks)):
            records.append(block_in(audit, section, one, rows, head))
    return Found(settings_in(one), head, records)


def timed(run: Callable[[], Record]) -> Record:
    """What `run` finds, with the seconds that it took."""
    begin = time.perf_counter()
    found = run()
    numbers = {**found.numbers, "took": time.perf_counter() - begin}
    return Record(numbers, found.arrays)
