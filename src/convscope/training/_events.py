"""Events of a training run, and their display."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run begins.

    Attributes:
        steps: Updates of the whole run.
        steps_per_epoch: Updates of an epoch.
        step: Updates already done: more than 0 when the run is resumed.
        precision: ``"fp32"`` or ``"bf16"``.
    """

    steps: int
    steps_per_epoch: int
    step: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """One update is done.

    Attributes:
        step: Updates done so far, from 1.
        epoch: Epochs done so far, with a fraction.
        loss: Mean loss of this batch.
        learning_rate: The rate of this update.
        epoch_ended: Whether this was the last update of an epoch.
        stopping: Whether a stop was requested; the run saves and ends after this event.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    epoch_ended: bool
    stopping: bool = False


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One row of ``metrics.csv``.

    Attributes:
        step: Updates done so far.
        epoch: Epochs done so far, with a fraction.
        learning_rate: The rate of the last update.
        train_loss: Mean training loss since the row before (as optimized: augmented, smoothed).
        train_error: Share of those images that were misclassified.
        train_accuracy: 1 - train_error.
        validation_loss: Mean cross-entropy on validation images, by the parameters that the run
            would export now (the moving average where there is one).
        validation_error: Share of misclassified images.
        validation_accuracy: 1 - validation_error.
        validation_images: How many validation images were used.
    """

    step: int
    epoch: float
    learning_rate: float
    train_loss: float
    train_error: float
    train_accuracy: float
    validation_loss: float
    validation_error: float
    validation_accuracy: float
    validation_images: int


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint is on disk.

    Attributes:
        step: Updates it holds.
        seconds: How long saving took.
    """

    step: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that the reader should know and that does not stop the run.

    Attributes:
        text: One sentence.
    """

    text: str


Event = Started | Stepped | Measured | Saved | Warned


def print_progress(event: Event) -> None:
    """Print the progress of a run, a line per epoch, on the standard error stream.

    Args:
        event: As `train` hands it to ``on_event``.

    Example:
        >>> from convscope.training import Measured, print_progress
        >>> print_progress(Measured(step=24, epoch=2.0, learning_rate=0.01, train_loss=0.2,
        ...     train_error=0.05, train_accuracy=0.95, validation_loss=0.1, validation_error=0.03,
        ...     validation_accuracy=0.97, validation_images=100))  # on the standard error stream
    """
    line = _line(event)
    if line:
        print(line, file=sys.stderr, flush=True)


def _line(event: Event) -> str:
    match event:
        case Started(step=0):
            return f"training: {event.steps:,} steps, {event.steps_per_epoch:,} per epoch"
        case Started():
            return f"resumed at step {event.step:,} of {event.steps:,}"
        case Measured():
            line = (
                f"epoch {event.epoch:.3g}, step {event.step:,}: training loss "
                f"{event.train_loss:.4f}"
            )
            if not event.validation_images:
                return line
            return f"{line}, validation accuracy {event.validation_accuracy:.2%}"
        case Warned():
            return f"warning: {event.text}"
        case Stepped() | Saved():
            return ""


def is_interactive() -> bool:
    """Whether a person sits at a Python prompt or in a notebook; scripts stay silent."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
