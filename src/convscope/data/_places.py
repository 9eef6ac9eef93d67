"""Where data may lie on this machine."""

import os
from pathlib import Path

from convscope.errors import DataError
from convscope.files import usable_path


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
