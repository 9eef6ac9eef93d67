"""Cutting data into parts, and checks between the parts."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convscope.data._dataset import Split

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
    return hashlib.blake2b(text, digest_size=16).digest()


def content_warnings(train: Split, validation: Split, test: Split) -> tuple[str, ...]:
    """What is odd about a data set as a whole: one class only, or images in two splits (D11, D25).

    Args:
        train: Images to fit.
        validation: Images to choose with.
        test: Images to look at once.

    Returns:
        Sentences; none for ordinary data.
    """
    found = []
    for split in (train, validation, test):
        if len(split) and int(split.labels.min()) == int(split.labels.max()):
            found.append(
                f"D11: all {len(split)} labels of the {split.name} split are class "
                f"{int(split.labels[0])}"
            )
    known = _digests(train)
    for split in (validation, test):
        shared = sum(digest in known for digest in _digest_list(split))
        if shared:
            found.append(
                f"D25: {shared} of {len(split)} {split.name} images are also in the training "
                "split, pixel for pixel: scores on them are too good"
            )
    both = _digests(validation)
    shared = sum(digest in both for digest in _digest_list(test))
    if shared:
        found.append(f"D25: {shared} of {len(test)} test images are also in the validation split")
    return tuple(found)


def _digests(split: Split) -> set[bytes]:
    return set(_digest_list(split))


def _digest_list(split: Split) -> list[bytes]:
    flat: NDArray[np.uint8] = split.images.flatten(1).contiguous().numpy()
    return [hashlib.blake2b(row, digest_size=16).digest() for row in flat]
