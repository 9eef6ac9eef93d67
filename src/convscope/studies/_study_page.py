"""The page of a study, its numbers for machines, and its notebook."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from convscope.reports import Report, Section
from convscope.studies._comparison import Comparison
from convscope.studies._notes import Notes, show_notes
from convscope.studies._playground import StudyPlayground
from convscope.studies._record import Answer
from convscope.studies._snippets import code_of, first_cell
from convscope.studies._study import QuestionSpec, Study, StudyContent
from convscope.studies._tables import add_table


def section_of(spec: QuestionSpec) -> Section:
    """The empty chapter of a question."""
    return Section(spec.name, spec.heading, spec.lead)


def page_of(
    study: Study,
    content: StudyContent,
    answers: Sequence[Answer],
    *,
    notes: Notes,
    seconds: float | None,
    playground: StudyPlayground | None = None,
) -> Report:
    """The page of what is answered so far.

    Args:
        study: In progress or done.
        content: Its questions.
        answers: In order.
        notes: Of the reader.
        seconds: Wall time of the run, once it is over.
        playground: The network, if the page is to hold it.
    """
    report = Report(title=study.spec.title, generator=f"convscope {version('convscope')}")
    report.subtitle = study.spec.cited.citation
    for answer in answers:
        report.tiles += answer.question.tiles
    left = [spec.heading for spec in content.questions
            if spec.name not in {answer.spec.name for answer in answers}]  # fmt: skip
    if left:
        report.alert(
            f"Not answered yet: {', '.join(left)}. The same command goes on.", level="warning"
        )
    if notes.stray:
        report.alert(notes.remark, level="warning", section="overview")
    report.sections.append(_overview(study, content, answers, notes=notes, seconds=seconds))
    if playground is not None:
        report.sections.append(playground.section)
        if playground.error is not None:
            report.fail(playground.section, playground.error)
    for answer in answers:
        report.sections.append(_question_section(report, answer, notes))
    report.sections.append(_deviations(answers))
    report.sections.append(_code(study, content))
    return report


def _overview(
    study: Study,
    content: StudyContent,
    answers: Sequence[Answer],
    *,
    notes: Notes,
    seconds: float | None,
) -> Section:
    document = study.spec.cited
    section = Section(
        "overview",
        "Overview",
        f"{study.spec.about} Below are the demands of the {document.kind}, in its order"
        + (" and with its own numbers." if document.numbers else "."),
    )
    facts: dict[str, Any] = {
        document.kind: document.citation,
        "images": study.data,
        "effort": "fast: few images and steps" if study.fast else "full",
        "seed": study.seed,
        "answered in": f"{sum(answer.seconds for answer in answers):.0f} s",
    }
    section.facts(facts)
    if notes.title or notes.whole:
        section.heading(notes.title or "Notes")
        show_notes(section, notes.whole)
    everything = [entry for answer in answers for entry in answer.question.comparisons]
    if everything:
        met = [entry for entry in everything if entry.met is not None]
        if study.fast:
            section.finding = (
                f"A fast run on {study.data}: what the {document.kind} reports is for more images "
                "and longer training."
            )
        elif met:
            hits = sum(bool(entry.met) for entry in met)
            section.finding = (
                f"{hits} of {len(met)} values of the {document.kind} of which more is better are "
                "met or beaten."
            )
        add_table(
            section,
            "reported",
            _words("question", "what", f"the {document.kind}", "measured here", "note"),
            [
                [_number_of(answer.spec), *_compared(entry, note=True)]
                for answer in answers
                for entry in answer.question.comparisons
            ],
            caption=f"What the {document.kind} reports next to what is measured here; green: met "
            "or beaten. sd: standard deviation over n seeds.",
            wide=True,
        )
    with section.details("In Python: before all questions"):
        section.code(
            f"{first_cell(fast=study.fast, seed=study.seed, data=study.data)}\n\n"
            f"{code_of(content.setup)}",
            caption="The first cells of notebook.ipynb, beside this page. The code below each "
            "question goes on from here.",
        )
    return section


def _question_section(report: Report, answer: Answer, notes: Notes) -> Section:
    """The chapter as it is shown: comparison first, then what was added, discussion, code.

    Why a question stopped is said in its place, and at the top of the report.
    """
    spec, question = answer.spec, answer.question
    found = question.section
    made = replace(found, blocks=[], files=dict(found.files), finding=_bound(found.finding))
    if question.comparisons:
        noted = any(entry.note for entry in question.comparisons)
        columns = _words("", "in the document", "measured here", *(["note"] if noted else []))
        rows = [_compared(entry, note=noted) for entry in question.comparisons]
        made.table(columns, rows, wide=True)
    made.blocks += found.blocks
    if answer.error is not None:
        report.fail(made, answer.error)
    if question.discussion:
        made.heading("Discussion")
        made.text(_bound("\n\n".join(question.discussion)))
    if mine := notes.about.get(spec.name, ""):
        made.heading("Notes")
        show_notes(made, mine)
    if question.deviations:
        made.heading("Done otherwise than in the document")
        columns = _words("in the document", "here", "reason")
        made.table(columns, [list(deviation) for deviation in question.deviations], wide=True)
    if spec.snippet is not None:
        with made.details("In Python"):
            made.code(code_of(spec.snippet), caption=f"Numbers {spec.cell}.")
    return made


def _bound(text: str) -> str:
    """A percent sign stays with its number at the end of a line."""
    return text.replace(" %", "\u00a0%")


def _compared(entry: Comparison, *, note: bool) -> list[Any]:
    here: Any = entry.here
    if entry.met is not None:
        here = {"value": entry.here, "tone": "good" if entry.met else "warn"}
    return [entry.what, entry.document, here, *([entry.note] if note else [])]


def _words(*titles: str) -> list[str | dict[str, Any]]:
    """Columns of sentences."""
    return [{"title": title, "kind": "words"} for title in titles]


def _number_of(spec: QuestionSpec) -> str:
    return spec.number or spec.title


def _deviations(answers: Sequence[Answer]) -> Section:
    section = Section(
        "deviations",
        "Done otherwise",
        "Every place where this study departs from the document, and why.",
    )
    rows = [
        [_number_of(answer.spec), *deviation]
        for answer in answers
        for deviation in answer.question.deviations
    ]
    if rows:
        columns = _words("question", "in the document", "here", "reason")
        add_table(section, "all", columns, rows, wide=True)
    else:
        section.text("Nothing so far.")
    return section


def _code(study: Study, content: StudyContent) -> Section:
    """The listing: an appendix on paper, folded on the screen."""
    section = Section(
        "code",
        "Appendix: the code of this study",
        "The functions behind the questions above, as they ran.",
    )
    for module in _modules(content):
        with section.details(f"{module.rpartition('.')[2]}.py"):
            section.code(inspect.getsource(import_module(module)).rstrip())
    return section


def _modules(content: StudyContent) -> list[str]:
    """The modules of a study in the order of its questions, then the others of its package."""
    found = [spec.answer.__module__ for spec in content.questions]
    found += [spec.snippet.__module__ for spec in content.questions if spec.snippet is not None]
    packages = dict.fromkeys(module.rpartition(".")[0] for module in found)
    for package in packages:
        if package.startswith("convscope.studies."):
            files = sorted(Path(str(import_module(package).__file__)).parent.glob("_*.py"))
            found += [f"{package}.{file.stem}" for file in files if file.stem != "__init__"]
    return list(dict.fromkeys(found))
