"""The reader's own notes on a study: which text is about which question, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from convscope.files import Kind, read_text
from convscope.reports import Section
from convscope.studies._study import QuestionSpec

NOTES = Kind(what="notes", largest=1 << 20, hint="save it as UTF-8 text, or move it away")

_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_ITEM = re.compile(r"\s*(?:[-*+]|(\d{1,9})[.)])[ \t]+(\S.*)")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_RULE = re.compile(r"\s*([-*_=])(?:[ \t]*\1){2,}\s*")


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a reader wrote about a study.

    Attributes:
        title: Of the notes to the whole study, if they have one.
        whole: About the whole study.
        about: About single questions, by their names.
        stray: Headings that are no question's. Their text is part of `whole`.
    """

    title: str = ""
    whole: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    stray: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What page and terminal say of headings that are no question's; empty if all are."""
        if not self.stray:
            return ""
        return (
            f"notes.md: no question is called {', '.join(self.stray)}; what stands there is shown "
            "with the notes to the whole study."
        )


def read_notes(path: Path, questions: Sequence[QuestionSpec] = ()) -> Notes:
    r"""The reader's own notes by question.

    A heading begins the notes of a question (`is_about`), and a deeper one inside of them is
    theirs. What stands before is about the whole study; a title that begins the file is the title
    of that. What stands below any other heading is kept with the whole study, too.

    Args:
        path: The file; if there is none, there are no notes.
        questions: Of the study.

    Raises:
        DataError: No UTF-8 text, or more than a megabyte.

    Example:
        >>> import tempfile
        >>> from convscope.studies import STUDIES
        >>> file = Path(tempfile.mkdtemp()) / "notes.md"
        >>> _ = file.write_text("# Mine\nOn all.\n\n## Problem 4 Part 2\nSurprising.\n")
        >>> found = read_notes(file, STUDIES["homework-2"].questions)
        >>> found.title, found.whole, found.about
        ('Mine', 'On all.', {'transformations': 'Surprising.'})
    """
    if not path.exists():
        return Notes()
    title, depth, begun = "", 0, False
    stray: list[str] = []
    places = [""]
    texts: dict[str, list[str]] = {}
    for kind, line in _lines(read_text(path, NOTES)):
        if kind == "heading":
            level, words = _heading(line)
            asked = [spec.name for spec in questions if is_about(words, spec)]
            if asked:
                places, depth, line = asked, level, ""
            elif not begun and level == 1:
                title, line = words, ""
            elif places == [""] or level <= depth:
                places = [""]
                stray.append(words)
        begun = begun or kind == "heading" or bool(line.strip())
        for place in places:
            texts.setdefault(place, []).append(line)
    kept = {place: _trimmed(lines) for place, lines in texts.items()}
    return Notes(
        title=title,
        whole=kept.pop("", ""),
        about={place: text for place, text in kept.items() if text},
        stray=tuple(dict.fromkeys(stray)),
    )


def show_notes(section: Section, text: str) -> None:
    """Add notes to a section: paragraphs, lists, code between fences, headings.

    Everything else of Markdown stays as it was typed.
    """
    paragraph: list[str] = []
    items: list[str] = []
    code: list[str] = []
    first, after_gap = 0, False

    def end() -> None:
        if paragraph:
            section.text("\n".join(paragraph))
        if items:
            section.bullets(items.copy(), first=first)
        if code:
            section.code("\n".join(code))
        for kept in (paragraph, items, code):
            kept.clear()

    for kind, line in _lines(text):
        item = _ITEM.fullmatch(line) if kind == "text" else None
        if kind == "code":
            code.append(line)
        elif kind != "text" or _RULE.fullmatch(line):
            end()
            if kind == "heading":
                section.heading(_heading(line)[1])
        elif not line.strip():
            if paragraph:
                end()
        elif item and (items or not paragraph or not item[1]):
            if paragraph or bool(item[1]) != bool(first):
                end()
            first = first if items else int(item[1] or 0)
            items.append(item[2])
        elif items and (not after_gap or line[0] in " \t"):
            items[-1] += f"\n{line.strip()}"
        else:
            if items:
                end()
            paragraph.append(line)
        after_gap = not line.strip()
    end()


def is_about(heading: str, spec: QuestionSpec) -> bool:
    """Whether a heading of the notes is a question's: its name, its number, or both numbers alone.

    Example:
        >>> from convscope.studies import STUDIES
        >>> spec = next(q for q in STUDIES["homework-2"].questions if q.name == "transformations")
        >>> [is_about(h, spec) for h in ("transformations", "problem 4 part 2: odd", "4.2", "4")]
        [True, True, True, False]
    """
    first = heading.split()[0].rstrip(":.") if heading.strip() else ""
    digits = ".".join(re.findall(r"\d+", spec.number))
    if first and first in (spec.name, digits):
        return True
    number = re.escape(spec.number)
    return bool(number and re.match(rf"{number}(?![\w.])", heading, re.IGNORECASE))


def _lines(text: str) -> Iterator[tuple[Literal["text", "heading", "fence", "code"], str]]:
    """Lines, each with what it is: between fences all is code."""
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and line.strip() == mark[1] and mark[1].startswith(fence)
            yield "fence" if closes else "code", line
            fence = "" if closes else fence
        elif mark:
            fence = mark[1]
            yield "fence", line
        else:
            yield "heading" if _HEADING.fullmatch(line) else "text", line


def _heading(line: str) -> tuple[int, str]:
    """Level and words."""
    found = _HEADING.fullmatch(line)
    assert found is not None
    return len(found[1]), found[2].strip()


def _trimmed(lines: Sequence[str]) -> str:
    """Lines without empty ones before and after, and never two of them in between."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n").rstrip()
