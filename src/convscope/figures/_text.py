"""Names that came from files, made safe to draw."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache

from convscope.errors import printable

LETTERS_PER_INCH = 10.5


def label(text: str, limit: int = 22) -> str:
    r"""`text` as one short line that matplotlib draws letter by letter.

    Dollar signs would start mathematics (and an unfinished formula stops the whole figure), line
    breaks and direction marks would move the text, and characters that the font lacks would each
    print a warning.

    Args:
        text: Anything: class names are hostile.
        limit: Longest result in characters; the rest becomes an ellipsis.

    Example:
        >>> label("a name that is much too long for an axis", limit=12)
        'a name that…'
        >>> print(label("$x$"))
        \$x\$
    """
    line = printable(str(text)[: 4 * limit + 4], limit=4 * limit + 40)
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    known = _drawable()
    return "".join(c if ord(c) in known else "□" for c in line).replace("$", r"\$")


def class_label(class_names: Sequence[str], index: int, limit: int = 22) -> str:
    """The name of class `index`, led by its number where the font cannot draw the name.

    Example:
        >>> class_label(["cat", "\u732b"], 0), class_label(["cat", "\u732b"], 1)
        ('cat', '1: □')
    """
    if not 0 <= index < len(class_names):
        return f"class {index}"
    drawn = label(class_names[index], limit)
    return f"{index}: {drawn}" if "□" in drawn or not drawn.strip() else drawn


def wrapped(text: str, width: float, *, limit: int = 300) -> str:
    r"""`text` as safe lines that fit a title of `width` inches in bold letters of ten points.

    Example:
        >>> print(wrapped("occlusion (window 14 x 14, stride 7)", 2.0))
        occlusion (window 14
        x 14, stride 7)
    """
    line = printable(str(text)[: 4 * limit], limit=limit)
    lines = textwrap.wrap(line, max(12, int(width * LETTERS_PER_INCH))) or [""]
    return "\n".join(label(part, limit) for part in lines)


def percent(share: float, digits: int = 1) -> str:
    r"""A share between 0 and 1 in percent, with a space that does not break.

    Example:
        >>> percent(0.98765) == "98.8\u00a0%", percent(float("nan"))
        (True, '–')
    """
    return f"{100 * share:.{digits}f}\u00a0%" if share == share else "–"


@cache
def _drawable() -> frozenset[int]:
    """The characters of matplotlib's own font, which is everywhere the same."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def in_words(settings: Mapping[str, object]) -> str:
    """Settings of a method in one line.

    Example:
        >>> in_words({"step_size": 0.05, "squared": True, "views": False})
        'step size 0.05, squared, no views'
    """
    return ", ".join(_one(key.replace("_", " "), value) for key, value in settings.items())


def _one(name: str, value: object) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
