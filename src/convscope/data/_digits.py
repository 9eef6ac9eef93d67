"""digits: 1,797 real handwritten digits that come with scikit-learn, brought to 28x28.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits" (UCI, CC BY 4.0), the
8x8 images of `sklearn.datasets.load_digits`. They are up-sampled to 20x20 by cubic convolution
(R. Keys, 1981, a = -1/2) in whole numbers, so every machine gets the same bytes, and centered in
28x28 with a margin of four pixels, as MNIST's digits are.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from convscope.data._content_warnings import content_warnings
from convscope.data._dataset import Dataset
from convscope.data._split import Split
from convscope.data._stratified import TEST_SHARE, VALIDATION_SHARE, stratified_parts
from convscope.files import Kind, read_bytes

MARGIN = 4
INNER_SIDE = 20
SOURCE_SIDE = 8
HIGHEST = 16


def open_digits(*, seed: int = 0) -> Dataset:
    """The built-in data set: no download, no files.

    Args:
        seed: Another seed, another cut into train, validation and test.

    Returns:
        1,259 / 179 / 359 images of 1x28x28, every class in proportion.

    Example:
        >>> open_digits()
        Dataset('digits', 1,259 / 179 / 359 images of 1x28x28, 10 classes)
    """
    small, labels = _values()
    images = torch.from_numpy(upsample(small)[:, None])
    numbers = torch.from_numpy(labels)
    test, validation, train = stratified_parts(
        labels.tolist(),
        [str(row) for row in range(len(labels))],
        shares=(TEST_SHARE, VALIDATION_SHARE),
        seed=seed,
    )
    splits = [
        Split(name=name, images=images[rows], labels=numbers[rows])
        for name, rows in (("train", train), ("validation", validation), ("test", test))
    ]
    return Dataset(
        name="digits",
        class_names=tuple("0123456789"),
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        source="digits: 1,797 handwritten digits of scikit-learn (8x8, up-sampled and centered in "
        f"28x28), {len(train):,} for training, {len(validation)} for validation, {len(test)} for "
        "testing; "
        f"stratified split, seed {seed}",
        hashes={"digits": hashlib.sha256(images.numpy().tobytes()).hexdigest()},
        warnings=content_warnings(*splits),
    )


def upsample(small: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(N, 8, 8) numbers 0..16 to (N, 28, 28) bytes: cubic convolution without rounding errors.

    Args:
        small: Source pixels.

    Returns:
        Bytes; 16 becomes 255, the margin is 0.

    Example:
        >>> image = upsample(np.full((1, 8, 8), 16))[0]
        >>> image.shape, int(image[0, 0]), int(image[4, 4]), int(image.sum()) == 255 * 20 * 20
        ((28, 28), 0, 255, True)
    """
    weights, unit = _cubic_weights()
    exact = weights.astype(np.float64)  # every product and sum stays below 2^53
    wide = (exact @ small.astype(np.float64) @ exact.T).astype(np.int64)
    scaled = (2 * 255 * wide + HIGHEST * unit**2) // (2 * HIGHEST * unit**2)
    inner = np.clip(scaled, 0, 255).astype(np.uint8)
    return np.pad(inner, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))


@lru_cache(maxsize=1)
def _cubic_weights() -> tuple[NDArray[np.int64], int]:
    """(20, 8) whole-number weights, and what each row sums to.

    Output pixel i looks at source position (4 i - 3) / 10, so the kernel at distance t / 10 is a
    polynomial of whole numbers over 2 * 10^3.
    """
    step = 10
    unit = 2 * step**3
    weights = np.zeros((INNER_SIDE, SOURCE_SIDE), dtype=np.int64)
    for row in range(INNER_SIDE):
        place = 4 * row - 3
        base = place // step
        for source in range(base - 1, base + 3):
            t = abs(place - step * source)
            if t <= step:
                weight = 3 * t**3 - 5 * t**2 * step + 2 * step**3
            else:
                weight = -(t**3) + 5 * t**2 * step - 8 * t * step**2 + 4 * step**3
            weights[row, min(max(source, 0), SOURCE_SIDE - 1)] += weight
    return weights, unit


def _values() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(1797, 8, 8) pixels and (1797,) labels.

    Read from scikit-learn's own file without importing scikit-learn, which would take a second.
    """
    library = importlib.util.find_spec("sklearn")
    folder = Path(library.origin).parent if library and library.origin else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        text = gzip.decompress(read_bytes(file, Kind(what="the digits", largest=1 << 22))).decode(
            "ascii"
        )
        table = np.array([[float(v) for v in row] for row in csv.reader(io.StringIO(text))])
        rows = table.astype(np.int64)
        return rows[:, :-1].reshape(-1, SOURCE_SIDE, SOURCE_SIDE), rows[:, -1].copy()
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.int64), bunch.target.astype(np.int64)
