"""What decides an answer, as digests: settings, code, and versions of other people's code."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.files import plain_json

if TYPE_CHECKING:
    from convscope.studies._study import StudyContent


def digest_of(value: Any) -> str:
    """SHA-256 of plain data, whatever the order of keys.

    Example:
        >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
        True
    """
    text = json.dumps(plain_json(value), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


SOURCE = Path(__file__).parents[1]
LEARNING = ("training", "models", "data", "_network", "classifier.py", "probe.py")
"""Parts of the source that decide what a trained network is."""

SHOWING = ("cli", "reports", "studies")
"""Parts that do not decide what a question finds. Of the studies, only its own does."""

SHARED = ("_study", "_question", "_comparison", "_tables", "_chosen", "_overfitting")
"""Modules of the studies that all of them rest on."""

_digests: dict[tuple[str, ...], str] = {}


def code_digest(*parts: str) -> str:
    """SHA-256 of the source files of some parts of the package."""
    if parts not in _digests:
        found = hashlib.sha256()
        for part in parts:
            place = SOURCE / part
            for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
                found.update(file.name.encode())
                found.update(file.read_bytes())
        _digests[parts] = found.hexdigest()
    return _digests[parts]


def code_of_study(content: StudyContent) -> str:
    """SHA-256 of all code that the questions of a study rest on: the package's and its own."""
    rest = sorted(
        place.name
        for place in SOURCE.iterdir()
        if place.name not in SHOWING and (place.is_dir() or place.suffix == ".py")
    )
    folders = {Path(inspect.getfile(spec.answer)).parent for spec in content.questions}
    own = sorted(str(folder) for folder in folders)
    return code_digest(
        *(part for part in rest if part != "__pycache__"),
        *(f"studies/{name}.py" for name in SHARED),
        *own,
    )


def versions() -> Mapping[str, str]:
    """What of other people's code decides the numbers."""
    return {name: version(name) for name in ("torch", "numpy")}
