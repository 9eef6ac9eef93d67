"""One question of a study in the making: its figures, tables, numbers and sentences."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from statistics import mean, stdev
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from convscope._readable import readable
from convscope.figures import lossless, photo, picture_grid, pixels, svg
from convscope.pages import screen_scale
from convscope.reports import Section
from convscope.studies._study import QuestionSpec

DPI = 150
"""Of the PNG files of figures."""

SMALL = 112
"""Sides in pixels up to which an image on a page loses nothing."""

HALF, TITLES, GAP = 420, 74, 10
"""Pixels of half a card, of the titles of rows, and between two images."""

Unit = Literal["share", "count", "number"]
Tone = Literal["", "good", "warn", "bad"]
Column = str | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a document reports and what is measured here.

    Attributes:
        row: Key of the row of the document.
        what: What was measured.
        document: As the document has it, in words.
        measured: One value per seed; empty if it is no number.
        words: What is found here, in words, if it is no number.
        unit: How to write the values.
        at_least: The value that is met or beaten, if more is better.
        note: What is different about the two.
    """

    row: str
    what: str
    document: str
    measured: tuple[float, ...] = ()
    words: str = ""
    unit: Unit = "number"
    at_least: float | None = None
    note: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return mean(self.measured) if self.measured else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over the seeds, if there are several."""
        return stdev(self.measured) if len(self.measured) > 1 else None

    @property
    def met(self) -> bool | None:
        """Whether the document's value is met; ``None`` where nothing is to be met."""
        if self.at_least is None or self.mean is None:
            return None
        return self.mean >= self.at_least

    @property
    def here(self) -> str:
        """What is measured here, in words."""
        if self.mean is None:
            return self.words
        text = in_unit(self.mean, self.unit)
        if self.sd is not None:
            text += f" (sd {in_unit(self.sd, self.unit)}, n = {len(self.measured)})"
        return f"{text} {self.words}".strip()

    def record(self) -> dict[str, Any]:
        """For result.json."""
        return {
            "row": self.row, "what": self.what, "document": self.document, "here": self.here,
            "measured": list(self.measured), "mean": self.mean, "sd": self.sd,
            "n": len(self.measured), "unit": self.unit, "at_least": self.at_least,
            "met": self.met, "note": self.note,
        }  # fmt: skip


