"""CIFAR-10: 60,000 color images of 32x32 in ten classes, in the official binary or python layout.

Batches 1 to 4 are for training (40,000), batch 5 for validation (10,000), the test batch for
testing (10,000): the sizes that
S. Kim, "Assignment 2 (CNN part)", Data Science Laboratory, Seoul National University, 2018 asks
for.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); for research.
A record of the binary layout is one label byte and 3,072 pixels, channel by channel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.data._download import absent, data_folder, fetch_all
from convscope.data._file import read_file, read_members
from convscope.data._registry import Download, Found
from convscope.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convscope.data._dataset import Dataset

PIXELS = 3072
RECORD = PIXELS + 1
LARGEST_BATCH = 1 << 26
LARGEST_ARCHIVE = 1 << 28
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ARCHIVE_SHA256 = {
    "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
}
BINARY_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PYTHON_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
FILE_NAMES = frozenset((*ARCHIVE_SHA256, *BINARY_SHA256, *PYTHON_MD5))
BINARY_ARCHIVE = Download(
    file="cifar10/cifar-10-binary.tar.gz",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    ),
    sha256=ARCHIVE_SHA256["cifar-10-binary.tar.gz"],
    size=170_052_171,
)
DOWNLOADS = (BINARY_ARCHIVE,)


@dataclass(frozen=True)
class Layout:
    """Where CIFAR-10 was found, and in which of its forms.

    Attributes:
        place: A folder of batches, or an archive.
        suffix: ``".bin"`` or nothing, the ending of the batch files.
    """

    place: Path
    suffix: str

    @property
    def packed(self) -> bool:
        """Whether the batches are in an archive."""
        return self.place.name in ARCHIVE_SHA256

    def files(self) -> tuple[Path, ...]:
        """The archive, or the batch files that are there."""
        if self.packed:
            return (self.place,)
        paths = [self.place / f"{batch}{self.suffix}" for batch in BATCHES]
        return tuple(path for path in paths if path.exists())


def find(data_dir: str | Path | None = None) -> Found:
    """The files of CIFAR-10 on this machine, in whichever form."""
    layout = find_layout(data_dir)
    if layout is None:
        return Found(missing=(Path(BINARY_ARCHIVE.file).name,))
    return Found(files=layout.files())


def find_layout(data_dir: str | Path | None = None) -> Layout | None:
    """Binary folder, python folder, binary archive, python archive: the first one that is there."""
    folder = data_folder(data_dir)
    roots = (folder / "cifar10", folder)
    for suffix, name in ((".bin", "cifar-10-batches-bin"), ("", "cifar-10-batches-py")):
        for root in roots:
            for place in (root / name, root):
                if (place / f"data_batch_1{suffix}").exists():
                    return Layout(place, suffix)
    for name in ARCHIVE_SHA256:
        for root in roots:
            if (root / name).exists():
                return Layout(root / name, ".bin" if "binary" in name else "")
    return None


def open_cifar10(
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
) -> Dataset:
    """CIFAR-10 from the data folder, downloaded first if it is not there.

    An archive must have the registered SHA-256. Loose batch files with another checksum are used,
    and the data set says so in its warnings: the same images in another order are common.

    Args:
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: Use an archive that is not the official one; its hash is recorded.

    Returns:
        40,000 / 10,000 / 10,000 images of 3x32x32.

    Raises:
        DataError: Files are damaged or hostile (``D10``, ``D13`` to ``D18``, ``D20``) or an archive
            is modified (``D24``).
        ResourceError: Not on this machine, and offline or no mirror answers.
    """
    import numpy as np
    import torch

    from convscope.data._content_warnings import content_warnings
    from convscope.data._dataset import Dataset
    from convscope.data._split import Split

    layout = find_layout(data_dir)
    if layout is None:
        if offline:
            raise absent("cifar10", find(data_dir).missing, data_dir=data_dir)
        (archive,) = fetch_all(DOWNLOADS, data_folder(data_dir))
        layout = Layout(archive, ".bin")
    hashes: dict[str, str] = {}
    notes: list[str] = []
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for path, data in _batches(layout, hashes, notes, accept_modified):
        read = read_binary if layout.suffix else read_python
        batch_images, batch_labels = read(data, where=path)
        images.append(batch_images)
        labels.append(batch_labels)
    splits = tuple(
        Split(
            name=name,
            images=torch.from_numpy(np.concatenate(images[part])),
            labels=torch.from_numpy(np.concatenate(labels[part]).astype(np.int64)),
        )
        for name, part in (
            ("train", slice(0, 4)),
            ("validation", slice(4, 5)),
            ("test", slice(5, 6)),
        )
    )
    return Dataset(
        name="cifar10",
        class_names=CLASS_NAMES,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        source=f"CIFAR-10{' (not the official files)' if notes else ''}: batches 1 to 4 for "
        f"training ({len(splits[0]):,}), batch 5 for validation ({len(splits[1]):,}), the test "
        f"batch for testing ({len(splits[2]):,})",
        hashes=hashes,
        warnings=tuple(notes) + content_warnings(*splits),
    )


def _batches(
    layout: Layout, hashes: dict[str, str], notes: list[str], accept_modified: bool
) -> Iterator[tuple[Path, bytes]]:
    """The six batch files, one at a time; notes what is not official."""
    names = [f"{batch}{layout.suffix}" for batch in BATCHES]
    if layout.packed:
        archive = read_file(layout.place, limit=LARGEST_ARCHIVE, code="D20")
        hashes[layout.place.name] = archive.sha256
        members = read_members(archive.data, names, where=layout.place, largest=LARGEST_BATCH)
        for name in names:
            if name not in members:
                raise DataError(f"archive holds no {name}", code="D13", where=layout.place)
        if archive.sha256 != ARCHIVE_SHA256[layout.place.name]:
            if not accept_modified:
                raise DataError(
                    f"checksum differs from the official archive's: sha256 is {archive.sha256}",
                    code="D24",
                    where=layout.place,
                    expected=ARCHIVE_SHA256[layout.place.name],
                    hint="download it again, or use --accept-modified-data to go on with it",
                )
            notes.append(f"D24: {layout.place.name} is not the official archive")
        for name in names:
            yield layout.place / name, members.pop(name)
        return
    other = []
    for name in names:
        file = read_file(layout.place / name, limit=LARGEST_BATCH, code="D14")
        hashes[name] = file.sha256
        if layout.suffix:
            official = file.sha256 == BINARY_SHA256[name]
        else:
            md5 = hashlib.md5(file.data, usedforsecurity=False).hexdigest()
            official = md5 == PYTHON_MD5[name]
        if not official:
            other.append(name)
        yield file.path, file.data
    if other:
        notes.append(
            f"D24: {len(other)} of {len(names)} batch files do not have the official checksum "
            "(other order of images, or other content)"
        )


def read_binary(data: bytes, *, where: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 3, 32, 32) and labels (N,) of a ``.bin`` batch.

    Raises:
        DataError: ``D01`` empty, ``D14`` not whole records, ``D16`` CIFAR-100, ``D10`` label.
    """
    import numpy as np

    from convscope.data._split import check_labels

    if not data:
        raise DataError("file is empty", code="D01", where=where, hint="download it again")
    records, rest = divmod(len(data), RECORD)
    if rest:
        if len(data) % (RECORD + 1) == 0:
            raise DataError(
                f"{len(data):,} bytes are whole records of {RECORD + 1} bytes, not of {RECORD}: "
                "looks like CIFAR-100",
                code="D16",
                where=where,
                expected="a CIFAR-10 batch",
            )
        raise DataError(
            f"record {records} is cut: it has {rest:,} of {RECORD:,} bytes",
            code="D14",
            where=where,
            expected=f"a multiple of {RECORD:,} bytes",
            hint="download it again",
        )
    table = np.frombuffer(data, np.uint8).reshape(records, RECORD)
    check_labels(table[:, 0], where=where)
    return table[:, 1:].reshape(records, 3, 32, 32), table[:, 0]


