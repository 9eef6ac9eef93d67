"""Class numbers read from files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convscope.errors import DataError


def check_labels(labels: NDArray[Any], *, where: object, classes: int = 10) -> None:
    """Refuse the first label that is not a class number.

    Raises:
        DataError: ``D10``, with the value and its index.

    Example:
        >>> check_labels(np.array([0, 9, 3]), where="labels")
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"label {labels[wrong[0]]} at index {wrong[0]}, expected 0..{classes - 1}",
            code="D10",
            where=where,
        )
