"""Oxford-IIIT Pet: photos of cats and dogs of 37 breeds, with true masks.

Source: O. Parkhi, A. Vedaldi, A. Zisserman, C. Jawahar, "Cats and Dogs" (CVPR 2012); license
CC BY-SA 4.0. Read in its official layout; a copy with some of the breeds is fine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.data._download import absent, data_folder
from convscope.data._file import read_file
from convscope.data._registry import Found
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.progress import announce

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from convscope.data._dataset import Dataset
    from convscope.data._items import Item
    from convscope.data._split import Split
    from convscope.resizing import Resize

FOLDER = "oxford-iiit-pet"
PLACES = (FOLDER, ".", f"pets/{FOLDER}", "pets")
SHAPE = (3, 224, 224)
"""What the rule for folders gives for these photos (median of the shorter sides, at most 224)."""

LARGEST_LIST = 1 << 22
LINE = re.compile(r"(?P<photo>(?P<breed>\w[\w .'-]{0,80})_\d{1,6}) (?P<breed_number>\d{1,4})( .*)?")
SPLITS = ("train", "validation", "test")
PET, BACKGROUND, BORDER = 1, 2, 3
"""Values of a trimap."""


def find(data_dir: str | Path | None = None) -> Found:
    """The annotations of the pets on this machine, if their photos are there too."""
    folder = find_folder(data_dir)
    if folder is None:
        return Found(missing=("images", "annotations"))
    return Found(files=(folder / "annotations",))


def find_folder(data_dir: str | Path | None = None) -> Path | None:
    """The folder that holds ``images/`` and ``annotations/``, if it is here."""
    folder = data_folder(data_dir)
    for place in PLACES:
        root = folder / place
        if (root / "images").is_dir() and (root / "annotations" / "list.txt").is_file():
            return root
    return None


def open_pets(
    *,
    data_dir: str | Path | None = None,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    skip_bad: bool = False,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """The pets of the data folder, with masks.

    Photos are resized by the shorter side and cropped in the center, like those of a folder; a mask
    gets the same window, resized to the nearest pixel.

    Args:
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        input_shape: (C, H, W) to bring every photo to; 3x224x224 by default.
        resize: How the network that is judged wants photos brought to that size.
        skip_bad: Leave photos out that cannot be read, or have no readable trimap, and list them
            in `Dataset.refused`.
        check_classes: Called with the names of the breeds before a photo is decoded.

    Returns:
        The official test list for testing, a tenth of every breed of the official training list
        for validation, the rest for training.

    Raises:
        ResourceError: Not on this machine, or too large for its memory.
        DataError: A list is damaged (``D10``, ``D21``), or photos are (``D21``, the first five).
    """
    from convscope.data._content_warnings import content_warnings
    from convscope.data._dataset import Dataset
    from convscope.data._items import refuse_problems
    from convscope.data._room import make_room

    folder = find_folder(data_dir)
    if folder is None:
        raise absent("pets", data_dir=data_dir)
    listing = read_lists(folder)
    if check_classes is not None:
        check_classes(listing.class_names)
    shape = input_shape or SHAPE
    what = f"{len(listing.items):,} photos"
    # Split after split: a split is a part of the block, and no photo is held twice.
    order = sorted(
        range(len(listing.items)), key=lambda row: SPLITS.index(listing.items[row].split)
    )
    images = make_room((len(order), *shape), what, where=folder)
    masks = make_room((len(order), *shape[1:]), f"masks of {what}", where=folder)
    kept: list[Item] = []
    hashes: dict[int, str] = {}
    bad: dict[int, str] = {}
    photos = read_photos(folder, [listing.items[row] for row in order], shape, resize)
    for row, (item, result) in zip(order, photos, strict=True):
        announce((len(hashes) + len(bad) + 1) / len(order), FOLDER)
        if isinstance(result, ConvscopeError):
            bad[row] = f"{item.name}: {result.code} {result.what}"
            continue
        images[len(kept)], masks[len(kept)], hashes[row] = result
        kept.append(item)
    problems = [*listing.problems, *(bad[row] for row in sorted(bad))]
    refuse_problems(problems, folder, skip_bad=skip_bad)
    lines = (f"{listing.items[row].name}\0{hashes[row]}\n" for row in sorted(hashes))
    digest = hashlib.sha256("".join(lines).encode())
    train, validation, test = (_split(name, kept, images, masks, folder) for name in SPLITS)
    names = listing.class_names
    return Dataset(
        name="pets",
        class_names=names,
        train=train,
        validation=validation,
        test=test,
        source=f"Oxford-IIIT Pet: {len(kept):,} photos of {len(names)} of {listing.listed} listed "
        f"breeds, {shape[0]}x{shape[1]}x{shape[2]}: {len(train):,} for training and "
        f"{len(validation):,} for validation from the official training list, {len(test):,} of the "
        "test list for testing; masks from the trimaps, border included",
        hashes={FOLDER: digest.hexdigest()},
        warnings=content_warnings(train, validation, test),
        refused=tuple(problems),
    )


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
    from convscope.data._items import Item

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
    breeds: dict[str, tuple[str, int]] = {}
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
        breeds[match["photo"]] = (match["breed"].replace("_", " "), int(match["breed_number"]))
    return breeds


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
    from convscope.data._stratified import VALIDATION_SHARE, stratified_parts

    rows = [row for row, item in enumerate(items) if item.split == "trainval"]
    chosen, _ = stratified_parts(
        [items[row].label for row in rows],
        [items[row].name for row in rows],
        shares=[VALIDATION_SHARE],
    )
    validation = {rows[place] for place in chosen}
    official = {"trainval": "train", "test": "test"}
    return [
        replace(item, split="validation" if row in validation else official[item.split])
        for row, item in enumerate(items)
    ]


def read_trimap(path: Path) -> Image.Image:
    """White where the trimap says pet or border, black elsewhere, mode ``"L"``.

    Raises:
        ImageError: ``I06`` if it holds other numbers than 1, 2 and 3, or as for any image.
    """
    import numpy as np
    from PIL import Image

    from convscope.data._image import LARGEST_FILE, decode

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
    from PIL import Image

    from convscope.data._image import LARGEST_FILE, decode, fit_to, to_tensor

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
    folder: Path, items: list[Item], shape: tuple[int, int, int], resize: Resize | None
) -> Iterator[tuple[Item, tuple[Tensor, Tensor, str] | ConvscopeError]]:
    """Every photo with its mask, in order."""
    from convscope.data._room import in_threads

    def attempt(item: Item) -> tuple[Tensor, Tensor, str] | ConvscopeError:
        trimap = folder / "annotations" / "trimaps" / f"{item.path.stem}.png"
        try:
            return _photo_and_mask(item.path, trimap, shape, resize)
        except ConvscopeError as error:
            return error

    return zip(items, in_threads(attempt, items), strict=True)


def _split(name: str, items: list[Item], images: Tensor, masks: Tensor, folder: Path) -> Split:
    """The photos and masks of one split.

    Raises:
        DataError: D11 if there are none.
    """
    import torch

    from convscope.data._split import Split

    rows = [row for row, item in enumerate(items) if item.split == name]
    if not rows:
        raise DataError(f"empty split: no {name} photos", code="D11", where=folder)
    part = slice(rows[0], rows[0] + len(rows))
    return Split(
        name=name,
        images=images[part],
        labels=torch.tensor([items[row].label for row in rows]),
        names=tuple(items[row].name for row in rows),
        masks=masks[part].view(torch.bool),
    )
