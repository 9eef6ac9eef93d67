"""metrics.csv: the curve of a run, one row per measured point, the same bytes after any resume."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from convscope.training import _faults
from convscope.training._events import Measured

COLUMNS = tuple(field.name for field in fields(Measured))


def row_text(point: Measured) -> str:
    """One line of ``metrics.csv``: seven digits, no clock time, so equal runs give equal bytes."""
    values = (f"{v:.7g}" if isinstance(v, float) else str(v) for v in astuple(point))
    return ",".join(values) + "\n"


def history_text(points: list[Measured]) -> str:
    """The whole of ``metrics.csv``."""
    return ",".join(COLUMNS) + "\n" + "".join(map(row_text, points))


def append(path: Path, point: Measured) -> None:
    """Add one row to the file."""
    _faults.hit("log.append")
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(row_text(point))


def read_history(path: Path) -> tuple[Measured, ...]:
    """The rows of a ``metrics.csv``; a last line that was cut off is left out.

    Args:
        path: The file, or the run folder that holds it.

    Example:
        >>> read_history(Path("runs/none"))
        ()
    """
    path = path / "metrics.csv" if path.is_dir() else path
    if not path.is_file():
        return ()
    return parse_history(path.read_text(encoding="utf-8"))


def parse_history(text: str) -> tuple[Measured, ...]:
    """The rows of the text of a ``metrics.csv``."""
    whole = text[: text.rfind("\n") + 1]
    return tuple(map(_point, csv.DictReader(io.StringIO(whole))))


def _point(row: dict[str, str]) -> Measured:
    numbers: dict[str, Any] = {name: float(row[name]) for name in COLUMNS}
    whole = {name: int(row[name]) for name in ("step", "validation_images")}
    return Measured(**{**numbers, **whole})
