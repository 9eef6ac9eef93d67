"""What is found so far, as numbers for machines: ``result.json``."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError, printable
from convscope.files import plain_json
from convscope.studies._documents import all_rows, row_text
from convscope.studies._question import Question
from convscope.studies._study import QuestionSpec, Study


@dataclass
class Answer:
    """A question that was answered, or that stopped.

    Attributes:
        spec: Its record.
        question: What was found.
        seconds: How long it took, with the training of the networks that it took from earlier runs.
        error: Why it stopped.
        recalled: Whether it was finished before.
    """

    spec: QuestionSpec
    question: Question
    seconds: float
    error: Exception | None = None
    recalled: bool = False

    @property
    def failed(self) -> bool:
        """Whether it stopped."""
        return self.error is not None


def record_of(study: Study, answers: Sequence[Answer], *, seconds: float | None) -> dict[str, Any]:
    """What ``result.json`` holds: plain JSON."""
    document = study.spec.cited
    questions: list[dict[str, Any]] = []
    rows: dict[str, Any] = {}
    for answer in answers:
        spec, question = answer.spec, answer.question
        questions.append(
            {
                "name": spec.name,
                "number": spec.number,
                "title": spec.title,
                "rows": list(spec.rows),
                "status": "failed" if answer.failed else "ok",
                "error": "" if answer.error is None else printable(reason_of(answer.error)),
                "finding": question.section.finding,
                "numbers": question.numbers,
                "comparisons": [entry.record() for entry in question.comparisons],
                "deviations": [
                    {"document": theirs, "here": here, "reason": reason}
                    for theirs, here, reason in question.deviations
                ],
                "discussion": question.discussion,
                "shown": question.shown,
                "seconds": round(answer.seconds, 1),
            }
        )
        for key, files in question.shown.items():
            empty: dict[str, Any] = {
                "asks": row_text(key),
                "question": spec.name,
                "page": f"report.html#{spec.name}",
                "figures": [],
                "tables": [],
            }
            row = rows.setdefault(key, empty)
            row["figures"] += [file for file in files if file.startswith("figures/")]
            row["tables"] += [file for file in files if file.startswith("tables/")]
    order = {key: place for place, key in enumerate(all_rows())}
    record = {
        "schema": 1,
        "study": study.name,
        "document": {"key": study.spec.document, "citation": document.citation},
        "fast": study.fast,
        "seed": study.seed,
        "data": study.data,
        "convscope": version("convscope"),
        "machine": machine(),
        "seconds": None if seconds is None else round(seconds, 1),
        "questions": questions,
        "rows": dict(sorted(rows.items(), key=lambda item: order[item[0]])),
    }
    made: dict[str, Any] = plain_json(record)
    return made


def reason_of(error: Exception) -> str:
    """What an error says, and of which kind it is if it is none of ours."""
    return str(error) if isinstance(error, ConvscopeError) else f"{type(error).__name__}: {error}"


def machine() -> dict[str, Any]:
    """What the time of a study depends on: processor, cores, and threads of torch."""
    import torch

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """What the processor calls itself, or its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
