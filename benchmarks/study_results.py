"""Write docs/results.md: all rows of the course documents, what they report and what is measured.

Reads the ``result.json`` of studies that ran before, in full or with ``--fast`` (marked so), and
computes nothing. A row that no study answers is named as missing. Folders are those of single
studies, or of ``convscope study all``.

    convscope study all --data-dir DIR --out runs/study
    python benchmarks/study_results.py runs/study
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from convscope.errors import UsageError
from convscope.files import RESULT as KIND
from convscope.files import read_json_table, write_whole
from convscope.studies import DOCUMENTS, STUDIES

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
RESULT = "result.json"
MET = {True: "yes", False: "**no**", None: ""}
COLUMNS = ("row", "asked for", "the document", "measured here", "met", "where")


class Missing(NamedTuple):
    """A row that no study answers.

    Attributes:
        row: Its key, such as ``"002.6"``.
        why: What is known of the reason.
    """

    row: str
    why: str


def results_in(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """The content of each ``result.json`` by the name of its study.

    Args:
        folders: Of a study, or with folders of studies in them.

    Raises:
        UsageError: There is none in a folder, or two are of one study.
        DataError: One is damaged, or of no study that is known.
    """
    found: dict[str, dict[str, Any]] = {}
    places: dict[str, Path] = {}
    for folder in folders:
        own = folder / RESULT
        files = [own] if own.is_file() else sorted(folder.glob(f"*/{RESULT}"))
        if not files:
            raise UsageError(
                f"no {RESULT}", where=folder, hint="convscope study all --out FOLDER makes them"
            )
        for file in files:
            content = read_json_table(file, KIND)
            name = str(content.get("study"))
            if name not in STUDIES:
                raise UsageError(f"is of an unknown study: {name}", where=file)
            if name in found:
                raise UsageError(f"{name} is given twice", where=file, expected=f"{places[name]}")
            found[name], places[name] = content, file
    return found


def page_of(results: dict[str, dict[str, Any]]) -> tuple[str, list[Missing]]:
    """The page, and the rows that are missing.

    Args:
        results: Content of ``result.json`` by the name of the study.
    """
    parts, missing = [], []
    for name, spec in STUDIES.specs().items():
        text, lost = _document(name, spec.document, results.get(name))
        parts.append(text)
        missing += lost
    rows = sum(len(document.rows) for document in DOCUMENTS.values())
    judged = [
        entry["met"]
        for result in results.values()
        if not result["fast"]
        for question in result["questions"]
        for entry in question["comparisons"]
        if entry["met"] is not None
    ]
    head = [
        "# Results: the course documents, row by row",
        "Written by `benchmarks/study_results.py` from the numbers of [studies](studies.md) "
        "that ran; do not edit. A row is a demand or a result of a document. *Met*: where more "
        "is better, what is measured here is as high as in the document, or as all that it asks "
        "for; nothing stands there where a document has no such value. sd: standard deviation "
        "over n seeds.",
        f"{rows - len(missing)} of {rows} rows are answered"
        + (
            f"; of {len(judged)} values of which more is better, {sum(judged)} are met or beaten "
            "in full runs."
            if judged
            else "."
        ),
    ]
    if missing:
        lines = [f"- {one.row}: {_cell(one.why)}" for one in missing]
        head.append("**Missing:**\n\n" + "\n".join(lines))
    return "\n\n".join([*head, *parts]) + "\n", missing


def _document(name: str, key: str, result: dict[str, Any] | None) -> tuple[str, list[Missing]]:
    """The chapter of one document: who, how long, and a line per comparison of each row."""
    document = DOCUMENTS[key]
    missing: list[Missing] = []
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for number, asked in document.rows.items():
        row = f"{key}.{number}"
        found, why = _lines(name, row, asked, result)
        lines += found
        if why:
            missing.append(Missing(row=row, why=why))
            lines.append(f"| {row} | {_cell(asked)} | | **missing**: {_cell(why)} | | |")
    about = "Not run yet." if result is None else _run(result)
    head = f"## {key}: `{name}`\n\n{_cell(document.citation)}. {about}"
    return f"{head}\n\n" + "\n".join(lines), missing


def _run(result: dict[str, Any]) -> str:
    """Effort, wall time and machine of a study."""
    machine = result.get("machine") or {}
    minutes = sum(question["seconds"] for question in result["questions"]) / 60
    effort = (
        f"**A fast run on {result['data']}**: fewer and other images and fewer steps than in the "
        "document, so that values cannot be compared"
        if result["fast"]
        else f"A full run on {result['data']}"
    )
    return (
        f"{effort}, seed {result['seed']}; {minutes:.1f} minutes on "
        f"{_cell(machine.get('processor', 'an unknown processor'))}, "
        f"{machine.get('threads', '?')} threads; convscope {_cell(result['convscope'])}."
    )


def _lines(name: str, row: str, asked: str, result: dict[str, Any] | None) -> tuple[list[str], str]:
    """The lines of a row, or why there are none."""
    if result is None:
        return [], f"the study {name} did not run"
    questions = [one for one in result["questions"] if row in one["rows"]]
    for question in questions:
        if question["status"] != "ok":
            return [], f"{_heading(question)} stopped: {question['error']}"
    shown = result["rows"].get(row)
    wanted = [spec.name for spec in STUDIES[name].questions if row in spec.rows]
    if set(wanted) - {question["name"] for question in questions}:
        return [], f"the study {name} did not answer all of it"
    if shown is None or not shown["figures"] + shown["tables"]:
        return [], f"the study {name} has no figure or table of it"
    lines = []
    for question in questions:
        entries = [one for one in question["comparisons"] if one["row"] == row]
        where = _where(question, row)
        first = [row, asked]
        for entry in entries or [None]:
            if entry is None:
                cells = ["", question["finding"], ""]
            else:
                once = " (n = 1)" if (entry["unit"], entry["n"]) == ("share", 1) else ""
                note = f"{once} ({entry['note']})" if entry["note"] else once
                cells = [f"{entry['what']}: {entry['document']}", f"{entry['here']}{note}",
                         MET[entry["met"]]]  # fmt: skip
            lines.append([*first, *cells, where])
            first, where = ["", ""], ""
    return [f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines], ""


def _where(question: dict[str, Any], row: str) -> str:
    """Heading, and the names of figures and tables."""
    files = [f"`{file}`" for file in question["shown"].get(row, [])]
    return f"{_heading(question)}: {', '.join(files)}"


def _heading(question: dict[str, Any]) -> str:
    return f"{question['number']} {question['title']}".strip()


def _cell(text: object) -> str:
    """Text for a cell: one line, no bars, no markup of HTML."""
    plain = " ".join(str(text).split())
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
        plain = plain.replace(raw, safe)
    return plain


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=PAGE, help="by default docs/results.md")
    args = parser.parse_args(words)
    text, missing = page_of(results_in(args.folders))
    write_whole(args.out, text.encode())
    for one in missing:
        print(f"missing {one.row}: {one.why}", file=sys.stderr)
    print(f"wrote {args.out}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
