"""Data directories and downloads."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convscope.data._registry import DATASETS, Download
from convscope.errors import DataError, ResourceError
from convscope.files import usable_path
from convscope.progress import announce, stage

TIMEOUT_SECONDS = 15
CHUNK = 1 << 17


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


def fetch_all(downloads: Sequence[Download], folder: Path) -> list[Path]:
    """The files of a data set; progress is announced as the share of all their bytes.

    Raises:
        ResourceError: As for `fetch`.
    """
    whole, before, paths = sum(one.size for one in downloads), 0, []
    for download in downloads:
        with stage(before / whole, (before + download.size) / whole, download.file):
            paths.append(fetch(download, folder))
        before += download.size
    return paths


def fetch(download: Download, folder: Path) -> Path:
    """The file, from the first mirror that has it; the share that is here is announced.

    Args:
        download: What to get.
        folder: Data folder.

    Returns:
        Path of the complete, checked file.

    Raises:
        ResourceError: No mirror gave the right file (the text says what each of them did), or the
            folder cannot be written.
    """
    import pooch

    target = folder / download.file
    pooch.get_logger().setLevel("ERROR")
    failures = []
    for url in download.urls:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(
                url,
                known_hash=f"sha256:{download.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=_Resuming(download, target),
            )
            target.chmod(0o644)
        except _Refused as error:
            failures.append(f"{_host(url)}: {error}")
        except OSError as error:
            raise ResourceError(
                f"cannot write: {error.strerror or error}",
                code="D26",
                where=error.filename or target,
                hint="free some space, or choose another folder with --data-dir",
            ) from None
        else:
            return target
    raise ResourceError(
        f"could not download {target.name}: {'; '.join(failures)}",
        code="D24" if "checksum" in failures[-1] else "",
        where=folder,
        expected="a connection to one of these servers",
        hint=_offline_hint(download.file.split("/")[0]),
    )


class _Refused(Exception):
    """A mirror did not give the file."""


class _Resuming:
    """What pooch calls to fill its temporary file."""

    def __init__(self, download: Download, target: Path) -> None:
        self.download = download
        self.target = target
        self.part = target.with_name(f".{target.name}.part")

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Continue the part file from `url`, check it, and move it over `output_file`.

        A part that came from elsewhere may be wrong: then this mirror is asked for all of it.
        """
        with _lock(self.part) as mine:
            if not mine:  # another process is filling it: fill one of our own
                self.part = self.target.with_name(f".{self.target.name}.{os.getpid()}.part")
            self._fill(url, output_file)

    def _fill(self, url: str, output_file: Any) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        if have >= self.download.size:
            self.part.unlink()
            have = 0
        digest = self._attempt(url, have)
        if digest != self.download.sha256 and have:
            digest = self._attempt(url, 0)
        if digest != self.download.sha256:
            raise _Refused(f"wrong checksum {digest}")
        self.part.replace(output_file)

    def _attempt(self, url: str, have: int) -> str:
        """Receive what is missing; the SHA-256 of it all. A wrong part is removed."""
        try:
            have = self._receive(url, have)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise _Refused(getattr(error, "reason", None) or error) from None
        except ValueError as error:
            raise _Refused(error) from None
        if have < self.download.size:
            raise _Refused(f"stopped after {have:,} of {self.download.size:,} bytes")
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.download.sha256:
            self.part.unlink()
        return digest

    def _receive(self, url: str, have: int) -> int:
        """Append to the part file until the size is right or the server stops; bytes held."""
        import http.client

        if not url.startswith(("https://", "http://")):
            raise ValueError(f"not a web address: {url}")
        request = urllib.request.Request(url, headers={"User-Agent": "convscope"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            resumed = answer.status == 206 and str(
                answer.headers.get("Content-Range", "")
            ).startswith(f"bytes {have}-")
            have = have if resumed else 0
            announced = answer.headers.get("Content-Length")
            if announced and have + int(announced) != self.download.size:
                raise ValueError(f"offers {have + int(announced):,} bytes, not the file")
            with self.part.open("ab" if resumed else "wb") as file:
                while have < self.download.size:
                    try:
                        block = answer.read(min(CHUNK, self.download.size - have))
                    except http.client.HTTPException:
                        break
                    if not block:
                        break
                    file.write(block)
                    have += len(block)
                    announce(have / self.download.size, self.download.file)
        return have


@contextmanager
def _lock(part: Path) -> Iterator[bool]:
    """Hold the part file against other processes; False if one of them has it."""
    try:
        import fcntl
    except ImportError:  # not a Unix system
        yield True
        return
    with part.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            part.with_suffix(".lock").unlink(missing_ok=True)


def absent(name: str, files: Sequence[str] = (), *, data_dir: str | Path | None) -> ResourceError:
    """The error for data that are not here and cannot be downloaded now.

    Args:
        name: One of `DATASETS`.
        files: Those that are missing, if some are here.
        data_dir: Where they were looked for.
    """
    folder, record = data_folder(data_dir), DATASETS.spec(name)
    if not record.downloads:
        titled = f" ({record.title})" if record.title else ""
        return ResourceError(
            f"{name}{titled} is not on this machine; convscope does not download it",
            where=folder,
            hint=record.by_hand,
        )
    listed = f" ({', '.join(files)})" if files else ""
    return ResourceError(
        f"{name} is not on this machine{listed}",
        where=folder,
        expected=f"the files in {folder} or {folder / name} (--data-dir, $CONVSCOPE_DATA)",
        hint=f"convscope data download {name} fetches it; {_offline_hint(name)}",
    )


def _offline_hint(name: str) -> str:
    return (
        "if the files are in another folder: --data-dir DIRECTORY; without a network: on a "
        f"connected machine `convscope data download {name} --to {name}.tar`, here `convscope data "
        f"import {name}.tar`; or digits in its place, which needs no files"
    )


def _host(url: str) -> str:
    return url.split("/")[2]
