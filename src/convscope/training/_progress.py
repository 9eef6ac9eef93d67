"""A consumer of events that says in a line per epoch how a run goes."""

import sys

from convscope.training._events import Event, Measured, Saved, Started, Stepped, Warned


def print_progress(event: Event) -> None:
    """Print what a run tells, a line per epoch, on the standard error stream.

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
            return (
                f"epoch {event.epoch:.3g}, step {event.step:,}: training loss "
                f"{event.train_loss:.4f}, validation accuracy {event.validation_accuracy:.2%}"
            )
        case Warned():
            return f"warning: {event.text}"
        case Stepped() | Saved():
            return ""


def somebody_watches() -> bool:
    """Whether a person sits at a Python prompt or in a notebook; scripts stay silent."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
