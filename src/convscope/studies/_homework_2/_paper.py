"""The form: everything on paper, with the code in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from convscope.studies._question import Question
from convscope.studies._snippets import code_of
from convscope.studies._study import Study

Number = {"kind": "number"}


def paper_with_code(study: Study, question: Question) -> None:
    """Where the code of every question is, and how the PDF is made."""
    from convscope.studies._homework_2 import CONTENT

    rows = []
    for spec in CONTENT.questions:
        module = spec.answer.__module__.rpartition(".")[2]
        rows.append(
            [spec.heading, f"{module}.py", spec.answer.__name__, lines_of(spec.answer),
             0 if spec.snippet is None else len(code_of(spec.snippet).splitlines())]
        )  # fmt: skip
    package = import_module(__package__)
    files = sorted(Path(str(package.__file__)).parent.glob("*.py"))
    total = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    question.table(
        "code",
        ["question", {"title": "file", "kind": "code"}, {"title": "function", "kind": "code"},
         {"title": "lines", **Number}, {"title": "lines of its short form", **Number}],
        rows,
        caption="The function behind each question, in the appendix; its short form is below each "
        "question and a cell of notebook.ipynb.",
        wide=True,
    )  # fmt: skip
    flag = " --fast" if study.fast else ""
    question.section.code(
        f"convscope study {study.name}{flag} --pdf",
        caption="Prints this page to report.pdf beside it: A4, page numbers, the code of all "
        "questions as an appendix. Finished questions are taken from the folder.",
    )
    question.find(
        f"The page with the code in it is one document: {len(rows)} questions, "
        f"{total:,} lines of code in {len(files)} files as its appendix."
    )
    question.compare("code in the PDF", document="asked for", measured=len(files), unit="count",
                     words="files of the study, in the appendix")  # fmt: skip
    question.number("lines", total)
    question.number("files", [file.name for file in files])
    question.discuss(
        "The listing is taken from the functions that ran, so that it cannot differ from what made "
        "the figures. What they call is the package's public API, described in its documentation."
    )


def lines_of(function: Callable[..., Any]) -> int:
    """Lines of a function."""
    return len(inspect.getsource(function).splitlines())
