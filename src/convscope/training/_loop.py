"""The training step, its precision, and what happens when a number is no number."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convscope.errors import NumericalError, ResourceError
from convscope.training import _faults
from convscope.training._batches import Batches, Normalize, Validation, count_wrong, number
from convscope.training._checkpoints import State, Tally, write_atomically
from convscope.training._events import Event, Measured, Stepped, Warned
from convscope.training._objective import Adversary
from convscope.training._optim import learning_rate_factor
from convscope.training._process import World
from convscope.training._settings import TrainSettings

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


def resolve_device(wanted: str) -> torch.device:
    """``"auto"`` becomes the GPU where there is one; under ``torchrun`` each process has its own.

    Raises:
        ResourceError: ``"cuda"`` was asked for and there is none.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ResourceError(
            "there is no GPU that this torch can use", code="T11", hint="device = 'cpu'"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def resolve_precision(wanted: str, device: torch.device) -> str:
    """``"auto"`` becomes ``"bf16"`` where the processor has instructions for it, else ``"fp32"``.

    Example:
        >>> resolve_precision("fp32", torch.device("cpu"))
        'fp32'
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if _cpu_multiplies_bfloat16() else "fp32"


def _cpu_multiplies_bfloat16() -> bool:
    # Private names of torch.cpu: absent in other versions, in which case float32 is always right.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a training step's forward pass."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@dataclass
class Engine:
    """One run, ready to go.

    Args:
        settings: What to compute.
        batches: The training images in order.
        normalize: Pixels to network input.
        validation: The validation images.
        precision: ``"fp32"`` or ``"bf16"``.
        device: Where the network is.
        world: This process among how many.
        stop: Whether somebody asked to end; looked at once per step.
    """

    settings: TrainSettings
    batches: Batches
    normalize: Normalize
    validation: Validation
    precision: str
    device: torch.device
    world: World
    stop: Callable[[], bool]

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.settings.epochs * self.batches.steps_per_epoch

    def run(self, state: State) -> Iterator[Event]:
        """Train from where `state` is to the end, in place.

        Yields:
            `Measured` for every row of metrics, then `Stepped`, after each update. The state is
            whole whenever `Stepped` arrives: that is the moment to save it.

        Raises:
            NotFinite: Loss or gradient is NaN or infinite; the update was not made.
        """
        adversary = Adversary(self.settings, self.normalize, self.batches.steps_per_epoch)
        per_epoch = self.batches.steps_per_epoch
        interval = max(1, math.ceil(per_epoch / self.settings.points_per_epoch))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while state.step < self.steps:
                epoch, position = divmod(state.step, per_epoch)
                loss, rate, stopping = self._update(state, adversary, epoch, position)
                ended = position + 1 == per_epoch
                progress = state.step / per_epoch
                if ended or (position + 1) % interval == 0:
                    yield self._measure(state, progress, rate, everything=ended)
                if note := adversary.look(state, epoch, position):
                    yield Warned(text=note)
                yield Stepped(
                    step=state.step,
                    epoch=progress,
                    loss=loss,
                    learning_rate=rate,
                    epoch_ended=ended,
                    stopping=stopping,
                )
                if stopping:
                    return

    def _update(
        self, state: State, adversary: Adversary, epoch: int, position: int
    ) -> tuple[float, float, bool]:
        """One step: the mean loss, the learning rate, and whether to stop after it."""
        settings, module = self.settings, state.module
        # Dropout draws from torch's own generators: give them this step's numbers.
        _seed(number(settings.seed, "dropout", epoch, position), self.device)
        images, labels = self.batches.load(epoch, position)
        factor = learning_rate_factor(
            state.step, self.steps, schedule=settings.schedule, warm_up=settings.warm_up
        )
        rate = state.rules[0].peak * factor
        _faults.hit("step.forward")
        with arithmetic(self.precision, self.device):
            loss, logits = adversary.loss(state, images, labels, epoch, position, self.world)
        if _faults.hit("step.loss"):
            loss = loss * math.nan
        module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if _faults.hit("step.grad"):
            gradients[-1].fill_(math.inf)
        wrong = count_wrong(logits.detach(), labels) / len(labels)
        shared = torch.tensor([loss.detach().item(), wrong, float(self.stop())], device=self.device)
        self.world.average([*gradients, *_statistics(state), shared])
        norm = torch.nn.utils.get_total_norm(gradients)
        mean_loss, mean_wrong, wishes = shared.tolist()
        if not (math.isfinite(mean_loss) and math.isfinite(norm.item())):
            rows = self.batches.rows(epoch, position)
            raise NotFinite(state, mean_loss, rate, epoch, position, rows)
        if settings.clip:
            torch.nn.utils.clip_grads_with_norm_(list(module.parameters()), settings.clip, norm)
        _faults.hit("step.update")
        for rule in state.rules:
            rule.step(factor)
        state.step += 1
        if state.average:
            state.average.after_step(module, state.step)
        state.tally.loss += mean_loss
        state.tally.wrong += mean_wrong
        state.tally.batches += 1
        return mean_loss, rate, wishes > 0

    def _measure(self, state: State, progress: float, rate: float, *, everything: bool) -> Measured:
        """A row of metrics; the tally starts anew."""
        tally, state.tally = state.tally, Tally()
        loss, error, images = self.validation.measure(state.delivered, everything=everything)
        return Measured(
            step=state.step,
            epoch=progress,
            learning_rate=rate,
            train_loss=tally.loss / tally.batches,
            train_error=tally.wrong / tally.batches,
            train_accuracy=1 - tally.wrong / tally.batches,
            validation_loss=loss,
            validation_error=error,
            validation_accuracy=1 - error,
            validation_images=images,
        )


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generator of `device` alone: `torch.manual_seed` would change others, too."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _statistics(state: State) -> list[Tensor]:
    """Batch-norm statistics: every process sees other images, so they are averaged too."""
    return [buffer for buffer in state.module.buffers() if buffer.is_floating_point()]
