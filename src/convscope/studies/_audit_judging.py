"""An audit block by block: which blocks there are, what is known before them, what each finds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope._identity import images_digest, network_digest
from convscope.data import sample_rows
from convscope.errors import ConvscopeError
from convscope.progress import stage
from convscope.reports import Report, Section
from convscope.sharding import Judging, Record, joined
from convscope.studies import AUDIT_SECTIONS
from convscope.studies._context import Audit
from convscope.studies._stages import (
    Fill,
    JudgedSection,
    Stage,
    block_in,
    blocks_in,
    guarded,
    head_in,
    is_judged,
    is_missing_part,
    settings_in,
    timed,
)
from convscope.training import accuracy_of

HASHED = 64
"""Training images by which their data set is known."""

WHOLE = ""
"""Name of the one stage of a section that is a function."""


class Planned(NamedTuple):
    """A stage of a section.

    Attributes:
        section: Id of the section.
        title: Its heading.
        name: Of the stage.
        stage: What is done.
    """

    section: str
    title: str
    name: str
    stage: Stage

    def address(self, rows: slice) -> str:
        """What one of its blocks is called."""
        whole = f"{self.section}: {self.name}" if self.name else self.section
        last = max(rows.start, rows.stop - 1)
        if own := getattr(self.stage, "addresses", None):
            return f"{whole}, {own[rows.start]}"
        return f"{whole}, images {rows.start} to {last}" if is_judged(self.stage) else whole


class AuditJudging:
    """The judging of `audit`, block by block: a `convscope.sharding.Judging`.

    A block is a piece of a section, or some images of a stage that goes through images one by one.
    Predictions of all images to judge on come before, since many sections begin with them.

    Args:
        audit: What is audited, and with which settings.
        sections: Names in `AUDIT_SECTIONS`.
        facts: What the report says about itself.
    """

    kind = "audit"
    size = 1

    def __init__(self, audit: Audit, sections: Sequence[str], facts: Mapping[str, Any]) -> None:
        self.audit = audit
        self.sections = tuple(sections)
        self.facts = dict(facts)
        self.stages = [one for name in sections for one in _planned(audit, name)]
        self.units = [
            (number, rows)
            for number, one in enumerate(self.stages)
            for rows in blocks_in(one.stage)
        ]

    @property
    def rows(self) -> int:
        """How many blocks there are."""
        return len(self.units)

    @cached_property
    def addresses(self) -> list[str]:
        """What each block is called."""
        return [self.stages[number].address(rows) for number, rows in self.units]

    @cached_property
    def alike(self) -> list[str]:
        """The kind of each block: those of one kind take as long for each of their images."""
        stages = [self.stages[number] for number, _ in self.units]
        return [
            address if hasattr(one.stage, "addresses") else f"{one.section}: {one.name}"
            for address, one in zip(self.addresses, stages, strict=True)
        ]

    @cached_property
    def counts(self) -> list[int]:
        """How many images each block has; 1 if it is no block of images."""
        return [max(1, rows.stop - rows.start) for _, rows in self.units]

    def smaller(self, images: int) -> AuditJudging:
        """The same with fewer images that are predicted, for a rehearsal; as many are attacked."""
        least = max(images, min(self.audit.attacked, len(self.audit.test)))
        less = replace(self.audit, most_tested=least, report=Report(title=""), numbers={})
        return AuditJudging(less, self.sections, self.facts)

    @cached_property
    def weights(self) -> list[float]:
        """Which share of the work each block is announced as: sections have the same."""
        of = [self.stages[number].section for number, _ in self.units]
        return [1 / of.count(section) for section in of]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and judged images."""
        audit = self.audit
        return {
            "seed": audit.seed,
            "epsilon": audit.epsilon,
            "effort": audit.effort,
            "images per section": audit.count,
            "images attacked": audit.attacked,
            "std": audit.sigma,
            "split": audit.split,
            "judge": None if audit.judge is None else network_digest(audit.judge),
            "training images": _digest_of_training(audit),
            "classes": list(audit.classifier.class_names),
            "sections": [[name, *_heading(name)] for name in self.sections],
            "stages": [
                [one.section, one.name, len(blocks_in(one.stage)), settings_in(one.stage)]
                for one in self.stages
            ],
        }

    @cached_property
    def before(self) -> Judging | None:
        """The predictions of all images, if a section needs them."""
        if not any(AUDIT_SECTIONS.spec(name).predictions for name in self.sections):
            return None
        try:
            return Guarded(self.audit.accuracy)
        except ConvscopeError:
            return None  # The sections that need them say why.

    def head(self) -> Record:
        """What stages have to know before their first block."""
        return self.head_after(())

    def head_after(self, records: Sequence[Record]) -> Record:
        """The same, behind the predictions of all images."""
        numbers: dict[str, Any] = {"heads": [], "predictions": None, "took": 0.0}
        arrays: dict[str, NDArray[Any]] = {}
        if records and not any("failed" in one.numbers for one in records):
            together = predictions_of(records)
            numbers["predictions"] = together.numbers
            numbers["took"] = float(together.numbers["cost"][2])
            arrays |= {f"predictions.{name}": array for name, array in together.arrays.items()}
        for number, one in enumerate(self.stages):
            found = head_in(one.stage)
            numbers["heads"].append(found.numbers)
            arrays |= {f"{number}.{name}": array for name, array in found.arrays.items()}
        return Record(numbers, arrays)

    def judge(self, rows: slice, head: Record) -> Record:
        """A block."""
        self._recall(head)
        number, part = self.units[rows.start]
        one = self.stages[number]
        section = Section(one.section, one.title)
        with stage(0.0, 1.0, one.title):
            return timed(
                lambda: block_in(self.audit, section, one.stage, part, head_of(head, number))
            )

    def some(self, block: int, rows: slice, head: Record) -> Record:
        """Some images of a block, for a rehearsal.

        Args:
            block: Its number.
            rows: Which of its images.
            head: Of the judging.
        """
        number, whole = self.units[block]
        part = slice(whole.start + rows.start, min(whole.stop, whole.start + rows.stop))
        one = self.stages[number]
        section = Section(one.section, one.title)
        return block_in(self.audit, section, one.stage, part, head_of(head, number))

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Nothing: records hold what is shown."""
        return {}

    def _recall(self, head: Record) -> None:
        """Give the audit the predictions that were made before."""
        if head.numbers["predictions"] is None or "evaluation" in vars(self.audit):
            return
        known = part_of(head, "predictions", head.numbers["predictions"])
        labels: Tensor = self.audit.test.labels.cpu()
        vars(self.audit)["evaluation"] = accuracy_of(self.audit.accuracy.settings, [known], labels)


@dataclass(frozen=True)
class Guarded:
    """A judging whose blocks cannot stop an audit: what stops one is its record.

    Args:
        judging: The judging.
    """

    judging: Judging

    @property
    def kind(self) -> str:
        """Of the judging."""
        return self.judging.kind

    @property
    def rows(self) -> int:
        """Of the judging."""
        return self.judging.rows

    @property
    def size(self) -> int:
        """Of the judging."""
        return self.judging.size

    @property
    def settings(self) -> dict[str, Any]:
        """Of the judging."""
        return self.judging.settings

    def head(self) -> Record:
        """Of the judging."""
        return guarded(self.judging.head)

    def judge(self, rows: slice, head: Record) -> Record:
        """A block, or what stopped it."""
        return guarded(lambda: self.judging.judge(rows, head))

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Of the judging."""
        return self.judging.inputs(rows)


