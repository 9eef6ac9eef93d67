"""Whether a run learned its training images by heart: one rule for audits and studies."""

from __future__ import annotations

from collections.abc import Sequence

from convscope.training import Measured, best_row

RISEN = 1.25
"""A last validation loss of this many times the lowest one is an alert."""


def ends(points: Sequence[Measured]) -> tuple[Measured, Measured]:
    """The last point and that of the lowest validation loss, both measured on all images.

    Args:
        points: Rows of ``metrics.csv``, one at least. Those inside an epoch may be measured on a
            part of the validation images, on which the loss is another.

    Returns:
        Both; the very last row twice if no epoch ended with a finite loss.
    """
    best = best_row(points)
    if best is None:
        return points[-1], points[-1]
    like = [point for point in points if point.validation_images == best.validation_images]
    return like[-1], best


def has_risen(last: Measured, best: Measured) -> bool:
    """Whether the validation loss is clearly above its lowest value at the end."""
    return last.validation_loss > max(RISEN * best.validation_loss, best.validation_loss + 0.01)


def overfitting_words(points: Sequence[Measured]) -> str:
    """A sentence: where the validation loss is lowest, and what its end says.

    Args:
        points: Rows of ``metrics.csv``, one at least.
    """
    last, best = ends(points)
    if best.step == last.step:
        return (
            f"The validation loss is lowest at the end, {last.validation_loss:.3g} after "
            f"{last.step:,} iterations (training loss {last.train_loss:.3g}): it still falls."
        )
    above = 100 * (last.validation_loss / max(best.validation_loss, 1e-12) - 1)
    words = (
        f"The validation loss is lowest at iteration {best.step:,} of {last.step:,}, "
        f"{best.validation_loss:.3g}, and {above:.0f} % above that at the end (training loss "
        f"{last.train_loss:.3g})"
    )
    if has_risen(last, best):
        return f"{words}: the network has begun to learn its training images by heart."
    return f"{words}: too little to speak of learning by heart."
