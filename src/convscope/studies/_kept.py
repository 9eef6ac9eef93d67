"""Finished questions on the disk: a study that is killed goes on where it was.

A kept question is one JSON file, written whole. It counts if it was made by the same code, from the
same settings and inputs; whatever else is in it, it is done again. Nothing of it is executed, and
files of other names than a question writes are refused.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convscope.errors import ConvscopeError, DataError
from convscope.files import Kind, plain_json, read_json_table, write_whole
from convscope.studies._comparison import Comparison
from convscope.studies._digests import digest_of
from convscope.studies._question import Question
from convscope.studies._study import Study

SCHEMA = 1
KEPT = Kind(what="a finished question", largest=256 << 20, deepest=40, not_finite=True)
PLACE = re.compile(r"(?:figures|images|tables|playground)/[a-z0-9][a-z0-9.-]{0,200}")


def keep(study: Study, question: Question, *, key: str, seconds: float) -> None:
    """Write a finished question.

    Args:
        study: Whose folder it goes to; its `used` inputs are written down.
        question: What was found.
        key: Digest of settings and code.
        seconds: How long it took.

    Raises:
        ResourceError: The disk says no.
    """
    section = question.section
    content = {
        "schema": SCHEMA,
        "key": key,
        "inputs": dict(study.used),
        "seconds": seconds,
        "finding": section.finding,
        "blocks": section.blocks,
        "files": {
            path: base64.b64encode(data).decode() for path, data in sorted(section.files.items())
        },
        "numbers": question.numbers,
        "comparisons": [asdict(entry) for entry in question.comparisons],
        "deviations": question.deviations,
        "discussion": question.discussion,
        "tiles": question.tiles,
        "shown": question.shown,
    }
    plain = plain_json(content)
    text = json.dumps({"sha256": digest_of(plain), "content": plain}, ensure_ascii=False)
    write_whole(_place(study, question), text.encode("utf-8", errors="backslashreplace"))


def recall(study: Study, question: Question, *, key: str) -> float | None:
    """Fill a question with what was kept of it.

    Args:
        study: Whose folder is looked at.
        question: Empty.
        key: Digest of settings and code as they are now.

    Returns:
        The seconds that it took, or ``None`` if it has to be done.
    """
    try:
        content = read_kept(_place(study, question))
        if content["key"] != key:
            return None
        if any(study.digest_now(name) != digest for name, digest in content["inputs"].items()):
            return None
        comparisons = [
            Comparison(**{**entry, "measured": tuple(map(_finite_or_nan, entry["measured"]))})
            for entry in content["comparisons"]
        ]
    except (ConvscopeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    section = question.section
    section.finding, section.blocks = content["finding"], content["blocks"]
    section.files = content["files"]
    question.numbers, question.comparisons = content["numbers"], comparisons
    question.deviations = [(a, b, c) for a, b, c in content["deviations"]]
    question.discussion, question.tiles = content["discussion"], content["tiles"]
    question.shown = content["shown"]
    seconds: float = content["seconds"]
    return seconds


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "key": str, "inputs": dict, "seconds": (int, float), "finding": str, "blocks": list,
    "files": dict, "numbers": dict, "comparisons": list, "deviations": list, "discussion": list,
    "tiles": list, "shown": dict,
}  # fmt: skip


def read_kept(path: Path) -> dict[str, Any]:
    """The content of a kept question, its files as bytes.

    Raises:
        DataError: Missing, damaged, of another version, or with files of other names.
    """
    tree = read_json_table(path, KEPT)
    content = tree.get("content")
    if not isinstance(content, dict) or tree.get("sha256") != digest_of(content):
        raise DataError("is damaged: its checksum does not fit", where=path)
    if content.get("schema") != SCHEMA:
        raise DataError("was written by another convscope", where=path)
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise DataError(f"is damaged: {name} is missing or of another kind", where=path)
    files: dict[str, bytes] = {}
    for place, text in content["files"].items():
        if not PLACE.fullmatch(place) or not isinstance(text, str):
            raise DataError(f"is damaged: it holds a file {place!r:.80}", where=path)
        try:
            files[place] = base64.b64decode(text, validate=True)
        except ValueError:
            raise DataError(f"is damaged: {place} is no base64", where=path) from None
    return {**content, "files": files}


def _finite_or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _place(study: Study, question: Question) -> Path:
    return study.out / "questions" / f"{question.spec.name}.json"
