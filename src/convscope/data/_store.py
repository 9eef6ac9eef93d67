"""The data folder: what is in it, downloads, carrying data to a machine without a network."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from convscope.data._download import absent, data_folder, fetch_all
from convscope.data._file import read_file, read_members
from convscope.data._open import choose_dataset, open_dataset
from convscope.data._registry import DATASETS, address_of
from convscope.errors import DataError, ResourceError, UsageError
from convscope.files import usable_path

LARGEST_PACKAGE = 1 << 29
LARGEST_MEMBER = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Status:
    """What this machine has of a data set.

    Attributes:
        name: Name of the data set.
        about: One line on it.
        files: Where its files are, those that are here.
        ready: Whether it can be opened without a network; None if its record cannot tell.
        built_in: Whether it needs no files.
        download_bytes: Size of what downloading it would fetch; 0 if it is here, or if convscope
            does not download it.
        by_hand: Where its files come from and belong, if convscope does not download them.
    """

    name: str
    about: str
    files: tuple[Path, ...] = ()
    ready: bool | None = None
    built_in: bool = False
    download_bytes: int = 0
    by_hand: str = ""


def status(name: str, data_dir: str | Path | None = None) -> Status:
    """What this machine has of a data set; files are looked for, not read.

    Args:
        name: One of `DATASETS`.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.

    Returns:
        Where its files are.

    Raises:
        UsageError: No data set of that name.

    Example:
        >>> status("digits").ready
        True
    """
    name = _registered(name)
    record = DATASETS.spec(name)
    found = record.found(data_dir)
    ready = None if found is None else found.ready
    wanted = () if found is None else record.needed(found.missing)
    return Status(
        name=name,
        about=record.about,
        files=() if found is None else found.files,
        ready=ready,
        built_in=record.built_in,
        download_bytes=sum(one.size for one in wanted),
        by_hand=record.by_hand,
    )


def download(name: str, *, data_dir: str | Path | None = None, offline: bool = False) -> Status:
    """Make a data set available: nothing if it is here, a checked download otherwise.

    The share that is downloaded is announced to whoever watches (`convscope.progress`).

    Args:
        name: One of `DATASETS`.
        data_dir: Where to look and to write.
        offline: Refuse instead of downloading.

    Returns:
        Where its files are now.

    Raises:
        ResourceError: Offline, no mirror answers, the folder cannot be written, or it has to be
            brought by hand.
    """
    here = status(name, data_dir)
    if here.ready:
        return here
    record = DATASETS.spec(here.name)
    found = record.found(data_dir)
    wanted = () if found is None else record.needed(found.missing)
    if not wanted or offline:
        raise absent(here.name, data_dir=data_dir)
    fetch_all(wanted, data_folder(data_dir))
    return status(here.name, data_dir)


def export_data(name: str, target: Path, *, data_dir: str | Path | None = None) -> Path:
    """Write the files of a data set that is here into one tar file.

    Args:
        name: A data set of files, such as ``"mnist"`` or ``"cifar10"``.
        target: The tar file; it appears when it is complete.
        data_dir: Where the data set is.

    Returns:
        `target`.

    Raises:
        UsageError: The data set is built in, or is a folder of many files.
        ResourceError: The data set is not here, or the disk is full.
    """
    here = status(name, data_dir)
    if here.built_in:
        raise UsageError(f"{name} is built in: there is nothing to export", code="U01")
    if not DATASETS.spec(here.name).known_files():
        folder = here.files[0].parent if here.files else "with its files"
        raise UsageError(
            f"{name} is not packed into one file", code="U01", hint=f"copy the folder {folder}"
        )
    if not here.ready:
        raise absent(here.name, data_dir=data_dir)
    part = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(part, "w") as tar:
            for path in here.files:
                data = read_file(path, limit=LARGEST_PACKAGE, code="D20").data
                entry = tarfile.TarInfo(f"{here.name}/{path.name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResourceError(f"cannot write: {error.strerror}", where=target) from None
    return target


def import_data(
    source: Path, *, data_dir: str | Path | None = None, accept_modified: bool = False
) -> tuple[str, tuple[Path, ...]]:
    """Bring files of a data set into the data folder, after they have been opened and checked.

    Args:
        source: A tar file made by `export_data`, a folder that holds the files, or an official
            archive.
        data_dir: Where to put them.
        accept_modified: Take files whose checksum is not the registered one.

    Returns:
        Name of the data set and the new files.

    Raises:
        DataError: Nothing in `source` is a known data set, or it is damaged or modified.
        ResourceError: The data folder cannot be written.
    """
    target = data_folder(data_dir)
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target) as staging:
            name, files = _stage(usable_path(source, DataError), Path(staging))
            open_dataset(
                name, data_dir=Path(staging), offline=True, accept_modified=accept_modified
            )
            (target / name).mkdir(exist_ok=True)
            return name, tuple(_place(path, target / name) for path in files)
    except OSError as error:
        raise ResourceError(
            f"cannot write: {error.strerror or error}",
            where=target,
            hint="free some space, or choose another folder with --data-dir",
        ) from None


def _registered(name: str) -> str:
    """The name of a data set with a record: not a folder of the user's.

    Raises:
        UsageError: U01.
    """
    if address_of(choose_dataset(name)) is not None:
        raise UsageError(
            f"{name} is yours: it lies where it says",
            code="U01",
            expected=", ".join(DATASETS),
        )
    return choose_dataset(name)


def _stage(source: Path, staging: Path) -> tuple[str, list[Path]]:
    """Put what is to be imported into a folder of its own, looking like a data folder."""
    known = {name: DATASETS.spec(name).known_files() for name in DATASETS}
    known = {name: files for name, files in known.items() if files}
    if source.is_dir():
        for name in known:
            here = status(name, source)
            if here.ready:
                return name, [_copy(path, staging / name) for path in here.files]
        raise _unknown(source, "this folder holds no known data set", known)
    for name, files in known.items():
        if source.name in files:
            copy = _copy(source, staging / name)
            if status(name, staging).ready:  # one file is the whole of it
                return name, [copy]
            copy.unlink()
    package = read_file(source, limit=LARGEST_PACKAGE, code="D20")
    wanted = {file for files in known.values() for file in files}
    members = read_members(package.data, wanted, where=source, largest=LARGEST_MEMBER)
    for name, files in known.items():
        mine = [staging / name / file for file in members if file in files]
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(members[path.name])
        if mine:
            return name, mine
    raise _unknown(source, "this archive holds no known data set", known)


def _copy(path: Path, folder: Path) -> Path:
    """A copy of a file in `folder`, read through the door for data files."""
    folder.mkdir(exist_ok=True)
    copy = folder / path.name
    copy.write_bytes(read_file(path, limit=LARGEST_PACKAGE, code="D20").data)
    return copy


def _place(path: Path, folder: Path) -> Path:
    """Move a staged file to its place, on disk before it has its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)
    return path.replace(folder / path.name)


def _unknown(source: Path, what: str, known: Iterable[str]) -> DataError:
    return DataError(
        what,
        code="U02",
        where=source,
        expected=f"the files of {' or '.join(known)}, as they are served",
        hint="your own images need no importing: --data folder:DIRECTORY",
    )
