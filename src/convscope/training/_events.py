"""What a training run tells the world: small frozen records, in the order in which things happen.

The loop yields them; progress bars, logs and pages are consumers that the loop knows nothing of.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run begins.

    Args:
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

    Args:
        step: Updates done so far, from 1.
        epoch: Epochs done so far, with a fraction.
        loss: Mean loss of this batch.
        learning_rate: The rate of this update.
        epoch_ended: Whether this was the last update of an epoch.
        stopping: Whether somebody asked to stop; the run saves and ends after this event.
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

    Args:
        step: Updates done so far.
        epoch: Epochs done so far, with a fraction.
        learning_rate: The rate of the last update.
        train_loss: Mean training loss since the row before (as optimised: augmented, smoothed).
        train_error: Share of those images that were read wrongly.
        train_accuracy: 1 - train_error.
        validation_loss: Mean cross-entropy on validation images, by the weights that the run would
            deliver now (the moving average where there is one).
        validation_error: Share of those images read wrongly.
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

    Args:
        step: Updates it holds.
        seconds: How long saving took.
    """

    step: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something that the reader should know and that does not stop the run.

    Args:
        text: One sentence.
    """

    text: str


Event = Started | Stepped | Measured | Saved | Warned
