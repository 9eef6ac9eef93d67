"""Text for a shared file: no sign of whose machine it came from, nothing that moves other text."""

from __future__ import annotations

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


def clean(value: Any) -> Any:
    """Every text inside lists and dicts without paths and controls."""
    if isinstance(value, str):
        return without_paths(without_controls(value))
    if isinstance(value, dict):
        return {key: clean(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean(entry) for entry in value]
    return value
