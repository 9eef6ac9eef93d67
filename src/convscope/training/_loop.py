"""The training step, its precision, and non-finite losses and gradients."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import NumericalError
from convscope.training._batches import Batches, Normalize, Validation, count_wrong, number
from convscope.training._checkpoints import RunningMetrics, State, write_atomically
from convscope.training._events import Event, Measured, Stepped, Warned
from convscope.training._faults import failpoint
from convscope.training._mixing import Mixed, Mixing
from convscope.training._objective import Objective
from convscope.training._optim import lr_scale
from convscope.training._process import World
from convscope.training._settings import TrainSettings

NAME = "nan-report.json"


class NotFinite(Exception):
    """Loss or gradient of a step is NaN or infinite. Raised before the update.

    Args:
        state: The run, unchanged since its last good step but for the gradients.
        loss: Mean loss of the batch.
        lr: Learning rate of the update that was not made.
        epoch: Epoch, from 0.
        batch: Batch within the epoch, from 0.
        rows: The images of the batch.
    """

    def __init__(
        self, state: State, loss: float, lr: float, epoch: int, batch: int, rows: Tensor
    ) -> None:
        super().__init__(f"loss {loss} at step {state.step}")
        self.loss = loss
        bad = {
            name: int((~parameter.grad.isfinite()).sum())
            for name, parameter in state.model.named_parameters()
            if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
        }
        self.report: dict[str, Any] = {
            "step": state.step,
            "epoch": epoch,
            "batch": batch,
            "loss": loss if math.isfinite(loss) else str(loss),
            "learning_rate": lr,
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
            hint="lower learning_rate, set max_grad_norm = 1, or precision = 'fp32'",
        )


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
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bfloat16() else "fp32"


def _cpu_multiplies_bfloat16() -> bool:
    # Private names of torch.cpu: absent in other versions, in which case float32 is always right.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a training step's forward pass."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def _nan(loss: Tensor) -> Tensor:
    return loss * math.nan


def _infinite(gradients: list[Tensor]) -> list[Tensor]:
    gradients[-1].fill_(math.inf)
    return gradients


@dataclass
class Engine:
    """One run, ready to go.

    Attributes:
        settings: What to compute.
        batches: The training images in order.
        normalize: Pixels to network input.
        validation: The validation images.
        precision: ``"fp32"`` or ``"bf16"``.
        device: Where the network is.
        world: Rank and world size.
        stop: Whether a stop was requested; asked once per step.
    """

    settings: TrainSettings
    batches: Batches
    normalize: Normalize
    validation: Validation
    precision: str
    device: torch.device
    world: World
    stop: Callable[[], bool]

    def __post_init__(self) -> None:
        self.mixing = Mixing(self.batches, self.normalize)
        self._compiled: nn.Module | None = None

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
        per_epoch = self.batches.steps_per_epoch
        interval = max(1, math.ceil(per_epoch / self.settings.evals_per_epoch))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while state.step < self.steps:
                loss, lr, stopping = self._training_step(state)
                epoch, batches = state.step / per_epoch, (state.step - 1) % per_epoch + 1
                if batches == per_epoch or batches % interval == 0:
                    yield self._validate(state, epoch, lr, everything=batches == per_epoch)
                if warning := state.objective.after_step(state.model, step=state.step):
                    yield Warned(text=warning)
                yield Stepped(
                    step=state.step,
                    epoch=epoch,
                    loss=loss,
                    learning_rate=lr,
                    epoch_ended=batches == per_epoch,
                    stopping=stopping,
                )
                if stopping:
                    return

    def _training_step(self, state: State) -> tuple[float, float, bool]:
        """One update at the learning rate of the schedule; returns what `update` does."""
        scale = lr_scale(
            state.step, self.steps, schedule=self.settings.schedule, warm_up=self.settings.warm_up
        )
        return self.update(state, scale)

    def update(self, state: State, scale: float) -> tuple[float, float, bool]:
        """Load, forward, loss, backward, step.

        Args:
            state: Changed in place.
            scale: Of the learning rates.

        Returns:
            Mean loss of the batch, learning rate of the update, whether a stop was requested.
        """
        model, objective = state.model, state.objective
        epoch, batch = divmod(state.step, self.batches.steps_per_epoch)
        lr = state.optimizers[0].max_lr * scale
        # Dropout draws from torch's own generators: they are seeded for this step. Processes have
        # other images, and draw other numbers; process 0 draws those of a run of one process.
        place = (epoch, batch, self.world.rank) if self.world.rank else (epoch, batch)
        _seed(number(self.settings.seed, "dropout", *place), self.device)

        mixed = self.mixing(epoch, batch)
        labels = mixed.labels
        over = self._weight_per_process(objective, epoch, batch)
        if self.settings.microbatches > 1:
            gradients, loss, wrong = self._accumulated(model, objective, mixed, over)
        else:
            with autocast(self.precision, self.device):
                images = objective.perturb(model, mixed.images, labels, step=state.step)
                logits = self._forward(model, images)
                loss = self._mixed_loss(objective, logits, mixed, over)
            gradients = self._backward(model, loss)
            wrong = _wrong(objective.counted(logits.detach(), labels), mixed)

        error = wrong / len(labels)
        mean_loss, mean_error, stopping = self._all_reduce(model, gradients, loss, error)
        norm = torch.nn.utils.get_total_norm(gradients)
        if not (math.isfinite(mean_loss) and math.isfinite(norm.item())):
            rows = self.batches.rows(epoch, batch)
            raise NotFinite(state, mean_loss, lr, epoch, batch, rows)
        if max_norm := self.settings.max_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(list(model.parameters()), max_norm, norm)

        self._step(state, scale)
        state.metrics.update(mean_loss, mean_error)
        return mean_loss, lr, stopping

    def _weight_per_process(self, objective: Objective, epoch: int, batch: int) -> float | None:
        """What losses are divided by, if not by the weight of the images that are at hand.

        The gradients of processes are averaged, and those of parts added up.
        """
        divided = self.settings.microbatches > 1
        weighted = objective.class_weights is not None and self.world.size > 1
        if not (divided or weighted):
            return None
        labels = self.batches.split.labels[self.batches.rows(epoch, batch)].to(self.device)
        return objective.weight(labels) / self.world.size

    def _accumulated(
        self, model: nn.Module, objective: Objective, mixed: Mixed, over: float | None
    ) -> tuple[list[Tensor], Tensor, float]:
        """Gradients, loss and mistakes of a batch that goes through the network in parts."""
        total, wrong = torch.zeros((), device=self.device), 0.0
        gradients: list[Tensor] = []
        parts = torch.chunk(torch.arange(len(mixed.labels)), self.settings.microbatches)
        for part in parts:
            some = Mixed(mixed.images[part], mixed.labels[part], mixed.others[part], mixed.share)
            with autocast(self.precision, self.device):
                logits = self._forward(model, some.images)
                loss = self._mixed_loss(objective, logits, some, over)
            gradients = self._backward(model, loss, fresh=part is parts[0])
            total = total + loss.detach()
            wrong += _wrong(logits.detach(), some)
        return gradients, total, wrong

    def _mixed_loss(
        self, objective: Objective, logits: Tensor, mixed: Mixed, over: float | None = None
    ) -> Tensor:
        """The loss of images of two classes is that of each, in their shares."""
        loss = self._loss(objective, logits, mixed.labels, over)
        if mixed.share == 1:
            return loss
        other = self._loss(objective, logits, mixed.others, over)
        return mixed.share * loss + (1 - mixed.share) * other

    @failpoint("step.forward")
    def _forward(self, model: nn.Module, images: Tensor) -> Tensor:
        if self.settings.compile and self._compiled is None:
            self._compiled = torch.compile(model)  # type: ignore[assignment]
        return (self._compiled or model)(self.normalize(images)).float()

    @failpoint("step.loss", spoil=_nan)
    def _loss(
        self, objective: Objective, logits: Tensor, labels: Tensor, over: float | None
    ) -> Tensor:
        return objective.loss(logits, labels, over=over)

    @failpoint("step.grad", spoil=_infinite)
    def _backward(self, model: nn.Module, loss: Tensor, *, fresh: bool = True) -> list[Tensor]:
        if fresh:
            model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in model.parameters() if p.grad is not None]

    @failpoint("step.update")
    def _step(self, state: State, scale: float) -> None:
        for optimizer in state.optimizers:
            optimizer.step(scale)
        state.step += 1
        if state.ema:
            state.ema.after_step(state.model, state.step)

    def _all_reduce(
        self, model: nn.Module, gradients: list[Tensor], loss: Tensor, error: float
    ) -> tuple[float, float, bool]:
        """Average over the processes: gradients, batch-norm statistics, loss, error, stop.

        Every process sees other images, so batch-norm statistics differ, too.
        """
        # The three scalars are sent in the message of the gradients: a message of their own would
        # cost another round trip per step, and all processes must agree to stop in the same step.
        scalars = torch.tensor(
            [loss.detach().item(), error, float(self.stop())], device=self.device
        )
        statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.world.all_reduce_mean([*gradients, *statistics, scalars])
        mean_loss, mean_error, stop_requests = scalars.tolist()
        return mean_loss, mean_error, stop_requests > 0

    def _validate(self, state: State, epoch: float, lr: float, *, everything: bool) -> Measured:
        """A row of ``metrics.csv``; the running metrics start again from zero."""
        training, state.metrics = state.metrics, RunningMetrics()
        loss, error, images = self.validation.measure(state.eval_model, everything=everything)
        return Measured(
            step=state.step,
            epoch=epoch,
            learning_rate=lr,
            train_loss=training.loss,
            train_error=training.error,
            train_accuracy=1 - training.error,
            validation_loss=loss,
            validation_error=error,
            validation_accuracy=1 - error,
            validation_images=images,
        )


def _wrong(logits: Tensor, mixed: Mixed) -> float:
    """Number of misclassified images; one of two classes is wrong about each by its share."""
    wrong = count_wrong(logits, mixed.labels)
    if mixed.share == 1:
        return wrong
    return mixed.share * wrong + (1 - mixed.share) * count_wrong(logits, mixed.others)


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generator of `device` alone: `torch.manual_seed` would change others, too."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
