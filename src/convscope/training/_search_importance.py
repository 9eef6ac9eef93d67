"""Which of the searched settings mattered: a random forest fitted to the finished trials."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from convscope._readable import readable
from convscope.training._search_trials import SearchResult

FEWEST = 8
"""Trials below which a forest says nothing."""

TREES = 200


@readable
@dataclass(frozen=True, kw_only=True)
class Importance:
    """How much each searched setting explains of what the trials reached.

    Attributes:
        shares: By setting, from 0 to 1, with a sum of 1; empty if there are too few trials.
        explained: Share of the variance that the forest explains in trials that it was not fitted
            to (out of bag). At 0 and below, `shares` mean nothing. NaN if there are too few trials.
        trials: To how many trials it was fitted.
    """

    shares: dict[str, float]
    explained: float
    trials: int


def importance(result: SearchResult) -> Importance:
    """Importance of the searched settings, by a random forest of 200 trees.

    It is fitted to the trials that were trained to the end. A setting's share is the part of the
    decrease in variance that splits on it bring about. Ranges are taken as shares of their
    (logarithmic) length, a choice as one column per value.

    Args:
        result: From `convscope.training.search`.

    Returns:
        Equal results give equal numbers.

    Source: F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
    Importance" (ICML 2014) fits the same kind of forest, and decomposes its variance.
    """
    whole = [t for t in result.trials if t.state == "complete" and isfinite(t.value)]
    values = np.array([trial.value for trial in whole])
    if len(whole) < FEWEST or len(set(values.tolist())) == 1:
        return Importance(shares={}, explained=nan, trials=len(whole))
    from sklearn.ensemble import RandomForestRegressor

    columns, owners = [], []
    for dimension in result.space:
        taken = [trial.parameters[dimension.name] for trial in whole]
        if dimension.choices:
            for choice in dimension.choices:
                columns.append([float(value == choice) for value in taken])
                owners.append(dimension.name)
        else:
            columns.append([dimension.place(value) for value in taken])
            owners.append(dimension.name)
    forest = RandomForestRegressor(
        TREES, random_state=0, oob_score=True, bootstrap=True, min_samples_leaf=2
    )
    forest.fit(np.array(columns).T, values)
    shares = {dimension.name: 0.0 for dimension in result.space}
    for owner, share in zip(owners, forest.feature_importances_, strict=True):
        shares[owner] += float(share)
    return Importance(shares=shares, explained=float(forest.oob_score_), trials=len(whole))
