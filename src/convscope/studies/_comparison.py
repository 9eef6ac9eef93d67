"""What a document reports next to what is measured here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Literal

Unit = Literal["share", "count", "number"]


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


def span(low: float, high: float, digits: int = 0) -> str:
    """The smallest and the largest of some numbers, or one where both are written alike.

    Example:
        >>> span(28, 1200), span(30, 30), span(98.96, 99.04, 1)
        ('28 to 1,200', '30', '99.0')
    """
    first, last = f"{low:,.{digits}f}", f"{high:,.{digits}f}"
    return first if first == last else f"{first} to {last}"
