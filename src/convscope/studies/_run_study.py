"""A study from its first question to its page; all studies and their index."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope._readable import readable
from convscope.devices import resolve_device
from convscope.errors import ConvscopeError, UsageError, choose
from convscope.files import REPORT, read_json_table, write_whole
from convscope.progress import announce, stage
from convscope.reports import render
from convscope.studies._digests import code_of_study, digest_of, versions
from convscope.studies._kept import keep, recall
from convscope.studies._notebook import notebook_of
from convscope.studies._notes import read_notes
from convscope.studies._playground import StudyPlayground, study_playground
from convscope.studies._question import Question
from convscope.studies._record import Answer, reason_of, record_of
from convscope.studies._study import QuestionSpec, Study, StudyContent
from convscope.studies._study_page import page_of, section_of

RESULT = "result.json"
NOTES_FILE = "notes.md"
MARK = "study.json"
"""The file by which a folder is known as that of a study."""


@readable
@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study found. A notebook shows its page.

    Attributes:
        name: Of the study.
        folder: Where page, figures, tables and numbers are.
        page: The HTML file.
        numbers: The content of ``result.json``.
        failed: Headings of the questions that stopped; the page says why.
        recalled: How many questions were finished before.
        seconds: Wall time of this call.
        unplayable: Why the network is not in the page, if it was to be; the page says it, too.
        stray_notes: Which headings in ``notes.md`` are no question's; the page says it, too.
    """

    name: str
    folder: Path
    page: Path
    numbers: dict[str, Any]
    failed: tuple[str, ...]
    recalled: int
    seconds: float
    unplayable: str = ""
    stray_notes: str = ""

    def headline(self) -> str:
        """What stopped, if anything did."""
        return f"{len(self.failed)} stopped questions" if self.failed else "every question answered"

    def _repr_html_(self) -> str | None:
        """The page in a sandboxed frame; ``None`` if it is gone or too large."""
        from convscope.pages import framed_report

        with suppress(ConvscopeError, OSError):
            return framed_report(self.folder)
        return None


def run_study(
    name: str,
    out: Path | str,
    *,
    fast: bool = False,
    data_dir: Path | str | None = None,
    seed: int = 0,
    only: Sequence[str] = (),
    again: bool = False,
    offline: bool = False,
    accept_modified: bool = False,
    device: str = "cpu",
    playable: bool = False,
) -> StudyResult:
    """Answer a course document, question by question, and write all of it to a folder.

    Finished questions are kept in the folder: the same call goes on where an earlier one was
    killed. A question that fails, for want of a data set or for any other reason, says why on the
    page, and the others go on. Says how far it is to whoever listens by
    `convscope.progress.watch`.

    Args:
        name: In `STUDIES`.
        out: The folder: new, empty, or of the same study.
        fast: Small data and budgets: two minutes on two cores.
        data_dir: Folder that holds the data files.
        seed: Of every random choice. One seed gives the same tables, byte for byte.
        only: Names of the questions to answer now; others are on the page if they are finished.
        again: Answer finished questions again.
        offline: Never download.
        accept_modified: Go on with data files whose checksum is not the known one.
        device: Where networks are trained and run: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``
            or ``"auto"``. Comparisons with other libraries stay on the CPU.
        playable: Put the document's own network into the page, where it runs without a server. It
            is trained if no question was asked that needs it. Where a page cannot hold it, the page
            says why. Finished questions count with and without.

    Returns:
        Where it is, and what was found.

    Raises:
        UsageError: U01 for an unknown study or question, U13 if the folder holds something else.
        DataError: ``notes.md`` in the folder is no UTF-8 text.
        ResourceError: The disk refuses; T27, the device is not there.
        Interrupted: SIGINT or SIGTERM came during a training; everything is saved.

    Example:
        >>> import tempfile
        >>> found = run_study("assignment-2-report", tempfile.mkdtemp(), fast=True,
        ...     only=["parameters"])
        >>> found.numbers["questions"][-1]["numbers"]["parameters"]
        799078
    """
    from convscope.studies import STUDIES

    start = time.perf_counter()
    study = _begun(name, out, fast=fast, data_dir=data_dir, seed=seed, offline=offline,
                   accept_modified=accept_modified, device=device)  # fmt: skip
    name, folder, content = study.name, study.out, STUDIES[study.name]
    wanted = [choose("question", q, [one.name for one in content.questions]) for q in only]
    _claim(folder, name)
    read_notes(folder / NOTES_FILE)  # refused before the work
    announce(0.0, "reading data")
    answers = _answers(study, content, wanted, again=again)
    playground = None
    if playable:
        with stage(1.0, 1.0, "the network in the page"):
            playground = study_playground(study, content)
    announce(1.0, "writing")
    seconds = time.perf_counter() - start
    made = _write(study, content, answers, seconds=seconds, playground=playground)
    lack = None if playground is None else playground.error
    return StudyResult(
        name=name,
        folder=folder,
        page=folder / "report.html",
        numbers=made,
        failed=tuple(answer.spec.heading for answer in answers if answer.failed),
        recalled=sum(answer.recalled for answer in answers),
        seconds=seconds,
        unplayable="" if lack is None else reason_of(lack),
        stray_notes=read_notes(folder / NOTES_FILE, content.questions).remark,
    )


