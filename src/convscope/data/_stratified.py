"""Cutting images into parts that hold the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2


def stratified_parts(
    labels: Sequence[int], keys: Sequence[str], *, shares: Sequence[float], seed: int = 0
) -> tuple[list[int], ...]:
    """Disjoint row lists, each with its share of every class; the last list is the rest.

    The order within a class comes from a hash of (seed, key), not from a random generator: it is
    the same for ever, on every machine and library version, and a new file moves no other file.
    Every part gets at least one image of a class that has enough.

    Args:
        labels: Class of every row.
        keys: A name for every row that stays the same.
        shares: Share of each part but the last.
        seed: Another seed, another cut.

    Returns:
        One ascending list of rows per share, then the rest.

    Example:
        >>> test, rest = stratified_parts([0] * 4 + [1] * 4, list("abcdefgh"), shares=[0.25])
        >>> len(test), len(rest), sorted(test + rest)
        (2, 6, [0, 1, 2, 3, 4, 5, 6, 7])
    """
    classes: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        classes.setdefault(int(label), []).append(row)
    parts: tuple[list[int], ...] = tuple([] for _ in range(len(shares) + 1))
    for label in sorted(classes):
        rows = sorted(classes[label], key=lambda row: _rank(keys[row], seed))
        for part, share in zip(parts, shares, strict=False):
            wanted = max(1, round(share * len(classes[label])))
            taken, rows = rows[:wanted], rows[wanted:]
            part.extend(taken)
        parts[-1].extend(rows)
    return tuple(sorted(part) for part in parts)


def _rank(key: str, seed: int) -> bytes:
    text = f"{seed}/{key}".encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=16).digest()