def read_python(data: bytes, *, where: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 3, 32, 32) and labels (N,) of a pickled batch; nothing in it is run.

    Raises:
        DataError: ``D01``, ``D10``, ``D13``, ``D14``, ``D16``, ``D17``, ``D18``.
    """
    import numpy as np

    from convscope.data._pickle import read_pickle

    if not data:
        raise DataError("file is empty", code="D01", where=where, hint="download it again")
    content = read_pickle(data, where=where)
    if "fine_labels" in content:
        raise DataError(
            "holds fine_labels: looks like CIFAR-100",
            code="D16",
            where=where,
            expected="a CIFAR-10 batch",
        )
    pixels, labels = content.get("data"), content.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise DataError(
            "holds no array of images",
            code="D14",
            where=where,
            expected=f"data of shape (N, {PIXELS})",
        )
    if not isinstance(labels, list) or len(labels) != len(pixels):
        held = len(labels) if isinstance(labels, list) else 0
        raise DataError(
            f"counts differ: {len(pixels):,} images, {held:,} labels", code="D09", where=where
        )
    if not len(pixels):
        raise DataError("empty split: no images", code="D11", where=where)
    for index, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < 10:
            shown = label if isinstance(label, int) else type(label).__name__
            raise DataError(
                f"label {shown} at index {index}, expected 0..9", code="D10", where=where
            )
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.uint8)
