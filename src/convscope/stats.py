"""Statistics: intervals of shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["wilson", "wilson_of_mean"]

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
    low, high = _score_interval(successes / count, count)
    return 0.0 if successes == 0 else low, 1.0 if successes == count else high


def wilson_of_mean(successes: Sequence[int], counts: Sequence[int]) -> tuple[float, float]:
    """95 % interval of a mean of shares of independent samples, such as mean-per-class accuracy.

    The score interval of `wilson` for the mean, at the size of one sample whose share would be as
    uncertain: ``K^2 / (1 / n_1 + ... + 1 / n_K)``. It stays inside [0, 1], also where all are hits.

    Args:
        successes: How many of each of `counts`.
        counts: Sizes of the K samples, each at least 1; without one nothing is known: (0, 1).

    Example:
        >>> wilson_of_mean([99], [100]) == wilson(99, 100)
        True
        >>> [round(bound, 4) for bound in wilson_of_mean([50, 10], [50, 10])]
        [0.8967, 1.0]

    Source:
        Effective sample sizes: E. L. Korn, B. I. Graubard, "Confidence intervals for proportions
        with small expected number of positive counts estimated from survey data", Survey
        Methodology 24, 1998. Here the sizes alone decide, not the shares, which may all be 1.
    """
    if not counts:
        return 0.0, 1.0
    shares = [hits / count for hits, count in zip(successes, counts, strict=True)]
    size = len(counts) ** 2 / sum(1 / count for count in counts)
    low, high = _score_interval(sum(shares) / len(shares), size)
    return 0.0 if not any(successes) else low, 1.0 if min(shares) == 1 else high


def _score_interval(share: float, count: float) -> tuple[float, float]:
    square = Z95**2
    center = (share + square / (2 * count)) / (1 + square / count)
    half = (
        Z95
        / (1 + square / count)
        * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    )
    # Rounding must push neither the bounds over 0 and 1 nor the share itself out.
    return max(0.0, min(center - half, share)), min(1.0, max(center + half, share))
