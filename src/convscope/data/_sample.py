"""sample_rows: the one rule by which a part of a data set is chosen, whoever chooses.

Data sets are often sorted by class, so the first images are all of one. Every command and study
that looks at some of the images takes its rows from here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.errors import UsageError
from convscope.types import Labels

MOST_SEED = 2**63


def sample_rows(labels: Labels, count: int, *, seed: int = 0, balanced: bool = False) -> Tensor:
    """Rows of a stratified random sample: each class in proportion, random within the class.

    The sample is a function of its arguments alone: no generator, the same on every machine and
    version. Its order is part of it: the first k rows of a sample are the sample of size k, and
    classes take turns, so a part of a sample is a sample again.

    Args:
        labels: (N,) class numbers.
        count: How many rows; all N if there are fewer.
        seed: Another seed, another sample.
        balanced: The same number of every class instead of a number in proportion: for pictures
            to look at, never for a share of a whole.

    Returns:
        (min(count, N),) different rows. Of n images of a class among N, about ``count * n / N`` are
        in it, to the next whole number; a class with less than half an image to its name is left
        out.

    Raises:
        UsageError: U05, count below 1; U12, a seed outside 0 to 2^63 - 1.

    Example:
        Sorted by class, three times as many zeros as ones:

        >>> labels = torch.tensor([0] * 30 + [1] * 10)
        >>> labels[sample_rows(labels, 8)].bincount().tolist()
        [6, 2]

    Source:
        Seats in proportion: A. Sainte-Lague, 1910 (the r-th image of a class of n ranks at
        ``(2 r + 1) / 2 n``). Order within a class: splitmix64 of the seed and the row (G. Steele,
        D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    if count < 1:
        raise UsageError(f"{count} images", code="U05", expected="at least 1")
    if not 0 <= seed < MOST_SEED:
        raise UsageError(f"seed {seed}", code="U12", expected="0 to 2^63 - 1")
    classes: NDArray[np.int64] = labels.detach().cpu().numpy().astype(np.int64)
    total = len(classes)
    keys = _mixed(np.arange(total, dtype=np.uint64) + _mixed(np.array([seed], dtype=np.uint64)))
    by_class = np.lexsort((keys, classes))
    _, starts, sizes = np.unique(classes[by_class], return_index=True, return_counts=True)
    place = np.arange(total) - np.repeat(starts, sizes)
    rank = np.empty(total)
    rank[by_class] = place if balanced else (2 * place + 1) / (2 * np.repeat(sizes, sizes))
    order = np.lexsort((keys, rank))
    return torch.from_numpy(order[: min(count, total)].astype(np.int64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64: each number to another that looks random; arithmetic is modulo 2^64."""
    z = (values + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
