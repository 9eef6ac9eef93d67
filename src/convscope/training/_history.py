"""metrics.csv: the curve of a run, one row per measured point, the same bytes after any resume."""

import csv
import io
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from convscope import files
from convscope.errors import DataError
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

    Raises:
        DataError: It is damaged; the text names the line.
        ResourceError: It may not be read.

    Example:
        >>> read_history(Path("runs/none"))
        ()
    """
    path = files.usable_path(path, DataError)
    path = path / "metrics.csv" if path.is_dir() else path
    if not path.exists():
        return ()
    return parse_history(files.read_text(path, files.METRICS), where=path)


def parse_history(text: str, *, where: object = "") -> tuple[Measured, ...]:
    """The rows of the text of a ``metrics.csv``.

    Raises:
        DataError: A column is missing, or a value is no number; the text names the line.
    """
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole), strict=True)
    points: list[Measured] = []
    try:
        if whole and (lost := [name for name in COLUMNS if name not in (reader.fieldnames or ())]):
            raise ValueError(f"no column {lost[0]!r}")
        for row in reader:
            points.append(_point(row))
    except (csv.Error, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"line {max(reader.line_num, 1)}: {error}",
            where=where or "metrics.csv",
            expected="a row of numbers for " + ",".join(COLUMNS),
            hint=files.METRICS.hint,
        ) from None
    return tuple(points)


def _point(row: dict[str, str]) -> Measured:
    texts = {name: row.get(name) for name in COLUMNS}
    for name, text in texts.items():
        if text is None or len(text) > 40:
            raise ValueError(f"{name} is {'missing' if text is None else text[:20] + '...'}")
    numbers: dict[str, Any] = {name: float(str(text)) for name, text in texts.items()}
    whole = {name: int(str(texts[name])) for name in ("step", "validation_images")}
    return Measured(**{**numbers, **whole})
