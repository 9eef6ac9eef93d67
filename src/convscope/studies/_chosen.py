"""Images that studies choose, and predictions in words."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.classifier import Classifier
from convscope.data import Split
from convscope.errors import DataError
from convscope.pages import name_of

LOOKED_AT = 200
"""Images of a class among which one that is classified correctly is looked for."""


def first_of_class(
    classifier: Classifier, split: Split, label: int, *, count: int = 1
) -> tuple[Tensor, list[int]]:
    """The first images of a class that the network classifies correctly.

    Args:
        classifier: The network.
        split: Where to look.
        label: The class.
        count: How many.

    Returns:
        ``(count, channel, height, width)`` in [0, 1], and their positions in the split.

    Raises:
        DataError: If there are too few.
    """
    rows = (split.labels == label).nonzero()[:LOOKED_AT, 0]
    if len(rows):
        right = classifier.predict(split.to_float(rows), top=1).labels[:, 0] == label
        rows = rows[right]
    if len(rows) < count:
        raise DataError(
            f"{len(rows)} images of class {label} in {split.name} are classified correctly",
            expected=f"at least {count}",
            hint="train longer",
        )
    chosen = rows[:count]
    return split.to_float(chosen), chosen.tolist()


def first_of_each(classifier: Classifier, split: Split) -> tuple[Tensor, Tensor]:
    """One image of every class that is classified correctly, and their classes."""
    labels = torch.arange(classifier.num_classes)
    images = [first_of_class(classifier, split, label)[0] for label in labels.tolist()]
    return torch.cat(images), labels


def random_rows(split: Split, count: int, generator: torch.Generator) -> Tensor:
    """Positions of random images."""
    return torch.randperm(len(split), generator=generator)[:count]


def in_words(classifier: Classifier, logits: Tensor, *, digits: int = 1) -> str:
    """The predicted class of one row of logits, with its probability."""
    shares = logits.softmax(dim=-1)
    top = int(shares.argmax())
    return f"{name_of(classifier.class_names, top)}, {100 * float(shares[top]):.{digits}f} %"


def listed(names: list[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["1"]), listed(["1", "2", "3"]), listed([])
        ('1', '1, 2 and 3', 'none')
    """
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
