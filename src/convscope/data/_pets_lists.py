"""The lists of the Oxford-IIIT Pet data set: which photo is which breed, and in which split."""

import re
from dataclasses import dataclass
from pathlib import Path

from convscope.data._file import read_file
from convscope.data._folder_items import Item
from convscope.data._split import VALIDATION_SHARE, stratified_parts
from convscope.errors import DataError

LARGEST_LIST = 1 << 22
LINE = re.compile(r"(?P<photo>(?P<breed>\w[\w .'-]{0,80})_\d{1,6}) (?P<breed_number>\d{1,4})( .*)?")


@dataclass(frozen=True)
class Listing:
    """What the lists say of the photos that are here.

    Args:
        items: The photos, in the order of the lists, training list first.
        class_names: One name per class number, in the order of the breeds' numbers.
        listed: How many breeds the lists name.
        problems: Photos of these breeds that are listed but not here.
    """

    items: list[Item]
    class_names: tuple[str, ...]
    listed: int
    problems: list[str]


def read_lists(folder: Path) -> Listing:
    """Read ``list.txt`` (breeds), ``trainval.txt`` and ``test.txt`` (splits).

    Breeds without a single photo in ``images/`` are left out.

    Args:
        folder: Holds ``images/`` and ``annotations/``.

    Raises:
        DataError: ``D21`` if a line cannot be read, a photo is in both splits, or fewer than two
            breeds are here; ``D10`` if two lists disagree on a breed.
    """
    here = {path.stem: path for path in sorted((folder / "images").glob("*.jpg"))}
    breeds = _read(folder / "annotations" / "list.txt")
    numbers = {number: name for name, number in breeds.values()}
    parts = {
        split: _read(folder / "annotations" / f"{split}.txt") for split in ("trainval", "test")
    }
    _check_against(breeds, parts, folder)
    present = sorted({breeds[photo][1] for photo in here if photo in breeds})
    if len(present) < 2:
        raise DataError(
            f"photos of {len(present)} of {len(numbers)} listed breeds are here",
            code="D21",
            where=folder / "images",
            expected="at least two breeds",
        )
    items, problems = [], []
    for split, photos in parts.items():
        for photo, (_, number) in photos.items():
            if number not in present:
                continue
            if photo not in here:
                problems.append(f"images/{photo}.jpg: D21 listed in {split}.txt but not here")
                continue
            name = f"images/{here[photo].name}"
            items.append(Item(split, present.index(number), here[photo], name))
    return Listing(
        items=_cut(items),
        class_names=tuple(numbers[number] for number in present),
        listed=len(numbers),
        problems=problems,
    )


def _read(path: Path) -> dict[str, tuple[str, int]]:
    """Breed and its number for every photo of a list."""
    text = read_file(path, limit=LARGEST_LIST, code="D20").data.decode("utf-8", "replace")
    found: dict[str, tuple[str, int]] = {}
    for count, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise DataError(
                f"cannot read line {count}: {line[:60]!r}",
                code="D21",
                where=path,
                expected="a photo and numbers, as Abyssinian_100 1 1 1",
            )
        found[match["photo"]] = (match["breed"].replace("_", " "), int(match["breed_number"]))
    return found


def _check_against(
    breeds: dict[str, tuple[str, int]], parts: dict[str, dict[str, tuple[str, int]]], folder: Path
) -> None:
    for split, photos in parts.items():
        for photo, (_, number) in photos.items():
            if breeds.get(photo, ("", None))[1] != number:
                raise DataError(
                    f"{photo} is of breed {number} here, "
                    + (f"of {breeds[photo][1]} in list.txt" if photo in breeds else "unlisted"),
                    code="D10",
                    where=folder / "annotations" / f"{split}.txt",
                    hint="unpack annotations.tar.gz again",
                )
    both = parts["trainval"].keys() & parts["test"].keys()
    if both:
        raise DataError(
            f"{len(both)} photos are in trainval.txt and test.txt, such as {min(both)}",
            code="D25",
            where=folder / "annotations",
        )


def _cut(items: list[Item]) -> list[Item]:
    """Official training photos to fit and to choose; official test photos to judge."""
    rows = [row for row, item in enumerate(items) if item.split == "trainval"]
    chosen, _ = stratified_parts(
        [items[row].label for row in rows],
        [items[row].name for row in rows],
        shares=[VALIDATION_SHARE],
    )
    validation = {rows[place] for place in chosen}
    official = {"trainval": "train", "test": "test"}
    return [
        Item(
            "validation" if row in validation else official[item.split],
            item.label,
            item.path,
            item.name,
        )
        for row, item in enumerate(items)
    ]
