"""What is refused before anything is loaded: names, places and numbers that can only be wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from convscope.data import check_specs, choose_dataset
from convscope.errors import ResourceError, UsageError
from convscope.files import checked_path
from convscope.models import check_model_name

PAGES = (".html", ".htm")
FILES = (
    *(".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp", ".pdf", ".json", ".csv", ".txt", ".md"),
    *(".npz", ".npy", ".pt", ".pth", ".safetensors", ".zip", ".tar", ".gz", ".ckpt", ".toml"),
)


def check_names(
    *,
    models: Sequence[str | None] = (),
    data: str | None = None,
    images: Sequence[str] = (),
) -> None:
    """Refuse a model, a data set or images that are nothing.

    Raises:
        CheckpointError: C11.
        UsageError: U01.
        DataError: U02.
    """
    for model in models:
        if model is not None:
            check_model_name(model)
    if data is not None:
        choose_dataset(data)
    check_specs(images)


def check_out(out: Path | None, *, force: bool, page: bool = True, folder: bool = True) -> None:
    """Refuse a place for results that is taken, or whose ending promises another kind of file.

    Args:
        out: What was given.
        force: Whether it may be written over.
        page: Whether the command can write one HTML file.
        folder: Whether it can write a folder.

    Raises:
        UsageError: U13 if it is taken, U03 for an ending that is not written.
    """
    if out is None:
        return
    kinds = ["a folder"] * folder + ["FILE.html"] * page
    ending = out.suffix.lower()
    if ending in FILES or (ending in PAGES and not page) or (ending == ".htm" and folder):
        raise UsageError(
            f"--out {out.name!r}: this command writes no {ending} file",
            code="U03",
            expected=" or ".join(kinds),
            hint=f"--out {out.with_suffix('.html' if page else '')}",
        )
    checked_path(out)
    above = next(place for place in out.absolute().parents if place.exists())
    if not above.is_dir():
        raise UsageError("a file, so nothing can be written in it", code="U02", where=above)
    if not os.access(above, os.W_OK | os.X_OK):
        raise ResourceError("may not be written to", where=above, hint="choose another --out")
    if out.exists() and out.is_dir() != folder and not (folder and page):
        raise UsageError(
            f"is a {'folder' if out.is_dir() else 'file'} already",
            code="U13",
            where=out,
            expected=" or ".join(kinds),
        )
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not force:
        raise UsageError("already exists", code="U13", where=out, hint="another --out, or --force")


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        UsageError: U12.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed}", code="U12", expected="0 to 2^63 - 1")


def check_number(
    option: str, value: float | None, *, least: float = 1, most: float | None = None
) -> None:
    """Refuse a count or size that cannot be.

    Raises:
        UsageError: U05.
    """
    if value is None:
        return
    if not value >= least or (most is not None and value > most) or value == float("inf"):
        wanted = f"at least {least:g}" if most is None else f"{least:g} to {most:g}"
        levels = most == 1 and 1 < value <= 255
        hint = f"pixels are in [0, 1]: did you mean {value:g}/255?" if levels else ""
        raise UsageError(f"{option} {value:g}", code="U05", expected=wanted, hint=hint)
