"""The data folder: what is in it, getting more, carrying data to a machine without network."""

import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from convscope.data import _cifar10, _mnist
from convscope.data._download import (
    PETS,
    Progress,
    data_folder,
    fetch,
    find_pets,
    missing,
    pets_absent,
)
from convscope.data._file import read_file
from convscope.data._open import DATASETS, choose_dataset, open_dataset
from convscope.data._tar import read_members
from convscope.errors import DataError, ResourceError, UsageError
from convscope.files import usable_path

LARGEST_PACKAGE = 1 << 29
DOWNLOADED = ("mnist", "cifar10")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What this machine has of a data set.

    Args:
        name: Name of the data set.
        about: One line on it.
        files: Where its files are; empty if they are not all here.
        ready: Whether it can be opened without network.
        download_bytes: What getting it would cost; 0 for what convscope does not download.
    """

    name: str
    about: str
    files: tuple[Path, ...]
    ready: bool
    download_bytes: int


def stored(name: str, data_dir: str | Path | None = None) -> Stored:
    """What this machine has of a data set; files are looked for, not read.

    Args:
        name: One of `DATASETS`.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.

    Returns:
        Where its files are.

    Raises:
        UsageError: No data set of that name.

    Example:
        >>> stored("digits").ready
        True
    """
    name = choose_dataset(name)
    about = DATASETS.about(name)
    if name == "pets":
        folder = find_pets(data_dir)
        return Stored(
            name=name,
            about=about,
            files=() if folder is None else (folder / "annotations",),
            ready=folder is not None,
            download_bytes=0,
        )
    if name not in DOWNLOADED:
        return Stored(name=name, about=about, files=(), ready=True, download_bytes=0)
    if name == "mnist":
        found = [path for path in _mnist.find(data_dir).values() if path is not None]
        ready = len(found) == len(_mnist.DOWNLOADS)
        return Stored(
            name=name,
            about=about,
            files=tuple(found),
            ready=ready,
            download_bytes=0 if ready else sum(one.size for one in _mnist.DOWNLOADS),
        )
    layout = _cifar10.find(data_dir)
    return Stored(
        name=name,
        about=about,
        files=() if layout is None else layout.files(),
        ready=layout is not None,
        download_bytes=0 if layout else _cifar10.DOWNLOAD.size,
    )


def get(
    name: str,
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Stored:
    """Make a data set available: nothing if it is here, a checked download otherwise.

    Args:
        name: One of `DATASETS`.
        data_dir: Where to look and to write.
        offline: Refuse instead of downloading.
        progress: Called with (file, bytes so far, bytes in all).

    Returns:
        Where its files are now.

    Raises:
        ResourceError: Offline, no mirror answers, the folder cannot be written, or it has to be
            brought by hand.
    """
    here = stored(name, data_dir)
    if here.ready:
        return here
    if name == "pets":
        raise pets_absent(data_dir)
    if offline:
        raise missing(name, [], folder=data_folder(data_dir))
    wanted = _mnist.DOWNLOADS if name == "mnist" else (_cifar10.DOWNLOAD,)
    present = (
        {stem for stem, path in _mnist.find(data_dir).items() if path} if name == "mnist" else ()
    )
    for download in wanted:
        if Path(download.file).stem not in present:
            fetch(download, data_folder(data_dir), progress=progress)
    return stored(name, data_dir)


def pack(name: str, target: Path, *, data_dir: str | Path | None = None) -> Path:
    """Write the files of a data set that is here into one tar file.

    Args:
        name: ``"mnist"`` or ``"cifar10"``.
        target: The tar file; it appears when it is complete.
        data_dir: Where the data set is.

    Returns:
        `target`.

    Raises:
        UsageError: ``digits`` needs no files; ``pets`` is a folder.
        ResourceError: The data set is not here, or the disk is full.
    """
    here = stored(name, data_dir)
    if name == "pets":
        raise UsageError(
            "pets is a folder of photos, which is not packed",
            code="U01",
            hint=f"copy the folder {PETS} over",
        )
    if not here.ready or not here.files:
        if name not in DOWNLOADED:
            raise UsageError(f"{name} is built in: there is nothing to pack", code="U01")
        raise missing(name, [], folder=data_folder(data_dir))
    part = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(part, "w") as tar:
            for path in here.files:
                data = read_file(path, limit=LARGEST_PACKAGE, code="D20").data
                entry = tarfile.TarInfo(f"{name}/{path.name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ResourceError(f"cannot write: {error.strerror}", where=target) from None
    return target


def add(
    source: Path, *, data_dir: str | Path | None = None, accept_modified: bool = False
) -> tuple[str, tuple[Path, ...]]:
    """Bring files of a data set into the data folder, after they have been opened and checked.

    Args:
        source: A tar file made by `pack`, a folder that holds the files, or an official archive.
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


def _stage(source: Path, staging: Path) -> tuple[str, list[Path]]:
    """Put what is to be added into a folder of its own, looking like a data folder."""
    if source.is_dir():
        for name in DOWNLOADED:
            here = stored(name, source)
            if here.ready:
                copies = [staging / name / path.name for path in here.files]
                (staging / name).mkdir()
                for path, copy in zip(here.files, copies, strict=True):
                    copy.write_bytes(read_file(path, limit=LARGEST_PACKAGE, code="D20").data)
                return name, copies
        raise _unknown(source, "this folder holds no known data set")
    if source.name in _cifar10.ARCHIVE_SHA256:
        copy = staging / "cifar10" / source.name
        copy.parent.mkdir()
        copy.write_bytes(read_file(source, limit=LARGEST_PACKAGE, code="D20").data)
        return "cifar10", [copy]
    package = read_file(source, limit=LARGEST_PACKAGE, code="D20")
    known = {name: _names(name) for name in DOWNLOADED}
    wanted = {file for files in known.values() for file in files}
    members = read_members(package.data, wanted, where=source, largest=_cifar10.LARGEST_ARCHIVE)
    for name, files in known.items():
        mine = [staging / name / file for file in members if file in files]
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(members[path.name])
        if mine:
            return name, mine
    raise _unknown(source, "this archive holds no known data set")


def _names(name: str) -> set[str]:
    """File names by which a data set is known."""
    if name == "mnist":
        return {file for stem in _mnist.CONTENT_SHA256 for file in _mnist.spellings(stem)}
    return {*_cifar10.ARCHIVE_SHA256, *_cifar10.BINARY_SHA256, *_cifar10.PYTHON_MD5}


def _place(path: Path, folder: Path) -> Path:
    """Move a staged file to its place, on disk before it has its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o644)
    return path.replace(folder / path.name)


def _unknown(source: Path, what: str) -> DataError:
    return DataError(
        what,
        code="U02",
        where=source,
        expected="the four MNIST files, a CIFAR-10 archive or its batches",
        hint="your own images need no adding: --data folder:DIRECTORY",
    )
