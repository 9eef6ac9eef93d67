"""Names of classes as people write them: spelling, WordNet ids, and ImageNet's own list."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

BACKGROUND = ("background", "dummy")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
IMAGENET_CLASSES = 1000
ENOUGH_ALIKE = 500
"""Of 1,000 names that stand where ImageNet has them, so many leave no doubt."""

PLACEHOLDER = re.compile(r"(?:class|label)?[ _-]?(\d{1,6})", re.IGNORECASE)
WORDNET = re.compile(r"(n\d{8})(?:[ _.:,-]+(.*))?", re.DOTALL)


@lru_cache(maxsize=1)
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """(WordNet id, first word) of ImageNet's 1,000 classes in their order.

    Example:
        >>> imagenet_classes()[0], len(imagenet_classes())
        (('n01440764', 'tench'), 1000)
    """
    text = Path(__file__).with_name("imagenet.json").read_text(encoding="utf-8")
    return tuple((identity, name) for identity, name in json.loads(text)["classes"])


def imagenet_offset(names: Sequence[str]) -> int | None:
    """Where ImageNet's 1,000 classes begin among those of a network; None if it has others.

    Networks of TensorFlow's tradition have 1,001 classes, of which the first is the background.

    Example:
        >>> first_words = [name for _, name in imagenet_classes()]
        >>> imagenet_offset(first_words), imagenet_offset(["background", *first_words])
        (0, 1)
        >>> imagenet_offset(["cat", "dog"]) is None
        True
    """
    if len(names) == IMAGENET_CLASSES:
        offset = 0
    elif len(names) == IMAGENET_CLASSES + 1 and plain(names[0]) in BACKGROUND:
        offset = 1
    else:
        return None
    alike = sum(
        plain(name) in (plain(ours.split(",")[0]), *wordnet(ours))
        or identity == (wordnet(ours) or ("",))[0]
        for (identity, name), ours in zip(imagenet_classes(), names[offset:], strict=True)
    )
    return offset if alike >= ENOUGH_ALIKE else None


def wordnet(name: str) -> tuple[str, ...]:
    """``("n07720875", "bell_pepper")`` from ``"n07720875_bell_pepper"``; empty if it has no id."""
    match = WORDNET.fullmatch(name.strip())
    if match is None:
        return ()
    return (match[1], match[2]) if match[2] else (match[1],)


def spaced(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def plain(name: str) -> str:
    """Lower case, words alone: ``"Jack-o'-lantern"`` becomes ``"jack o lantern"``."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    words = re.sub(r"[\W_]+", " ", folded.replace("'", "").replace("\u2019", "")).split()
    # MNIST's classes are called "7", "seven" and, by torchvision, "7 - seven".
    if words and words[-1] in DIGITS and words[:-1] in ([], [str(DIGITS.index(words[-1]))]):
        return str(DIGITS.index(words[-1]))
    return " ".join(words)


def unnamed(names: Sequence[str]) -> bool:
    """``"class 0"``, ``"LABEL_1"``, ...: numbers that nobody called by name."""
    matches = [PLACEHOLDER.fullmatch(name) for name in names]
    return all(
        match is not None and not match[0].isdigit() and int(match[1]) == number
        for number, match in enumerate(matches)
    )
