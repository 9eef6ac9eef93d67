"""Which class of a network is meant by a class of the data: by name, where that is unambiguous.

Numbers are never compared: the same number means other things to a folder, to ImageNet and to a
network whose class 0 is the background. What cannot be matched is left out and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from convscope.data._dataset import Dataset
from convscope.data._names import (
    PLACEHOLDER,
    ClassIndex,
    imagenet_offset,
    listed,
    spaced,
    unnamed,
)
from convscope.data._split import Split
from convscope.errors import DataError
from convscope.types import TakesImages

How = Literal["equal", "name", "order"]


@dataclass(frozen=True, kw_only=True)
class ClassMatch:
    """Classes of the data, as the network numbers them.

    Attributes:
        numbers: For each class of the data the network's class, or None if it is left out.
        how: ``"equal"`` lists of names; by ``"name"``; or in ``"order"``, if one side has no names.
        left_out: (class of the data, why), for those left out.
        notes: Sentences for people.
    """

    numbers: tuple[int | None, ...]
    how: How
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def absent(self, data: Sequence[str], labels: Tensor) -> tuple[str, ...]:
        """Names of the data's classes that have a match but no image among `labels`.

        Args:
            data: One name per class of the data.
            labels: (N,) class numbers of the network.
        """
        here = set(labels.tolist())
        return tuple(
            name
            for name, number in zip(data, self.numbers, strict=True)
            if number is not None and number not in here
        )


def absent_sentence(absent: Sequence[str], count: int) -> str:
    """That some classes are not to be seen among `count` images.

    Example:
        >>> absent_sentence(["cat"], 12)
        '1 class of the data has no image among these 12: cat'
    """
    more = f" and {len(absent) - 5:,} more" if len(absent) > 5 else ""
    what = (
        "1 class of the data has"
        if len(absent) == 1
        else f"{len(absent):,} classes of the data have"
    )
    return f"{what} no image among these {count:,}: {', '.join(absent[:5])}{more}"


def match_classes(data: Sequence[str], network: Sequence[str], *, where: object = "") -> ClassMatch:
    """Match class names: as they are, by synonym, by WordNet id, without regard to case.

    A name counts if exactly one class of the network answers to it. These are tried one after the
    other, and the first that finds anything decides: the whole name; a WordNet id, where the
    network's names are ImageNet's; the first of its synonyms (what stands between commas); any of
    them; then the same without regard to case, underscores and punctuation.

    Args:
        data: One name per class of the data.
        network: One name per class of the network.
        where: For the error text.

    Returns:
        The match. Two classes of the data may be one of the network; that is said.

    Raises:
        DataError: M21, no class can be matched.

    Example:
        >>> names = ["background", "bell pepper, capsicum", "crane", "crane"]
        >>> match = match_classes(["Bell_pepper", "capsicum", "crane", "dog"], names)
        >>> match.numbers
        (1, 1, None, None)
        >>> match.left_out
        (('crane', 'classes 2 and 3 of the network have that name'), ('dog', 'no such class'))
    """
    if tuple(data) == tuple(network):
        return ClassMatch(numbers=tuple(range(len(data))), how="equal")
    if unnamed(network) or unnamed(data):
        return _in_order(data, network, where)
    index = ClassIndex(network)
    numbers: list[int | None] = []
    left_out = []
    whole = frozenset(map(spaced, data))
    for name in data:
        candidates = index.find(name, whole)
        numbers.append(candidates[0] if len(candidates) == 1 else None)
        if len(candidates) != 1:
            left_out.append((name, _why(candidates, name)))
    if not any(number is not None for number in numbers):
        raise _nothing(data, network, where, left_out)
    return ClassMatch(
        numbers=tuple(numbers),
        how="name",
        left_out=tuple(left_out),
        notes=_sentences(data, network, numbers, left_out),
    )


def match_split(split: Split, match: ClassMatch) -> Split:
    """The images whose class has a match, with the network's class numbers.

    Args:
        split: With the data's class numbers.
        match: From `match_classes`.
    """
    if match.how == "equal":
        return split
    table = torch.tensor([-1 if number is None else number for number in match.numbers])
    labels = table[split.labels] if len(split) else split.labels
    known = labels >= 0
    if bool(known.all()):
        return replace(split, labels=labels)
    return replace(split, labels=labels).subset(known.nonzero()[:, 0])


def match_dataset(dataset: Dataset, like: TakesImages) -> tuple[Dataset, ClassMatch]:
    """The data set in the classes of a network; images of other classes are left out.

    Args:
        dataset: Any.
        like: The network, or anything with `class_names`.

    Returns:
        The data set with the network's class names, its warnings extended by what was left out;
        and the match.

    Raises:
        DataError: M21, no class can be matched.
    """
    match = match_classes(dataset.class_names, like.class_names, where=dataset.name)
    if match.how == "equal":
        return dataset, match
    splits = [match_split(split, match) for split in dataset.splits]
    lost = sum(map(len, dataset.splits)) - sum(map(len, splits))
    plural = "images are of classes" if lost > 1 else "image is of a class"
    notes = match.notes + ((f"{lost:,} {plural} left out",) if lost else ())
    matched = replace(
        dataset,
        class_names=_names_for(dataset.class_names, like.class_names, match),
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        warnings=(*notes, *dataset.warnings),
    )
    return matched, replace(match, notes=notes)


def _names_for(data: Sequence[str], network: Sequence[str], match: ClassMatch) -> tuple[str, ...]:
    """The network's names; those of the data where nobody named the network's classes."""
    names = list(network)
    if unnamed(network):
        for name, number in zip(data, match.numbers, strict=True):
            if number is not None:
                names[number] = name
    return tuple(names)


def _in_order(data: Sequence[str], network: Sequence[str], where: object) -> ClassMatch:
    """One side has no names: numbers as names, or as many classes on both sides."""
    numbered = [PLACEHOLDER.fullmatch(name) for name in data]
    if unnamed(network) and all(numbered):
        numbers = [int(match[1]) for match in numbered if match is not None]
        if max(numbers) < len(network):
            note = "the network's classes have no names: the data's are taken as their numbers"
            same = numbers == list(range(len(network)))
            return ClassMatch(numbers=tuple(numbers), how="order", notes=() if same else (note,))
    if len(data) == len(network):
        side = "the network's" if unnamed(network) else "the data's"
        order = ", ".join((data if unnamed(network) else network)[:3])
        return ClassMatch(
            numbers=tuple(range(len(data))),
            how="order",
            notes=(f"{side} classes have no names; their order is taken to be {order}, ...",),
        )
    raise DataError(
        f"the data have {len(data)} classes, the network {len(network)}, and one side has no "
        "class names to match them by",
        code="M21",
        where=where,
        hint="give the network its class names: Classifier.wrap(..., class_names=[...])",
    )


def _why(candidates: list[int], name: str) -> str:
    if candidates:
        return f"classes {listed(candidates)} of the network have that name"
    return "a number is no name" if name.isdigit() else "no such class"


def _sentences(
    data: Sequence[str],
    network: Sequence[str],
    numbers: Sequence[int | None],
    left_out: Sequence[tuple[str, str]],
) -> tuple[str, ...]:
    known = [number for number in numbers if number is not None]
    notes = [
        f"classes are matched by name: {len(known)} of {len(data)} of the data are classes of the "
        f"network, which has {len(network):,}"
    ]
    if imagenet_offset(network):
        notes[0] += f" (its class 0 is {network[0]!r})"
    if left_out:
        notes.append(f"left out: {_left_out(left_out)}")
    if len(set(known)) < len(known):
        twice = next(number for number in known if known.count(number) > 1)
        ours = [name for name, number in zip(data, numbers, strict=True) if number == twice]
        notes.append(
            f"{len(known) - len(set(known))} classes of the data fall together with others, such "
            f"as {' and '.join(map(repr, ours[:3]))}, which are {network[twice]!r}"
        )
    return tuple(notes)


def _left_out(left_out: Sequence[tuple[str, str]]) -> str:
    shown = "; ".join(f"{name!r} ({why})" for name, why in left_out[:5])
    return shown + (f"; and {len(left_out) - 5} more classes" if len(left_out) > 5 else "")


def _nothing(
    data: Sequence[str], network: Sequence[str], where: object, left_out: list[tuple[str, str]]
) -> DataError:
    return DataError(
        f"none of the {len(data)} classes of the data is one of the network: {_left_out(left_out)}",
        code="M21",
        where=where,
        expected=f"classes such as {', '.join(map(repr, network[:4]))}",
        hint="name both alike: folders as the network names its classes (or by WordNet id), or "
        "class_names in the network's config.json or Classifier.wrap",
    )
