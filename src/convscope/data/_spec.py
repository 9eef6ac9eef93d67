"""How images are named in one short text, and what is wrong with one that names none.

Nothing is opened here: a typo is answered before torch is imported.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from convscope.data._open import DATASETS
from convscope.errors import DataError, UsageError, choose
from convscope.files import usable_path

DATASET_SPEC = re.compile(
    r"(?P<data>[\w-]+|folder:.+?):(?P<split>[a-z]+)"
    r"(?:\?class=(?P<named>.+?))?(?:/(?P<rows>[^/]*))?",
    re.DOTALL,
)
WHOLE_FOLDER = re.compile(
    r"(?P<data>folder:.+?)(?:\?class=(?P<named>.+?)(?:/(?P<rows>[^/]*))?)?", re.DOTALL
)

SPLITS = ("train", "validation", "test", "all")
SPLIT_ALIASES = {"val": "validation", "valid": "validation", "dev": "validation",
                 "training": "train", "testing": "test"}  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """What a specification says: a data set, a split, perhaps a class, perhaps rows."""

    data: str
    split: str
    named: str | None
    rows: str | None


def understood(spec: str) -> Chosen | None:
    """The parts of a specification of a data set; None for files.

    Example:
        >>> understood("digits:test/0-9")
        Chosen(data='digits', split='test', named=None, rows='0-9')
    """
    match = DATASET_SPEC.fullmatch(spec)
    folder = spec.startswith("folder:")
    if match and (match["data"] in DATASETS or (folder and match["split"] in SPLITS)):
        return Chosen(match["data"], match["split"], match["named"], match["rows"])
    match = WHOLE_FOLDER.fullmatch(spec)
    return Chosen(match["data"], "all", match["named"], match["rows"]) if match else None


def check_specs(specs: Sequence[str]) -> None:
    """Refuse specifications that name neither images of a data set nor files that are there.

    Raises:
        UsageError: U01 for a split that there is not.
        DataError: U02 for the rest, with what may have been meant.
    """
    for spec in specs:
        chosen = understood(spec)
        if chosen is not None:
            if chosen.split in SPLIT_ALIASES:
                raise UsageError(
                    f"unknown split {chosen.split!r}",
                    code="U01",
                    where=spec,
                    expected=f"one of {', '.join(SPLITS)}",
                    hint=f"did you mean {SPLIT_ALIASES[chosen.split]}?",
                )
            choose("split", chosen.split, SPLITS)
            continue
        if spec.strip() and (usable_path(spec, DataError).exists() or glob.has_magic(spec)):
            continue
        raise DataError(
            "no such file" if spec.strip() else "no images are named",
            code="U02",
            where=spec,
            expected="an image file, a folder, or DATA:SPLIT/ROWS such as mnist:test/7",
            hint=_meant(spec),
        )


def _meant(spec: str) -> str:
    name, colon, rest = spec.partition(":")
    if not colon:
        name, _, rest = spec.partition("/")
    known = DATASETS.known(name)
    near = [known] if known in DATASETS else get_close_matches(name, DATASETS, n=1, cutoff=0.6)
    if not near:
        return ""
    if not rest:
        rest = "test/0-9"
    elif not colon:
        rest = f"test/{rest}"
    return f"did you mean {shlex.quote(f'{near[0]}:{rest}')}?"
