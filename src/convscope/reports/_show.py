"""Numbers and cells as the reader sees them."""

from __future__ import annotations

import math
from typing import Any

LONGEST = 80
"""Characters of a name; the rest becomes an ellipsis, and the whole name a tooltip."""

TONES = ("good", "warn", "bad")


def cut(text: str, limit: int = LONGEST) -> str:
    """At most `limit` characters.

    Example:
        >>> cut("abcdefgh", 5)
        'abcd…'
    """
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def number(value: float | int | None, kind: str = "number") -> str:
    """A number in few characters.

    Example:
        >>> number(799078), number(0.98765, "percent"), number(None), number(0.0312499)
        ('799,078', '98.77 %', '–', '0.03125')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if kind == "percent":
        return f"{100 * value:.2f} %" if abs(value) < 1 else f"{100 * value:.1f} %"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e9):
        return f"{int(value):,}"
    return f"{value:.4g}"


def cell(raw: Any, kind: str = "text", limit: int = LONGEST) -> dict[str, str]:
    """What a template needs of one table cell: text, tooltip, tone, and its kind."""
    value, tone = raw, ""
    if isinstance(raw, dict):
        value, tone = raw.get("value"), raw.get("tone", "")
    if isinstance(value, bool):
        whole = "yes" if value else "no"
    elif value is None or isinstance(value, int | float):
        whole = number(value, kind)
    elif isinstance(value, str):
        whole = value
    else:
        whole = str(value)
    short = cut(whole, limit)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "text": short,
        "title": cut(whole, 1000) if short != whole else "",
        "tone": tone if tone in TONES else "",
        "kind": "n"
        if numeric or kind in ("number", "percent")
        else ("c" if kind == "code" else ""),
    }


def runs(text: str) -> list[list[tuple[str, bool]]]:
    """Paragraphs as runs of (text, is code): words in backticks are code.

    Example:
        >>> runs("see `conv1` first")
        [[('see ', False), ('conv1', True), (' first', False)]]
    """
    out = []
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            pieces = paragraph.strip().split("`")
            if len(pieces) % 2 == 0:
                pieces = [paragraph.strip()]
            out.append([(piece, bool(i % 2)) for i, piece in enumerate(pieces) if piece])
    return out
