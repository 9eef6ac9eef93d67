"""Where data may lie on this machine."""

import os
from pathlib import Path

from convscope.errors import DataError, ResourceError
from convscope.files import usable_path

PETS = "oxford-iiit-pet"
PETS_PLACES = (PETS, ".", f"pets/{PETS}", "pets")
PETS_HINT = (
    "unpack images.tar.gz and annotations.tar.gz of https://www.robots.ox.ac.uk/~vgg/data/pets/ "
    f"into {PETS}/ in that folder; or --data shapes, which needs no files"
)


def cache_folder() -> Path:
    """The user's cache folder for convscope: downloads go there when nothing else is said."""
    import pooch

    return Path(pooch.os_cache("convscope"))


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder for data: `data_dir`, else ``$CONVSCOPE_DATA``, else the user's cache.

    Raises:
        DataError: The folder is a file, or `data_dir` does not exist.
    """
    given = data_dir or os.environ.get("CONVSCOPE_DATA")
    if not given:
        return cache_folder()
    folder = usable_path(given, DataError)
    if folder.exists() and not folder.is_dir():
        raise DataError("not a folder", code="U02", where=folder, expected="a folder of data")
    return folder


def find_file(folder: Path, places: tuple[str, ...], names: tuple[str, ...]) -> Path | None:
    """The first of `names` that exists in the first of `places` below `folder`."""
    for place in places:
        for name in names:
            path = folder / place / name
            if path.exists():
                return path
    return None


def find_pets(data_dir: str | Path | None = None) -> Path | None:
    """The folder that holds ``images/`` and ``annotations/`` of the pets, if it is here."""
    folder = data_folder(data_dir)
    for place in PETS_PLACES:
        found = folder / place
        if (found / "images").is_dir() and (found / "annotations" / "list.txt").is_file():
            return found
    return None


def pets_absent(data_dir: str | Path | None) -> ResourceError:
    """The error for pets that are not here: they are never downloaded."""
    return ResourceError(
        "pets (Oxford-IIIT Pet) is not on this machine; convscope does not download it",
        where=data_folder(data_dir),
        hint=PETS_HINT,
    )
