"""Early stopping: what the rows of ``metrics.csv`` say, so that no state of its own is needed."""

from __future__ import annotations

from collections.abc import Sequence

from convscope.training._events import Measured


def epoch_rows(points: Sequence[Measured]) -> list[Measured]:
    """The rows at the ends of epochs, which use all validation images."""
    return [point for point in points if point.epoch == round(point.epoch)]


def best_row(points: Sequence[Measured]) -> Measured | None:
    """The end of an epoch with the lowest validation loss, the first of equals.

    Losses are compared with the seven digits that ``metrics.csv`` has, so that a resumed run, which
    knows no more of them, decides alike. A loss that is not finite is never the best. Rows inside
    an epoch may be measured on a part of the validation images: they are not compared.

    Args:
        points: Rows of ``metrics.csv``.

    Returns:
        The row; None if no epoch ended with a finite loss.

    Example:
        >>> best_row([]) is None
        True
    """
    known = [point for point in epoch_rows(points) if _loss(point) < float("inf")]
    return min(known, key=lambda point: (_loss(point), point.step), default=None)


def is_exhausted(points: Sequence[Measured], patience: int) -> bool:
    """Whether the validation loss has not fallen for `patience` epochs; 0: never."""
    rows = epoch_rows(points)
    if not patience or not rows:
        return False
    best = best_row(points)
    since = rows[-1].epoch - (best.epoch if best is not None else 0.0)
    return since >= patience


def exported_row(points: Sequence[Measured], patience: int) -> Measured | None:
    """The row of what the run exports: the last one; with early stopping the best one."""
    best = best_row(points) if patience else None
    return best or (points[-1] if points else None)


def _loss(point: Measured) -> float:
    return float(f"{point.validation_loss:.7g}")