def missing_materials(
    name: str,
    *,
    fast: bool = False,
    data_dir: Path | str | None = None,
    offline: bool = False,
    accept_modified: bool = False,
) -> tuple[ConvscopeError, ...]:
    """What a study needs and cannot have on this machine: said before hours of work.

    Args:
        name: In `STUDIES`.
        fast: As for `run_study`.
        data_dir: As for `run_study`.
        offline: As for `run_study`.
        accept_modified: As for `run_study`.

    Returns:
        An error for each data set, network or folder of images, which says what to do.

    Raises:
        UsageError: U01 for an unknown study.

    Example:
        >>> missing_materials("assignment-2-report", fast=True)
        ()
    """
    from convscope.studies import STUDIES

    study = _begun(name, Path(), fast=fast, data_dir=data_dir, seed=0, offline=offline,
                   accept_modified=accept_modified)  # fmt: skip
    found: list[ConvscopeError] = []
    for needed in (Study.dataset, *STUDIES[study.name].materials):
        try:
            needed(study)
        except ConvscopeError as error:
            found.append(error)
    return tuple(found)


def _begun(
    name: str,
    out: Path | str,
    *,
    fast: bool,
    data_dir: Path | str | None,
    seed: int,
    offline: bool,
    accept_modified: bool,
    device: str = "cpu",
) -> Study:
    """A study in progress of that name.

    Raises:
        UsageError: U01.
        ResourceError: T27.
    """
    from convscope.studies import STUDIES

    name = choose("study", STUDIES.known(name), STUDIES, aliases=STUDIES.aliases)
    return Study(
        name=name,
        spec=STUDIES.spec(name),
        out=Path(out),
        fast=fast,
        seed=seed,
        data_dir=None if data_dir is None else Path(data_dir),
        offline=offline,
        accept_modified=accept_modified,
        device=str(resolve_device(device)),
    )


