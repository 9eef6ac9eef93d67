"""Results written for people: one HTML page, a folder, a table; and pictures on a page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import UsageError
from convscope.figures import lossless, photo, pixels
from convscope.files import checked_path, whole_folder
from convscope.reports import Report, Section, render

SMALL = 64
"""Sides in pixels up to which an image on a page loses nothing."""


def write_page(report: Report, out: Path, *, force: bool) -> None:
    """One HTML file and nothing else."""
    refuse_taken_file(out, force=force)
    render(report, out, alone=True)


@contextmanager
def fresh_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block is through, or is not there."""
    refuse_taken_file(out, force=force)
    with whole_folder(out, force=force) as draft:
        yield draft


def refuse_taken_file(out: Path, *, force: bool) -> None:
    """Before the work: may `out` be written?

    Raises:
        UsageError: U13 if it exists and not `force`.
    """
    checked_path(out)
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not force:
        raise UsageError("already exists", code="U13", where=out, hint="another --out, or --force")


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png",)) -> None:
    """A figure as files in each of some formats.

    Args:
        figure: What to save.
        path: Without an ending.
        formats: ``png``, ``svg`` or ``pdf``.
    """
    for kind in formats:
        figure.savefig(path.with_name(f"{path.name}.{kind}"), dpi=150)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Dicts as a table; columns in the order of first use."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def keep_image(section: Section, name: str, image: Tensor) -> str:
    """Add one image to the files of a section.

    Args:
        section: Whose image it is.
        name: Of the file.
        image: ``(1 or 3, height, width)``: 8-bit levels, which are kept as they are, or
            float pixels in [0, 1].

    Returns:
        The path to show it by.
    """
    data = levels_of(image) if image.dtype == torch.uint8 else pixels(image.cpu())
    return section.image(name, lossless(data) if max(data.shape[:2]) <= SMALL else photo(data)[0])


def levels_of(image: Tensor) -> NDArray[np.uint8]:
    """8-bit levels ``(1 or 3, height, width)`` as pictures have them: ``(height, width[, 3])``."""
    levels = image.movedim(0, -1).cpu().numpy()
    return levels[..., 0] if levels.shape[-1] == 1 else np.ascontiguousarray(levels)


def screen_scale(side: int, wanted: int = 108) -> float:
    """Whole numbers for small images, so that every pixel stays a square; large ones shrink.

    Images of 28, 32 and 64 pixels become 96 to 128 wide on screen.

    Example:
        >>> screen_scale(28), screen_scale(32), screen_scale(224)
        (4, 3, 0.75)
    """
    return max(1, round(wanted / side)) if side <= 112 else round(168 / side, 3)


def shown_name(name: str) -> str:
    """What to call an image on a page: an absolute path is private but for its last part.

    Example:
        >>> shown_name("/home/ada/my photos/cat.png"), shown_name("digits:test/7")
        ('…/cat.png', 'digits:test/7')
    """
    return f"…/{Path(name).name}" if Path(name).is_absolute() else name


def some_are(hits: int, total: int, noun: str) -> str:
    """The beginning of a sentence on how many of how many.

    Example:
        >>> some_are(3, 1000, "image"), some_are(1, 2, "class"), some_are(0, 1, "map")
        ('3 of 1,000 images are', '1 of 2 classes is', '0 of 1 map is')
    """
    nouns = noun if total == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{hits:,} of {total:,} {nouns} {'is' if 1 in (hits, total) else 'are'}"


def name_of(class_names: tuple[str, ...], index: int) -> str:
    """The name of a class, whatever the data say."""
    return class_names[index] if 0 <= index < len(class_names) else f"class {index}"
