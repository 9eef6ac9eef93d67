"""Colors, fonts, axes and labels shared by all figures."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure

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


INK = "#1f2328"
MUTED = "#5f6770"
GRID = "#d8dade"
PAPER = "#ffffff"
ON_DARK = "#fefefe"
ON_LIGHT = "#1e2228"
"""Text on shaded cells: their shades are the same on light and dark pages, so no theme color."""
BLUE = "#0068ad"
RED = "#c8500a"
GREEN = "#00805f"
PURPLE = "#a6478a"
GOLD = "#b07c00"
SKY = "#3a9bd9"
SERIES = (BLUE, RED, GREEN, PURPLE, GOLD, SKY)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1.5)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")

DARK = {
    INK: "#e6e8ea",
    MUTED: "#a0a8b2",
    GRID: "#3a4048",
    PAPER: "#1c2025",
    BLUE: "#5cb0ff",
    RED: "#ff9a57",
    GREEN: "#3fcf9e",
    PURPLE: "#e79aca",
    GOLD: "#f0bd45",
    SKY: "#9bd3ff",
}

AGAINST, FOR = "#2b82d9", "#e2711d"
"""Ends of the signed scale. No page turns pictures: these stand out on white and on dark paper."""

SIGNED = ListedColormap(
    [*((*to_rgb(AGAINST), (128 - i) / 128) for i in range(128)),
     *((*to_rgb(FOR), i / 128) for i in range(129))],
    name="against-for",
)  # fmt: skip
"""Blue is against, orange is for, told apart by every common kind of color blindness. Zero is
transparent: it has the color of the page, light or dark, and of an image that a map is laid over.
"""

SIGNED_LEGEND = "Methods with a sign: orange is for the class, blue against it, no color is zero"
UNSIGNED_LEGEND = "methods without: dark is zero, yellow is most"
"""What the colors of explanation maps mean: they belong to the method, never to the values."""

POSITIVE = "cividis"
"""Rises evenly in brightness, also in gray and for color-blind readers."""

SHARES = "Blues"
"""Cells of a matrix of shares, from white to dark."""

SMALL = 9
"""The smallest letters, in units of the SVG: pixels on a screen that shows it at its own size."""

NARROW = 4.7
"""Inches of a chart that a page shows in half a card, or on a phone without shrinking it."""

SETTINGS: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "lines.linewidth": 1.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100,
    "image.interpolation": "nearest",
    "svg.fonttype": "none",
    "svg.hashsalt": "convscope",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}


@contextmanager
def look() -> Iterator[None]:
    """Everything created inside has the look of this package; the user's settings come back."""
    with matplotlib.rc_context(cast(Any, SETTINGS)):
        yield


class NotebookFigure(Figure):
    """A figure that shows itself in a notebook, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        with look():
            self.savefig(written, format="png", dpi=110)
        return written.getvalue()


def figure(width: float = 6.4, height: float = 3.4) -> Figure:
    """An empty figure, in inches, that no window system knows of."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def axes(
    drawn: Figure | SubFigure,
    position: Any = 111,
    *,
    title: str = "",
    x: str = "",
    y: str = "",
    grid: Literal["x", "y", "both", ""] = "",
) -> Axes:
    """One set of axes with titles.

    Args:
        drawn: The figure.
        position: A position or cell of a grid, as ``Figure.add_subplot`` takes it.
        title: Safe text.
        x: Safe text under the horizontal axis.
        y: Safe text beside the vertical axis.
        grid: ``"x"``, ``"y"``, ``"both"`` or nothing.
    """
    panel: Axes = drawn.add_subplot(position)
    if title:
        panel.set_title(title)
    if x:
        panel.set_xlabel(x)
    if y:
        panel.set_ylabel(y)
    if grid:
        panel.grid(True, axis=grid)
        panel.tick_params(length=0 if grid == "both" else 3)
    return panel


def note(drawn: Axes, text: str) -> None:
    """Say in the middle of the axes why there is nothing to see."""
    drawn.text(
        0.5, 0.5, text, transform=drawn.transAxes, ha="center", va="center", color=MUTED, fontsize=9
    )


def bare(drawn: Axes) -> None:
    """Only the picture: no ticks, a hairline around."""
    drawn.set_xticks([])
    drawn.set_yticks([])
    for spine in drawn.spines.values():
        spine.set(visible=True, linewidth=0.6, color=GRID)