def predictions_of(records: Sequence[Record]) -> Record:
    """The records of an `AccuracyJudging` as one."""
    numbers = [record.numbers for record in records]
    hits = torch.tensor([one["hits"] for one in numbers]).sum(dim=0).tolist()
    cost = [sum(one["cost"][place] for one in numbers) for place in range(3)]
    return Record(
        {
            "hits": hits,
            "plain_hits": sum(one["plain_hits"] for one in numbers),
            "loss": sum(one["loss"] for one in numbers),
            "cost": cost,
        },
        {name: joined(records, name) for name in ("predicted", "confidences")},
    )


def head_of(head: Record, number: int) -> Record:
    """The head of one stage."""
    return part_of(head, str(number), head.numbers["heads"][number])


def part_of(head: Record, name: str, numbers: dict[str, Any]) -> Record:
    """What a head holds under a name."""
    arrays = {
        key.removeprefix(f"{name}."): array
        for key, array in head.arrays.items()
        if key.startswith(f"{name}.")
    }
    return Record(numbers, arrays)


def _digest_of_training(audit: Audit) -> str:
    """A hash of all training labels and of some images: all of them may be more than memory."""
    some = audit.fitted.subset(sample_rows(audit.fitted.labels, HASHED, seed=audit.stream(6)))
    labels = hashlib.sha256(audit.fitted.labels.cpu().numpy().tobytes())
    return hashlib.sha256(f"{labels.hexdigest()} {images_digest(some)}".encode()).hexdigest()


def _heading(name: str) -> tuple[str, str]:
    spec = AUDIT_SECTIONS.spec(name)
    return spec.title, spec.about


def _planned(audit: Audit, name: str) -> list[Planned]:
    """The stages of a section; what stops it is said where they would stand."""
    spec = AUDIT_SECTIONS.spec(name)
    if audit.classifier.black_box and spec.needs:
        words = f"Left out: a black box has no {spec.needs}, only answers."
        return [Planned(name, spec.title, WHOLE, lambda _, section: section.text(words))]
    try:
        entry = AUDIT_SECTIONS[name]
        stages = entry.stages(audit) if isinstance(entry, JudgedSection) else {WHOLE: entry}
    except Exception as error:
        if is_missing_part(error):
            raise
        return [Planned(name, spec.title, WHOLE, _stopping(error))]
    return [Planned(name, spec.title, key, one) for key, one in stages.items()]


def _stopping(error: Exception) -> Fill:
    def fill(audit: Any, section: Section) -> None:
        raise error

    return fill
