"""The images of a data set in two parts, training and test, read one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convscope.classifier import Classifier
from convscope.data import Dataset, ReadFile, catalog, open_dataset, read_files, refuse_problems
from convscope.errors import ConvscopeError, DataError

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Part:
    """Images of one part of a data set.

    Attributes:
        name: ``"training"`` or ``"test"``.
        labels: Class numbers of the data.
        names: What to call each image.
        read: ``(rows, wanted)`` to each image of these rows in order, or why it cannot be read.
    """

    name: str
    labels: tuple[int, ...]
    names: tuple[str, ...]
    read: Callable[[Sequence[int], Wanted], Iterator[ReadFile | ConvscopeError]]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class TransferImages:
    """A data set for transfer learning.

    Attributes:
        name: Of the data set.
        class_names: One name per class.
        training: Everything but the test images: of data with an official split, all that is
            official training data.
        test: Looked at once.
        notes: Sentences for people.
        problems: What is left out.
    """

    name: str
    class_names: tuple[str, ...]
    training: Part
    test: Part
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


def open_images(
    data: str | Dataset,
    classifier: Classifier,
    *,
    data_dir: Path | str | None,
    offline: bool,
    accept_modified: bool,
    skip_bad: bool,
) -> TransferImages:
    """List the images of a data set; image files are not opened.

    Raises:
        DataError: D11 if a part is empty, D21 for items that are no images, U10 for images in
            memory of another size than the network takes.
    """
    found = None if isinstance(data, Dataset) else catalog(data, data_dir=data_dir)
    if found is not None:
        refuse_problems(found.problems, found.name, skip_bad=skip_bad)
        shape, resize = classifier.input_shape, classifier.resize

        def files(name: str, splits: tuple[str, ...]) -> Part:
            items = [item for split in splits for item in found.split(split)]
            return Part(
                name,
                tuple(item.label for item in items),
                tuple(item.name for item in items),
                lambda rows, wanted: read_files(
                    [items[row] for row in rows], shape=shape, resize=resize, wanted=wanted
                ),
            )

        name, class_names, notes = found.name, found.class_names, found.notes
        problems = found.problems
        parts = files("training", ("train", "validation")), files("test", ("test",))
    else:
        dataset = (
            data
            if isinstance(data, Dataset)
            else open_dataset(
                data, data_dir=data_dir, offline=offline, skip_bad=skip_bad,
                accept_modified=accept_modified,
                input_shape=classifier.input_shape, resize=classifier.resize,
            )
        )  # fmt: skip
        if dataset.input_shape != classifier.input_shape:
            shown = ["x".join(map(str, x.input_shape)) for x in (dataset, classifier)]
            raise DataError(
                f"images of {dataset.name} are {shown[0]}",
                code="U10",
                expected=f"{shown[1]}, which is what this network takes",
            )
        name, class_names, notes = dataset.name, dataset.class_names, dataset.warnings
        problems = dataset.refused
        parts = (
            _in_memory("training", dataset, ("train", "validation")),
            _in_memory("test", dataset, ("test",)),
        )
    for part in parts:
        if not len(part):
            raise DataError(
                f"no {part.name} images in {name}",
                code="D11",
                hint="a folder needs a folder named test, or enough images to cut some off",
            )
    return TransferImages(name, class_names, *parts, notes=notes, problems=problems)


def _in_memory(name: str, dataset: Dataset, splits: tuple[str, ...]) -> Part:
    parts = [dataset.split(split) for split in splits]
    places = [(part, row) for part in parts for row in range(len(part))]

    def read(rows: Sequence[int], wanted: Wanted) -> Iterator[ReadFile | ConvscopeError]:
        for row in rows:
            part, place = places[row]
            pixels = part.pixels([place])[0]
            shape = "x".join(map(str, pixels.shape))
            levels = pixels.contiguous().numpy().tobytes()
            sha256 = hashlib.sha256(f"{shape}\0".encode() + levels).hexdigest()
            yield ReadFile(sha256=sha256, pixels=pixels if wanted(sha256) else None)

    names = tuple(
        part.names[row] if part.names else f"{part.name}/{part.position(row)}"
        for part, row in places
    )
    labels = tuple(int(part.labels[row]) for part, row in places)
    return Part(name, labels, names, read)
