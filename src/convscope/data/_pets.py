"""Oxford-IIIT Pet: photos of cats and dogs of 37 breeds, with true masks.

Source: O. Parkhi, A. Vedaldi, A. Zisserman, C. Jawahar, "Cats and Dogs" (CVPR 2012); license
CC BY-SA 4.0. Read in its official layout; a copy with some of the breeds is fine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.data._download import absent, data_folder
from convscope.data._registry import Found
from convscope.errors import ConvscopeError
from convscope.progress import announce

if TYPE_CHECKING:
    from convscope.data._dataset import Dataset
    from convscope.data._folder import Item
    from convscope.resizing import Resize

FOLDER = "oxford-iiit-pet"
PLACES = (FOLDER, ".", f"pets/{FOLDER}", "pets")
SHAPE = (3, 224, 224)
"""What the rule for folders gives for these photos (median of the shorter sides, at most 224)."""


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
        found = folder / place
        if (found / "images").is_dir() and (found / "annotations" / "list.txt").is_file():
            return found
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
    import torch

    from convscope.data._dataset import Dataset, content_warnings
    from convscope.data._file import check_memory
    from convscope.data._folder import stop_on
    from convscope.data._pet_files import read_lists, read_photos, split_of

    folder = find_folder(data_dir)
    if folder is None:
        raise absent("pets", data_dir=data_dir)
    listing = read_lists(folder)
    if check_classes is not None:
        check_classes(listing.class_names)
    shape = input_shape or SHAPE
    size = len(listing.items) * shape[0] * shape[1] * shape[2]
    check_memory(2 * size, f"{len(listing.items):,} photos", where=folder)
    problems = list(listing.problems)
    kept: list[Item] = []
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    digest = hashlib.sha256()
    for count, (item, result) in enumerate(read_photos(folder, listing, shape, resize), 1):
        announce(count / len(listing.items), FOLDER)
        if isinstance(result, ConvscopeError):
            problems.append(f"{item.name}: {result.code} {result.what}")
            continue
        image, mask, sha256 = result
        digest.update(f"{item.name}\0{sha256}\n".encode())
        kept.append(item)
        found.append((image, mask))
    stop_on(problems, folder, skip_bad=skip_bad)
    train, validation, test = (
        split_of(name, kept, found, folder) for name in ("train", "validation", "test")
    )
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
