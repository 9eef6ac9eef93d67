"""Names of classes as people write them, and the class that a name or number means.

Spelling, synonyms, WordNet ids, and ImageNet's own list.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from convscope.errors import UsageError, choose

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


def class_number(text: str, names: Sequence[str], *, what: str = "class") -> int:
    """The class that a user means by a name, a synonym or a number.

    Args:
        text: What was typed; a name wins over a number.
        names: One per class.
        what: For the error text.

    Raises:
        UsageError: U08 if there is none, or if several have this name.

    Example:
        >>> class_number("Capsicum", ["background", "bell pepper, capsicum"])
        1
        >>> class_number("0", ["cat", "dog"])
        0
    """
    signed = re.fullmatch(r"\s*[+-]?\d+\s*", text) is not None
    index = ClassIndex(names)
    numbers = index.exact.get(spaced(text), []) if signed else index.find(text)
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) > 1:
        raise UsageError(
            f"{len(numbers)} classes are called {text!r}: {listed(numbers)}",
            code="U08",
            hint="give the class by its number",
        )
    number = text.strip()
    if number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(names):
        return int(number)
    if number.lstrip("-").isdigit():
        raise UsageError(f"no {what} {text}", code="U08", expected=f"0 to {len(names) - 1}")
    return list(names).index(choose(what, text, names, code="U08"))


def about_class(number: int, names: Sequence[str], *, typed: str = "") -> tuple[str, str]:
    """A class for people: its number with its name, and a warning if a number may mislead.

    Args:
        number: Of the network.
        names: One per class.
        typed: What the user typed, if it was this number.

    Example:
        >>> about_class(1, ["cat", "dog"])
        ("1 'dog'", '')
    """
    shown = f"{number} {names[number]!r}"
    offset = imagenet_offset(names)
    if typed.strip() != str(number) or not offset or number >= IMAGENET_CLASSES:
        return shown, ""
    meant = imagenet_classes()[number][1]
    return shown, (
        f"this network counts from 0 = {names[0]!r}, so its class {number} is {names[number]!r}; "
        f"ImageNet's own class {number}, {meant!r}, is class {number + offset} here"
    )


class ClassIndex:
    """Every way to call a class of the network."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.exact: dict[str, list[int]] = {}
        self.first: dict[str, list[int]] = {}
        self.synonyms: dict[str, list[int]] = {}
        self.loose_first: dict[str, list[int]] = {}
        self.loose: dict[str, list[int]] = {}
        self.identities: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            parts = [spaced(part) for part in name.split(",")]
            self._add(self.exact, {spaced(name)}, number)
            self._add(self.first, {parts[0]}, number)
            self._add(self.synonyms, set(parts), number)
            self._add(self.loose_first, {plain(name), plain(parts[0])}, number)
            self._add(self.loose, {plain(part) for part in parts}, number)
            self._add(self.identities, set(wordnet(name)[:1]), number)
        offset = imagenet_offset(names)
        if offset is not None and not self.identities:
            for number, (identity, _) in enumerate(imagenet_classes(), offset):
                self.identities[identity] = [number]

    @staticmethod
    def _add(table: dict[str, list[int]], keys: set[str], number: int) -> None:
        for key in keys - {""}:
            table.setdefault(key, []).append(number)

    def find(self, name: str, whole: frozenset[str] = frozenset()) -> list[int]:
        """The classes that answer to `name`, at the first level where any does.

        A whole name that is also the first word of another class is not clear ("maillot" beside
        "maillot, tank suit"), unless the data have that other class under its whole name (`whole`
        are the names of the data; empty: this one alone is asked for).
        """
        identity = wordnet(name)
        for table, key in self._levels(name, identity):
            if key not in table:
                continue
            numbers = table[key]
            if table is self.exact and whole:
                rivals = set(self.first.get(key, [])) - set(numbers)
                unclear = sorted(n for n in rivals if spaced(self.names[n]) not in whole)
                numbers = [*numbers, *unclear]
            return numbers
        return []

    def _levels(
        self, name: str, identity: tuple[str, ...]
    ) -> Iterator[tuple[dict[str, list[int]], str]]:
        yield self.exact, spaced(name)
        if identity:
            yield self.identities, identity[0]
            words = list(identity[1:])
            if not self.identities:  # other classes: then the id is worth its word
                words += [word for known, word in imagenet_classes() if known == identity[0]]
        else:
            words = [name]
        for word in words:
            yield self.exact, spaced(word)
            yield self.first, spaced(word)
            yield self.synonyms, spaced(word)
            yield self.loose_first, plain(word)
            yield self.loose, plain(word)


def listed(numbers: Sequence[int]) -> str:
    """The first three numbers, as a phrase."""
    return " and ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
