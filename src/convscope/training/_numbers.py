"""What happens when a number stops being a number: no update, and a report to find out why."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.errors import NumericalError
from convscope.training._checkpoints import write_atomically
from convscope.training._settings import TrainSettings
from convscope.training._state import State

NAME = "nan-report.json"


class NotFinite(Exception):
    """Loss or gradient of a step is NaN or infinite. Raised before the update.

    Args:
        state: The run, unchanged since its last good step but for the gradients.
        loss: Mean loss of the batch.
        rate: Learning rate of the update that was not made.
        epoch: Epoch, from 0.
        position: Batch within the epoch, from 0.
        rows: The images of the batch.
    """

    def __init__(
        self, state: State, loss: float, rate: float, epoch: int, position: int, rows: Tensor
    ) -> None:
        super().__init__(f"loss {loss} at step {state.step}")
        self.loss = loss
        bad = {
            name: int((~parameter.grad.isfinite()).sum())
            for name, parameter in state.module.named_parameters()
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        }
        self.report: dict[str, Any] = {
            "step": state.step,
            "epoch": epoch,
            "batch": position,
            "loss": loss if math.isfinite(loss) else str(loss),
            "learning_rate": rate,
            "non_finite_gradients": bad,
            "rows": rows.tolist(),
        }

    def error(self, folder: Path, settings: TrainSettings) -> NumericalError:
        """Write ``nan-report.json`` and give the error to leave with."""
        report = {"seed": settings.seed, **self.report}
        with suppress(OSError):  # the error matters more than its report
            write_atomically(folder / NAME, json.dumps(report, indent=2).encode())
        where = "gradient" if math.isfinite(self.loss) else "loss"
        return NumericalError(
            f"the {where} is not finite at step {self.report['step']}; no update was made",
            code="T02" if where == "gradient" else "T01",
            where=folder / NAME,
            expected="finite numbers; the last checkpoint is good",
            hint="lower learning_rate, set clip = 1, or precision = 'fp32'",
        )
