"""MNIST: 70,000 handwritten digits of 28x28.

The first 50,000 images of the training file are for training, its last 10,000 for validation, the
test file is for testing: the sizes that
P. Shedligeri, "Programming Assignment 2: Convolutional Neural Networks", IIT Madras, 2017 asks for.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"; license
CC BY-SA 3.0. Hashes are those of the uncompressed files, so re-compressed copies are known too;
the hashes of the original ``.gz`` files guard downloads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convscope.data._download import absent, data_folder, fetch_all, find_file
from convscope.data._registry import DATASETS, Download, Found
from convscope.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.data._dataset import Dataset
    from convscope.data._idx import IdxFile

PLACES = ("mnist", ".", "MNIST/raw", "mnist/MNIST/raw")
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://yann.lecun.com/exdb/mnist/",
)
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
GZIP_SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
GZIP_BYTES = {
    "train-images-idx3-ubyte": 9_912_422,
    "train-labels-idx1-ubyte": 28_881,
    "t10k-images-idx3-ubyte": 1_648_877,
    "t10k-labels-idx1-ubyte": 4_542,
}
DOWNLOADS = tuple(
    Download(
        file=f"mnist/{stem}.gz",
        urls=tuple(f"{mirror}{stem}.gz" for mirror in MIRRORS),
        sha256=GZIP_SHA256[stem],
        size=GZIP_BYTES[stem],
    )
    for stem in CONTENT_SHA256
)


def find(data_dir: str | Path | None = None) -> Found:
    """Which of the four files are on this machine."""
    paths = find_files(data_dir)
    return Found(
        files=tuple(path for path in paths.values() if path is not None),
        missing=tuple(stem for stem, path in paths.items() if path is None),
    )


def find_files(data_dir: str | Path | None = None) -> dict[str, Path | None]:
    """Where the four files lie, None for those that are not there.

    Looks in ``mnist/``, the folder itself and torchvision's ``MNIST/raw/``, for plain and ``.gz``
    files.
    """
    folder = data_folder(data_dir)
    return {stem: find_file(folder, PLACES, spellings(stem)) for stem in CONTENT_SHA256}


def spellings(stem: str) -> tuple[str, ...]:
    """The names under which a file is served and unpacked."""
    dotted = stem.replace("-idx", ".idx")
    return stem, f"{stem}.gz", dotted, f"{dotted}.gz"


FILE_NAMES = frozenset(name for stem in CONTENT_SHA256 for name in spellings(stem))


def open_mnist(
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
) -> Dataset:
    """MNIST from the data folder, downloaded first if it is not there.

    Args:
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: Use files that are not the original ones (or another data set in the same
            format); their hashes are recorded.

    Returns:
        50,000 / 10,000 / 10,000 images of 1x28x28.

    Raises:
        DataError: A file is damaged (``D01`` to ``D13``) or modified (``D24``).
        ResourceError: Not on this machine, and offline or no mirror answers.
    """
    from convscope.data._content_warnings import content_warnings
    from convscope.data._dataset import Dataset
    from convscope.data._idx import read_idx
    from convscope.data._split import Split

    paths = find_files(data_dir)
    if None in paths.values():
        lost = [stem for stem, path in paths.items() if path is None]
        if offline:
            raise absent("mnist", lost, data_dir=data_dir)
        fetch_all(DATASETS.spec("mnist").needed(lost), data_folder(data_dir))
        paths = find_files(data_dir)
    files = {
        stem: read_idx(path, dimensions=3 if "images" in stem else 1)
        for stem, path in paths.items()
        if path is not None
    }
    training = _images_and_labels(files, paths, "train")
    test = _images_and_labels(files, paths, "t10k")
    if training[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"training images are {tuple(training[0].shape[2:])}, "
            f"test images {tuple(test[0].shape[2:])}",
            code="D09",
            where=paths["t10k-images-idx3-ubyte"] or "",
        )
    changed = [stem for stem in files if files[stem].sha256 != CONTENT_SHA256[stem]]
    if changed and not accept_modified:
        stem = changed[0]
        raise DataError(
            f"checksum differs from the original's: sha256 of the content is {files[stem].sha256}",
            code="D24",
            where=paths[stem] or "",
            expected=CONTENT_SHA256[stem],
            hint="download it again, or use --accept-modified-data to go on with this file",
        )
    first = len(training[0]) - max(1, len(training[0]) // 6)
    splits = (
        Split(name="train", images=training[0][:first], labels=training[1][:first]),
        Split(name="validation", images=training[0][first:], labels=training[1][first:]),
        Split(name="test", images=test[0], labels=test[1]),
    )
    notes = tuple(
        f"D24: {stem} is not the original file (sha256 of the content: {files[stem].sha256})"
        for stem in changed
    )
    return Dataset(
        name="mnist",
        class_names=tuple("0123456789"),
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        source=f"MNIST{' (modified files)' if changed else ''}: the first {first:,} images of the "
        f"training file for training, its last {len(training[0]) - first:,} for validation, the "
        f"test file's {len(test[0]):,} for testing",
        hashes={stem: file.sha256 for stem, file in files.items()},
        warnings=notes + content_warnings(*splits),
    )


def _images_and_labels(
    files: dict[str, IdxFile], paths: dict[str, Path | None], part: str
) -> tuple[Tensor, Tensor]:
    import numpy as np
    import torch

    from convscope.data._split import check_labels

    images = files[f"{part}-images-idx3-ubyte"].values
    labels = files[f"{part}-labels-idx1-ubyte"].values
    where = paths[f"{part}-labels-idx1-ubyte"] or ""
    if len(images) != len(labels):
        raise DataError(
            f"counts differ: {len(images):,} images, {len(labels):,} labels",
            code="D09",
            where=where,
            hint="the image and label files must come from the same set",
        )
    check_labels(labels, where=where)
    if part == "train" and len(images) < 2:
        raise DataError("one image cannot be split into train and validation", code="D11",
                        where=where)  # fmt: skip
    return torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64))
