"""How large the learning rate is, as a pure function of the step."""


def learning_rate_factor(step: int, total: int, *, schedule: str, warm_up: float) -> float:
    """The share of the peak learning rate that step `step` (0, 1, ...) of `total` uses.

    ``"one-cycle"`` climbs in a straight line for the first `warm_up` share of the run and falls in
    a straight line to zero at its end, which is what makes runs of one or two epochs possible: the
    length must be known from the start. ``"constant"`` is always 1.

    Args:
        step: Which update, from 0.
        total: Updates of the whole run.
        schedule: ``"one-cycle"`` or ``"constant"``.
        warm_up: Share of the run spent climbing, in [0, 1).

    Example:
        >>> shape = {"schedule": "one-cycle", "warm_up": 0.25}
        >>> [round(learning_rate_factor(k, 8, **shape), 2) for k in range(8)]
        [0.25, 0.75, 0.92, 0.75, 0.58, 0.42, 0.25, 0.08]

    Source: L. N. Smith, "Super-convergence" (arXiv 1708.07120). The step is taken at its middle, so
    neither the first nor the last update is wasted on a rate of zero.
    """
    if schedule == "constant":
        return 1.0
    progress = (step + 0.5) / total
    if progress < warm_up:
        return progress / warm_up
    return (1 - progress) / (1 - warm_up)
