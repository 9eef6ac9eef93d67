"""Lists, photos and trimaps of Oxford-IIIT Pet in its official layout."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.data._dataset import VALIDATION_SHARE, Split, stratified_parts
from convscope.data._file import read_file
from convscope.data._folder import Item
from convscope.data._image import LARGEST_FILE, decode, fit_to, to_tensor
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.resizing import Resize

LARGEST_LIST = 1 << 22
LINE = re.compile(r"(?P<photo>(?P<breed>\w[\w .'-]{0,80})_\d{1,6}) (?P<breed_number>\d{1,4})( .*)?")


@dataclass(frozen=True)
class Listing:
    """What the lists say of the photos that are here.

    Attributes:
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
    """Official training photos for training and validation; official test photos for testing."""
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


PET, BACKGROUND, BORDER = 1, 2, 3
"""Values of a trimap."""


def read_trimap(path: Path) -> Image.Image:
    """White where the trimap says pet or border, black elsewhere, mode ``"L"``.

    Raises:
        ImageError: ``I06`` if it holds other numbers than 1, 2 and 3, or as for any image.
    """
    data = read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError).data
    values = np.asarray(decode(data, where=path, ending=path.suffix).image)
    kinds = set(np.unique(values).tolist())
    if values.ndim != 2 or not kinds <= {PET, BACKGROUND, BORDER}:
        raise ImageError(
            "not a trimap", code="I06", where=path, expected="gray values 1, 2 and 3 only"
        )
    return Image.fromarray(np.where(values == BACKGROUND, 0, 255).astype(np.uint8))


def _photo_and_mask(
    photo: Path, trimap: Path, shape: tuple[int, int, int], resize: Resize | None
) -> tuple[Tensor, Tensor, str]:
    """Bytes of the photo, its mask, and the hash of both files."""
    file = read_file(photo, limit=LARGEST_FILE, code="I02", kind=ImageError)
    image = decode(file.data, where=photo, ending=photo.suffix).image
    if not trimap.is_file():
        raise ImageError(f"no trimap {trimap.name}", code="I22", where=trimap)
    mask = read_trimap(trimap)
    if mask.size != image.size:
        raise ImageError(
            f"the trimap has {mask.width}x{mask.height} pixels, the photo "
            f"{image.width}x{image.height}",
            code="D09",
            where=trimap,
        )
    hashed = hashlib.sha256(file.sha256.encode() + mask.tobytes()).hexdigest()
    nearest = Image.Resampling.NEAREST
    fitted = fit_to(mask, channels=1, size=shape[1:], resample=nearest, resize=resize)
    pixels = to_tensor(fit_to(image, channels=shape[0], size=shape[1:], resize=resize))
    return pixels, to_tensor(fitted)[0] > 0, hashed


def read_photos(
    folder: Path, listing: Listing, shape: tuple[int, int, int], resize: Resize | None
) -> Iterator[tuple[Item, tuple[Tensor, Tensor, str] | ConvscopeError]]:
    """Every photo with its mask, in order, in a few threads (decoding leaves Python's lock)."""

    def attempt(item: Item) -> tuple[Tensor, Tensor, str] | ConvscopeError:
        trimap = folder / "annotations" / "trimaps" / f"{item.path.stem}.png"
        try:
            return _photo_and_mask(item.path, trimap, shape, resize)
        except ConvscopeError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        yield from zip(listing.items, threads.map(attempt, listing.items), strict=True)


def split_of(
    name: str, items: list[Item], found: list[tuple[Tensor, Tensor]], folder: Path
) -> Split:
    """The photos and masks of one split.

    Raises:
        DataError: D11 if there are none.
    """
    rows = [row for row, item in enumerate(items) if item.split == name]
    if not rows:
        raise DataError(f"empty split: no {name} photos", code="D11", where=folder)
    return Split(
        name=name,
        images=torch.stack([found[row][0] for row in rows]),
        labels=torch.tensor([items[row].label for row in rows]),
        names=tuple(items[row].name for row in rows),
        masks=torch.stack([found[row][1] for row in rows]),
    )
