"""Text of a report: cleaned, cut, and numbers and cells as they are shown."""

from __future__ import annotations

import math
import re
from typing import Any

_WINDOWS = re.compile(r"\b[A-Za-z]:\\(?:[^\\/:*?\"<>|\r\n]+\\)+([^\\/:*?\"<>|\s]*)")
_HOME = re.compile(r"(?<![\w.])/(?:home|Users)/[^/\r\n\"'<>|:]+(/|(?=$|[\s\"'<>|:,;)]))")
_POSIX = re.compile(r"(?<![\w.~…</])/(?:[^\s/:'\"<>|,;()]+/)+([^\s/:'\"<>|,;()]*)")

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def without_paths(text: str) -> str:
    r"""`text` with absolute paths cut to their last part, so that no user or folder name is left.

    Example:
        >>> without_paths("read /home/ada/thesis/runs/m with 8/255 and 1/2")
        'read …/m with 8/255 and 1/2'
        >>> without_paths(r"C:\\Users\\ada\\net.py").endswith("net.py")
        True
    """
    text = _HOME.sub("/~/", text) if "/home/" in text or "/Users/" in text else text
    text = _WINDOWS.sub(lambda found: f"…\\{found[1]}", text)
    text = _POSIX.sub(lambda found: f"…/{found[1]}" if found[1] else "…/", text)
    return text.replace("/~/", "~/")


def without_controls(text: str) -> str:
    r"""`text` with control characters, direction overrides and lone surrogates as escapes.

    Example:
        >>> without_controls("a\u202eb\n\x00") == "a" + "\\u202e" + "b\n" + "\\x00"
        True
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def clean(text: str) -> str:
    """`text` as a report holds it: without paths and controls."""
    return without_paths(without_controls(text))


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
