"""One question of a study in the making: its figures, tables, numbers and sentences."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from convscope._readable import readable
from convscope.figures import confusion_matrix, lossless, photo, picture_grid, pixels, svg
from convscope.pages import screen_scale, show_confusions
from convscope.reports import LARGEST_MATRIX, Section
from convscope.studies._comparison import Comparison, Unit
from convscope.studies._study import QuestionSpec
from convscope.studies._tables import Column, add_table
from convscope.training import Evaluation
from convscope.transfer import TransferResult

DPI = 150
"""Of the PNG files of figures."""

SMALL = 112
"""Sides in pixels up to which an image on a page loses nothing."""

FULL, HALF, TITLES, GAP = 1000, 420, 74, 10
"""Pixels of a card and of half of it, of the titles of rows, and between two images."""

Tone = Literal["", "good", "warn", "bad"]


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

    def confusions(
        self,
        found: Evaluation | TransferResult,
        *,
        labels: Tensor,
        predicted: Tensor,
        images: Callable[[Tensor], Tensor] | None,
        confidences: Tensor | None = None,
        row: str = "",
    ) -> None:
        """A confusion matrix: on the page its cells open their images; and as a figure in files.

        Of very many classes, the figure of the most frequent confusions.

        Args:
            found: Class names and counts.
            labels: ``(n,)``, true classes.
            predicted: ``(n,)``, predicted classes.
            images: ``images(rows)``, as for `convscope.pages.show_confusions`; ``None`` if
                they are not at hand.
            confidences: ``(n,)``, softmax of the predicted class.
            row: As for `figure`.
        """
        drawn, alt = confusion_matrix(found), "True class against predicted class"
        if len(found.class_names) > LARGEST_MATRIX:
            words = "The most frequent confusions: true class and predicted class."
            self.figure("confusions", drawn, alt=alt, caption=words, row=row)
            return
        show_confusions(
            self.section,
            found.confusion,
            found.class_names,
            labels=labels,
            predicted=predicted,
            images=images,
            confidences=confidences,
        )
        path = f"figures/{self.section.id}-confusions.svg"
        self._keep(path, svg(drawn, alt=alt).encode())
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
            scale: Screen pixels per pixel; by default what suits the images and fits into a page.
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
        titles = TITLES if any(title for title, _ in rows) else 0
        if not scale:
            wish = screen_scale(side, 84 if len(columns) > 6 else 108)
            scale = fitting_scale(wish, side, len(columns), FULL - titles)
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


def png_of(drawn: Figure) -> bytes:
    """A figure as the bytes of a PNG file: the same every time."""
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def fitting_scale(wish: float, side: int, columns: int, width: float) -> float:
    """The largest scale up to `wish` at which images in so many columns fit into a width.

    Large scales are multiples of a half, so that the pixels of small images stay even.

    Args:
        wish: Screen pixels per pixel that the images would have if there were room.
        side: Pixels of the longest side of an image.
        columns: Images side by side.
        width: Screen pixels that there are.

    Example:
        >>> fitting_scale(3, 32, 5, 1000), fitting_scale(3, 32, 10, 926)
        (3, 2.5)
        >>> fitting_scale(0.75, 224, 6, 1000)
        0.69
    """
    most = (width / columns - GAP) / side
    if wish <= most:
        return wish
    return math.floor(2 * most) / 2 if most >= 1 else math.floor(100 * most) / 100