def in_unit(value: float, unit: Unit) -> str:
    """A value as people read it.

    Example:
        >>> in_unit(0.9892, "share"), in_unit(799078, "count"), in_unit(0.17341, "number")
        ('98.92 %', '799,078', '0.1734')
    """
    if not math.isfinite(value):
        return "–"
    if unit == "share":
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}" if unit == "count" else f"{value:.4g}"


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One image of a grid.

    Attributes:
        image: ``(1 or 3, height, width)`` in [0, 1], or 8-bit pixels ``(height, width[, 3 or 4])``.
        title: A line under it, in bold: what matters.
        detail: A quiet line under that.
        tone: What came of it: ``"good"``, ``"bad"`` or ``"warn"`` color the title.
        alt: A sentence for those who cannot see it.
    """

    image: Tensor | NDArray[np.uint8]
    title: str = ""
    detail: str = ""
    tone: Tone = ""
    alt: str = ""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """As 8-bit pixels."""
        return pixels(self.image.cpu()) if isinstance(self.image, Tensor) else self.image


@dataclass
class Question:
    """What a question has found so far. Functions of a study fill it from top to bottom.

    Attributes:
        spec: Its record.
        section: Its chapter of the page; any block may be added there, too.
        numbers: What goes to ``result.json``, by name.
        comparisons: What the document reports next to what is measured here.
        deviations: What is done otherwise: as the document has it, as it is here, the reason.
        discussion: Sentences made from the numbers.
        tiles: Headline numbers for the top of the page.
        shown: Figures and tables by the row of the document that they answer.
    """

    spec: QuestionSpec
    section: Section
    numbers: dict[str, Any] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    deviations: list[tuple[str, str, str]] = field(default_factory=list)
    discussion: list[str] = field(default_factory=list)
    tiles: list[dict[str, str]] = field(default_factory=list)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def figure(
        self,
        name: str,
        drawn: Figure,
        *,
        alt: str,
        caption: str = "",
        row: str = "",
        wide: bool = False,
    ) -> None:
        """A chart: on the page, and as ``figures/QUESTION-NAME.svg`` and ``.png``.

        Args:
            name: Of the files.
            drawn: Such as `convscope.figures.draw` makes of any result.
            alt: A sentence for those who cannot see it.
            caption: What one sees and how to read it: every axis and color.
            row: The row of the document that it answers; by default all of the question's.
            wide: Takes the whole width of the page.
        """
        self.section.figure(name, svg(drawn, alt=alt), alt=alt, caption=caption, wide=wide)
        path = self.section.blocks[-1]["file"]
        self._keep(str(PurePosixPath(path).with_suffix(".png")), png_of(drawn))
        self._answers(path, row)

    def pictures(
        self,
        name: str,
        columns: Sequence[str],
        rows: Sequence[tuple[str, Sequence[Picture | None]]],
        *,
        caption: str,
        row: str = "",
        scale: float = 0,
    ) -> None:
        """Images in rows and columns that mean something: on the page, and as a figure in files.

        Args:
            name: Of the files.
            columns: Titles of the columns.
            rows: Title and cells of each row; ``None`` leaves a cell empty.
            caption: What one sees and how to read it.
            row: As for `figure`.
            scale: Screen pixels per pixel; by default what suits the images.
        """
        cells = [picture for _, line in rows for picture in line if picture is not None]
        side = max(max(picture.pixels.shape[:2]) for picture in cells)
        lines = [
            {
                "title": title,
                "cells": [
                    None if picture is None else self._cell(f"{name}-{r}-{c}", picture)
                    for c, picture in enumerate(line)
                ],
            }
            for r, (title, line) in enumerate(rows)
        ]
        if not scale:
            scale = screen_scale(side, 84 if len(columns) > 6 else 108)
        titles = TITLES if any(title for title, _ in rows) else 0
        width = titles + sum(scale * side + GAP for _ in columns)
        self.section.grid(columns, lines, caption=caption, scale=scale, beside=width <= HALF)
        drawn = picture_grid(
            columns,
            [
                (
                    title,
                    [None if p is None else (p.pixels, p.title, p.detail, p.tone) for p in line],
                )
                for title, line in rows
            ],
        )
        path = f"figures/{self.section.id}-{name}.svg"
        self._keep(path, svg(drawn, alt=caption).encode())
        self._keep(str(PurePosixPath(path).with_suffix(".png")), png_of(drawn))
        self._answers(path, row)

    def table(
        self,
        name: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        *,
        caption: str = "",
        row: str = "",
        wide: bool = False,
    ) -> None:
        """A table: on the page, as ``tables/QUESTION-NAME.csv`` and as ``.tex``.

        Nothing that differs from run to run, such as seconds, belongs here: one seed gives the
        same bytes.

        Args:
            name: Of the files.
            columns: As for `convscope.reports.Section.table`.
            rows: Cells.
            caption: What it says.
            row: As for `figure`.
            wide: Takes the whole width of the page.
        """
        path = add_table(self.section, name, columns, rows, caption=caption, wide=wide)
        self._answers(path, row)

    def compare(
        self,
        what: str,
        *,
        document: str,
        measured: float | Sequence[float] = (),
        words: str = "",
        unit: Unit = "number",
        at_least: float | None = None,
        row: str = "",
        note: str = "",
    ) -> None:
        """Put what the document reports next to what is measured here.

        Args:
            what: What was measured, such as ``"test accuracy"``.
            document: As the document has it.
            measured: A value, or one per seed.
            words: What is found here if it is no number, or what follows the number.
            unit: ``"share"`` is written in percent, ``"count"`` as a whole number.
            at_least: The document's value where more is better: met or beaten is green.
            row: Of the document; by default the first of the question.
            note: What is different about the two.
        """
        values = (measured,) if isinstance(measured, int | float) else tuple(measured)
        self.comparisons.append(
            Comparison(
                row=row or self.spec.rows[0],
                what=what,
                document=document,
                measured=tuple(float(value) for value in values),
                words=words,
                unit=unit,
                at_least=at_least,
                note=note,
            )
        )

    def find(self, sentence: str) -> None:
        """The sentence above all others, made from numbers."""
        self.section.finding = sentence

    def discuss(self, text: str) -> None:
        """A paragraph of the discussion, made from numbers."""
        self.discussion.append(text)

    def deviate(self, document: str, here: str, reason: str) -> None:
        """Say what is done otherwise than in the document, and why."""
        self.deviations.append((document, here, reason))

    def number(self, name: str, value: Any) -> None:
        """Keep a number (or plain data) for ``result.json``."""
        self.numbers[name] = value

    def tile(self, label: str, value: str, *, detail: str = "", tone: Tone = "") -> None:
        """A headline number for the top of the page."""
        self.tiles.append({"label": label, "value": value, "detail": detail, "tone": tone})

    def _cell(self, name: str, picture: Picture) -> dict[str, Any]:
        data = picture.pixels
        small = max(data.shape[:2]) <= SMALL or data.shape[-1] == 4
        file = self.section.image(name, lossless(data) if small else photo(data)[0])
        alt = picture.alt or ", ".join(filter(None, (picture.title, picture.detail))) or name
        return {
            "file": file, "alt": alt, "title": picture.title, "detail": picture.detail,
            "tone": picture.tone,
        }  # fmt: skip

    def _keep(self, path: str, data: bytes) -> None:
        self.section.files[path] = data

    def _answers(self, path: str, row: str) -> None:
        for key in (row,) if row else self.spec.rows:
            self.shown.setdefault(key, []).append(path)


def add_table(
    section: Section,
    name: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
    wide: bool = False,
) -> str:
    """A table on the page, as CSV and as LaTeX; the path of the CSV file."""
    section.table(columns, rows, caption=caption, name=name, wide=wide)
    path = str(section.blocks[-1]["csv"])
    text = latex_table(columns, rows)
    section.files[str(PurePosixPath(path).with_suffix(".tex"))] = text.encode()
    return path


def png_of(drawn: Figure) -> bytes:
    """A figure as the bytes of a PNG file: the same every time."""
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def latex_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> str:
    r"""A table as LaTeX, without packages.

    Example:
        >>> print(latex_table(["a_b", {"title": "n", "kind": "percent"}], [["x", 0.5]]))
        \begin{tabular}{lr}
        a\_b & n \\ \hline
        x & 50.00 \% \\
        \end{tabular}
        <BLANKLINE>
    """
    heads = [c if isinstance(c, dict) else {"title": c, "kind": "text"} for c in columns]
    kinds = [str(head.get("kind", "text")) for head in heads]
    places = "".join("r" if kind in ("number", "percent") else "l" for kind in kinds)
    lines = [" & ".join(_latex(head["title"]) for head in heads) + r" \\ \hline"]
    for row in rows:
        cells = (_latex(_plain(cell, kind)) for cell, kind in zip(row, kinds, strict=True))
        lines.append(" & ".join(cells) + r" \\")
    body = "\n".join(lines)
    return f"\\begin{{tabular}}{{{places}}}\n{body}\n\\end{{tabular}}\n"


def _plain(cell: Any, kind: str) -> str:
    value = cell.get("value") if isinstance(cell, dict) else cell
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if kind == "percent":
        return in_unit(float(value), "share")
    return f"{value:,}" if isinstance(value, int) else in_unit(value, "number")


def _latex(text: object) -> str:
    return "".join(_SPECIAL.get(character, character) for character in " ".join(str(text).split()))
