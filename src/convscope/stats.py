"""Statistics: intervals of shares."""

from __future__ import annotations

import math

__all__ = ["wilson"]

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % score interval of a share; it stays inside [0, 1], also at 0 or all successes.

    Args:
        successes: How many of `count`.
        count: Size of the sample; without one nothing is known: (0, 1).

    Example:
        >>> [round(bound, 4) for bound in wilson(99, 100)]
        [0.9455, 0.9982]
        >>> wilson(0, 0)
        (0.0, 1.0)

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22, 1927.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = successes / count, Z95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = (
        Z95
        / (1 + square / count)
        * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    )
    # Rounding must push neither the bounds over 0 and 1 nor the share itself out.
    low = 0.0 if successes == 0 else max(0.0, min(center - half, share))
    return low, 1.0 if successes == count else min(1.0, max(center + half, share))
