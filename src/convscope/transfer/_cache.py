"""Features on disk, so that no image is run twice: by the network, and the hash of the image.

A cache is a folder of small files that are never changed: each appears whole or not at all, so a
run that is killed loses the features that were not written yet and nothing else. What is damaged
counts as not there. Nothing in the files is executed.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ConvscopeError, DataError
from convscope.files import Kind, checked_path, read_arrays, write_whole

PART = 64
"""Features of one file."""

OPEN = 4
"""Files whose features are in memory."""

FILE = Kind(what="cached features", largest=1 << 30)
DIGEST = 32
"""Bytes of the hash of an image."""


def feature_cache_folder() -> Path:
    """Where features go when nothing else is said: in the user's cache."""
    from convscope.data import cache_folder

    return cache_folder() / "features"


class FeatureCache:
    """Features of one network by the hash of the image.

    Args:
        folder: Where caches are; it is made when there is something to write. None: nothing is
            kept.
        key: Of the network, see `network_key`.
        size: Numbers per image.

    Attributes:
        damaged: Files that could not be read and were removed.

    Example:
        >>> import tempfile
        >>> folder, image = Path(tempfile.mkdtemp()), hashlib.sha256(b"an image").hexdigest()
        >>> cache = FeatureCache(folder, "net", size=2)
        >>> cache.add(image, np.array([1.0, 2.0], dtype=np.float32))
        >>> cache.flush()
        >>> FeatureCache(folder, "net", size=2).find(image).tolist()
        [1.0, 2.0]
    """

    def __init__(self, folder: Path | str | None, key: str, *, size: int) -> None:
        self.folder = None if folder is None else checked_path(folder) / key
        self.size = size
        self.damaged = 0
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._open: OrderedDict[Path, NDArray[np.float32]] = OrderedDict()
        self._fresh: dict[bytes, NDArray[np.float32]] = {}
        for path in sorted(self.folder.glob("*.npz")) if self.folder is not None else ():
            try:
                images, _ = self._read(path)
            except ConvscopeError:
                self.damaged += 1
                with suppress(OSError):
                    path.unlink()
                continue
            for row, image in enumerate(images):
                self._places[image.tobytes()] = (path, row)

    def __contains__(self, sha256: object) -> bool:
        """Whether there are features of the image with this hash."""
        image = bytes.fromhex(str(sha256))
        return image in self._places or image in self._fresh

    def __len__(self) -> int:
        """Number of images."""
        return len(self._places) + len(self._fresh)

    def find(self, sha256: str) -> NDArray[np.float32] | None:
        """``(size,)``, the features of an image, or None if there are none (any more)."""
        image = bytes.fromhex(sha256)
        if image in self._fresh:
            return self._fresh[image]
        if image not in self._places:
            return None
        path, row = self._places[image]
        if path not in self._open:
            try:
                self._open[path] = self._read(path)[1]
            except ConvscopeError:
                self._places = {k: v for k, v in self._places.items() if v[0] != path}
                return None
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path][row]

    def add(self, sha256: str, features: NDArray[np.float32]) -> None:
        """Keep the features of an image; every so many are written."""
        if self.folder is None:
            return
        self._fresh[bytes.fromhex(sha256)] = features
        if len(self._fresh) >= PART:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written.

        Raises:
            ResourceError: The disk says no.
        """
        if self.folder is None or not self._fresh:
            return
        images = np.frombuffer(b"".join(self._fresh), dtype=np.uint8).reshape(-1, DIGEST)
        features = np.stack(list(self._fresh.values()))
        buffer = io.BytesIO()
        np.savez(buffer, images=images, features=features)
        path = self.folder / f"{hashlib.sha256(images.tobytes()).hexdigest()[:32]}.npz"
        write_whole(path, buffer.getvalue())
        for row, image in enumerate(self._fresh):
            self._places[image] = (path, row)
        self._fresh = {}

    def forget(self) -> None:
        """Remove everything: these are features of another network."""
        for path in {path for path, _ in self._places.values()}:
            with suppress(OSError):
                path.unlink()
        self._places, self._fresh = {}, {}
        self._open.clear()

    def _read(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        arrays = read_arrays(path, FILE)
        images, features = arrays.get("images"), arrays.get("features")
        if (
            images is None
            or features is None
            or images.dtype != np.uint8
            or features.dtype != np.float32
            or images.shape != (len(features), DIGEST)
            or features.shape != (len(images), self.size)
            or not np.isfinite(features).all()
        ):
            raise DataError("damaged: no features of this network", where=path)
        return images, features
