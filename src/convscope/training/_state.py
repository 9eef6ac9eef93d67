"""What a run is between two steps: everything a checkpoint must hold, and nothing else."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from convscope.errors import CheckpointError
from convscope.training._average import Average
from convscope.training._batches import CPU
from convscope.training._checkpoints import Snapshot
from convscope.training._optimizers import build_rules, memory_of, remember
from convscope.training._rules import Rule
from convscope.training._settings import TrainSettings


@dataclass
class Tally:
    """Training loss and errors since the last row of ``metrics.csv``.

    Args:
        loss: Sum over batches of the mean loss.
        wrong: Sum over batches of the share read wrongly.
        batches: How many batches.
    """

    loss: float = 0.0
    wrong: float = 0.0
    batches: int = 0


@dataclass
class State:
    """A network in training.

    Args:
        module: The network.
        rules: Who moves which of its parameters.
        average: The moving average, if the run keeps one.
        step: Updates done.
        tally: Sums for the next row of ``metrics.csv``.
        guard: The step until which FGSM training uses PGD, because it had overfitted.
    """

    module: nn.Module
    rules: list[Rule]
    average: Average | None
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    guard: int = 0

    @classmethod
    def fresh(
        cls, module: nn.Module, settings: TrainSettings, device: torch.device = CPU
    ) -> "State":
        """The state before the first step."""
        module = module.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        average = Average(module, decay=settings.ema) if settings.ema else None
        return cls(module, build_rules(module, settings), average)

    @property
    def delivered(self) -> nn.Module:
        """The network that the run would hand over now: the average where there is one."""
        return self.average.module if self.average else self.module

    def capture(self, metrics: str = "") -> Snapshot:
        """Everything needed to go on from here."""
        tensors = {
            "model": _detached(self.module.state_dict()),
            "optimizer": memory_of(self.rules),
        }
        numbers = {
            "tally": [self.tally.loss, self.tally.wrong, self.tally.batches],
            "guard": self.guard,
        }
        if self.average:
            tensors["average"] = _detached(self.average.module.state_dict())
            numbers["average_updates"] = self.average.updates
        return Snapshot(step=self.step, tensors=tensors, numbers=numbers, metrics=metrics)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from `snapshot`.

        Raises:
            CheckpointError: It belongs to another network or other settings.
        """
        try:
            self.module.load_state_dict(snapshot.tensors["model"])
            remember(self.rules, snapshot.tensors["optimizer"])
            if self.average:
                self.average.module.load_state_dict(snapshot.tensors["average"])
                self.average.updates = int(snapshot.numbers["average_updates"])
            loss, wrong, batches = snapshot.numbers["tally"]
            self.guard = int(snapshot.numbers["guard"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint of step {snapshot.step} does not fit: {error}",
                code="C10",
                hint="was the network changed since? train into another folder",
            ) from None
        self.tally = Tally(float(loss), float(wrong), int(batches))
        self.step = snapshot.step


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in tensors.items()}
