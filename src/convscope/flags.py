"""Flags of results: codes and counts for programs, a sentence for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Flag", "Severity", "codes_of", "count_of"]

Severity = Literal["note", "warning", "error"]
"""``"note"``: worth knowing; ``"warning"``: casts doubt on the numbers; ``"error"``: a promise
of the method was broken."""


@dataclass(frozen=True)
class Flag:
    """One thing that was noticed.

    Programs compare `code`; nothing reads `text` but people.

    Attributes:
        code: What was noticed, such as ``"zero-gradient"``.
        severity: How much it matters.
        count: How many images (or whatever `text` counts) it is about; 0: not counted.
        of: Among how many; 0: not counted.
        text: The sentence, without a full stop.

    Example:
        >>> flag = Flag("zero-gradient", "warning", 2, 7, "zero gradient in 2 of 7 rows")
        >>> flag.code, flag.count, str(flag)
        ('zero-gradient', 2, 'zero gradient in 2 of 7 rows')
    """

    code: str
    severity: Severity
    count: int
    of: int
    text: str

    def __str__(self) -> str:
        return self.text


def codes_of(flags: Iterable[Flag]) -> set[str]:
    """The codes among some flags.

    Example:
        >>> codes_of([Flag("saturated", "note", 1, 2, "logits saturate softmax in 1 of 2 rows")])
        {'saturated'}
    """
    return {flag.code for flag in flags}


def count_of(flags: Iterable[Flag], code: str) -> int:
    """How many images the flags with this code are about, together.

    Example:
        >>> count_of([Flag("saturated", "note", 1, 2, "...")] * 2, "saturated")
        2
    """
    return sum(flag.count for flag in flags if flag.code == code)