def _answers(
    study: Study, content: StudyContent, wanted: Sequence[str], *, again: bool
) -> list[Answer]:
    """Recall what is finished, answer the rest, and rewrite the page after each."""
    code = code_of_study(content)
    done: dict[str, Answer] = {}
    keys: dict[str, str] = {}
    for spec in content.questions:
        keys[spec.name] = _key(study, spec, code)
        study.used = {}
        question = _blank(spec)
        asked = not wanted or spec.name in wanted
        seconds = None if again and asked else recall(study, question, key=keys[spec.name])
        if seconds is not None:
            done[spec.name] = Answer(spec=spec, question=question, seconds=seconds, recalled=True)
    left = [
        spec
        for spec in content.questions
        if spec.name not in done and (not wanted or spec.name in wanted)
    ]
    index = 0 if study.fast else 1
    total = sum(spec.minutes[index] for spec in left) or 1.0
    reached = 0.0
    for spec in left:
        step = spec.minutes[index] / total
        with stage(reached, min(reached + step, 1.0), spec.heading):
            done[spec.name] = _answer(study, spec, key=keys[spec.name])
        reached += step
        ordered = [done[one.name] for one in content.questions if one.name in done]
        _write(study, content, ordered, seconds=None)
    return [done[spec.name] for spec in content.questions if spec.name in done]


def _answer(study: Study, spec: QuestionSpec, *, key: str) -> Answer:
    """One question; what it raises becomes its remark."""
    from convscope.training import Interrupted

    start, earlier = time.perf_counter(), study.earlier_seconds
    study.used = {}
    question = _blank(spec)
    try:
        spec.answer(study, question)
    except Interrupted as stop:
        raise type(stop)(
            f"stopped at {spec.heading}; everything is saved",
            hint="the same command goes on where it stopped",
        ) from None
    except Exception as error:
        if isinstance(error, ImportError) and (error.name or "").startswith("convscope"):
            raise
        seconds = time.perf_counter() - start + study.earlier_seconds - earlier
        return Answer(spec=spec, question=question, seconds=seconds, error=error)
    seconds = time.perf_counter() - start + study.earlier_seconds - earlier
    keep(study, question, key=key, seconds=seconds)
    return Answer(spec=spec, question=question, seconds=seconds)


def _blank(spec: QuestionSpec) -> Question:
    return Question(spec=spec, section=section_of(spec))


def _key(study: Study, spec: QuestionSpec, code: str) -> str:
    """What decides the answer of a question, inputs apart."""
    return digest_of(
        {
            "study": study.name,
            "question": spec.name,
            "fast": study.fast,
            "seed": study.seed,
            "code": code,
            "versions": dict(versions()),
            **({} if study.device == "cpu" else {"device": study.device}),
        }
    )


def _claim(folder: Path, name: str) -> None:
    """Make the folder that of the study, or refuse it.

    Raises:
        UsageError: U13.
    """
    mark = folder / MARK
    if mark.is_file():
        theirs = str(read_json_table(mark, REPORT).get("study"))
        if theirs != name:
            raise UsageError(
                f"holds the study {theirs}", code="U13", where=folder, hint="choose another --out"
            )
    else:
        others = (
            [path.name for path in folder.iterdir() if path.name != NOTES_FILE]
            if folder.is_dir()
            else []
        )
        if folder.exists() and (not folder.is_dir() or others):
            raise UsageError(
                "already exists and is no study",
                code="U13",
                where=folder,
                hint="choose another --out",
            )
        write_whole(mark, json.dumps({"study": name}).encode() + b"\n")
    first = folder / "report.json"
    if not first.exists():
        # A report may replace an earlier report only: this is the first.
        write_whole(first, b'{"schema": 1, "title": "", "sections": []}\n')


def _write(
    study: Study,
    content: StudyContent,
    answers: Sequence[Answer],
    *,
    seconds: float | None,
    playground: StudyPlayground | None = None,
) -> dict[str, Any]:
    """Page, figures, tables, numbers and notebook of what is answered so far."""
    folder = study.out
    notes = read_notes(folder / NOTES_FILE, content.questions)
    report = page_of(study, content, answers, notes=notes, seconds=seconds, playground=playground)
    report.created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    report.write(folder, force=True)
    made = record_of(study, answers, seconds=seconds)
    text = json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / RESULT, text.encode("utf-8", errors="backslashreplace"))
    write_whole(folder / "notebook.ipynb", notebook_of(study, content, answers).encode())
    render(folder)
    return made
