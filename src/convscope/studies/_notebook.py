"""A study as a notebook: words of what was found, and cells that find it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convscope.studies._comparison import Comparison
from convscope.studies._record import Answer
from convscope.studies._snippets import code_of, first_cell
from convscope.studies._study import Study, StudyContent


def notebook_of(study: Study, content: StudyContent, answers: Sequence[Answer]) -> str:
    """The study as a notebook: words of what was found here, cells that find it again."""
    found = {answer.spec.name: answer for answer in answers}
    head = (
        f"# {study.spec.title}\n\n{study.spec.about}\n\n"
        f"The {study.spec.cited.kind}: {study.spec.cited.citation}.\n\n"
        f"Written by `convscope study {study.name}{' --fast' if study.fast else ''}`; numbers in "
        "the text are those of that run."
    )
    cells = [
        ("markdown", head),
        ("code", first_cell(fast=study.fast, seed=study.seed, data=study.data)),
        ("code", code_of(content.setup)),
    ]
    for spec in content.questions:
        words = [f"## {spec.heading}", spec.lead]
        if spec.name in found:
            question = found[spec.name].question
            words.append(question.section.finding and f"**{question.section.finding}**")
            if question.comparisons:
                words.append(_markdown_table(question.comparisons))
            words += question.discussion
        if spec.left_out:
            words.append(f"The cell below makes the numbers of the page, without {spec.left_out}.")
        cells.append(("markdown", "\n\n".join(filter(None, words))))
        if spec.snippet is not None:
            cells.append(("code", code_of(spec.snippet)))
    return notebook_text(cells)


def _markdown_table(comparisons: Sequence[Comparison]) -> str:
    lines = ["| | in the document | measured here |", "|---|---|---|"]
    for entry in comparisons:
        cells = (entry.what, entry.document, entry.here)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def notebook_text(cells: Iterable[tuple[str, str]]) -> str:
    """A notebook as nbformat 4.5 has it, without outputs.

    Args:
        cells: ``("markdown", text)`` and ``("code", text)``.
    """
    made: list[Mapping[str, Any]] = []
    for number, (kind, text) in enumerate(cells):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": text.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    tree = {
        "cells": made,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"
