"""Tables of a study: on the page, as CSV and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from convscope.reports import Section
from convscope.studies._comparison import in_unit

Column = str | dict[str, Any]


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
