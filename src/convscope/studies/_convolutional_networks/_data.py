"""Where the images come from, how they are split, and that they are shuffled."""

from __future__ import annotations

from torch import Tensor

from convscope.data import Dataset, Split
from convscope.pages import name_of
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

SPOKEN = {"train": "training", "validation": "validation", "test": "test"}


def data(study: Study, question: Question) -> None:
    """Three splits, an image of each class of each, and what tells whether they are shuffled."""
    found = study.dataset()
    train, validation, test = found.splits
    twice = in_both(train, validation) + in_both(train, test) + in_both(validation, test)
    question.find(
        f"{len(train):,} images for training, {len(validation):,} for validation and "
        f"{len(test):,} for testing; {twice} are in two of them."
    )
    for split, asked in zip(found.splits, ("50,000", "10,000", "10,000"), strict=True):
        question.compare(
            f"{SPOKEN[split.name]} images", document=asked, measured=len(split), unit="count",
            note="digits, not MNIST" if study.fast else "",
        )  # fmt: skip
    _splits(question, found)
    question.pictures(
        "classes",
        [name_of(found.class_names, k) for k in range(len(found.class_names))],
        [(split.name, _first_of_classes(split, len(found.class_names))) for split in found.splits],
        caption="The first image of every class in each of the three parts.",
        scale=2,
    )
    question.table(
        "files",
        [{"title": "file", "kind": "code"}, {"title": "SHA-256", "kind": "code"}],
        [[name, digest] for name, digest in sorted(found.hashes.items())],
        caption="What was read, and the SHA-256 of its bytes"
        + (": the table of digits that comes with scikit-learn." if study.fast
           else ": the four binary files of MNIST, unpacked."),
        wide=True,
    )  # fmt: skip
    shares = {split.name: neighbors(split.labels) for split in found.splits}
    chance = by_chance(train.labels)
    question.number("images", {split.name: len(split) for split in found.splits})
    question.number("in_two_parts", twice)
    question.number("neighbors_of_one_class", shares)
    question.discuss(
        f"In shuffled images a neighbor is of the same class as often as chance has it, in "
        f"{100 * chance:.1f} % of the cases; in sorted ones nearly always. Here it is "
        + ", ".join(f"{100 * value:.1f} % in {name}" for name, value in shares.items())
        + ". Whatever the order of the files, training shuffles its images anew for every epoch, "
        "as a function of the seed and the epoch."
    )
    question.deviate(
        "all images are shuffled, then split",
        "a stratified split by a seed" if study.fast else
        "the first 50,000 images of the training file, its last 10,000, and the test file",
        "Everybody gets the same parts, and results can be compared.",
    )  # fmt: skip


def neighbors(labels: Tensor) -> float:
    """Share of images whose successor is of the same class.

    Example:
        >>> import torch
        >>> neighbors(torch.tensor([0, 0, 1, 1, 1]))
        0.75
    """
    return float((labels[1:] == labels[:-1]).double().mean())


def by_chance(labels: Tensor) -> float:
    """Share of pairs of one class among pairs of random images.

    Example:
        >>> import torch
        >>> by_chance(torch.tensor([0, 1, 0, 1]))
        0.5
    """
    shares = labels.bincount().double() / len(labels)
    return float(shares.square().sum())


def in_both(first: Split, second: Split) -> int:
    """How many images of `first` are in `second`, too, byte by byte."""
    known = {image.numpy().tobytes() for image in second.pixels()}
    return sum(image.numpy().tobytes() in known for image in first.pixels())


def _splits(question: Question, found: Dataset) -> None:
    number = {"kind": "number"}
    names = [name_of(found.class_names, k) for k in range(len(found.class_names))]
    question.table(
        "splits",
        ["part", number | {"title": "images"}, *[number | {"title": name} for name in names]],
        [
            [split.name, len(split), *split.labels.bincount(minlength=len(names)).tolist()]
            for split in found.splits
        ],
        caption="Images of each part, and how many of them are of each class.",
        wide=True,
    )


def _first_of_classes(split: Split, count: int) -> list[Picture | None]:
    cells: list[Picture | None] = []
    for label in range(count):
        rows = (split.labels == label).nonzero()[:, 0]
        cells.append(
            Picture(image=split.to_float([int(rows[0])])[0], detail=f"image {int(rows[0])}")
            if len(rows)
            else None
        )
    return cells
