"""train(): settings and data in, a run folder and a classifier out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convscope._float32 import whole_float32
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.devices import resolve_device
from convscope.errors import ResourceError
from convscope.training._batches import (
    require_validation,
    training_data,
)
from convscope.training._checkpoints import (
    Checkpoints,
    Snapshot,
    disk_errors,
    write_atomically,
)
from convscope.training._environment import Environment, model_card
from convscope.training._events import (
    Event,
    Measured,
    Saved,
    Started,
    Stepped,
    Warned,
    is_interactive,
    print_progress,
)
from convscope.training._faults import failpoint
from convscope.training._flops import forward_flops, training_flops
from convscope.training._layers import Learner
from convscope.training._loop import NotFinite
from convscope.training._probe import probe_head
from convscope.training._process import StopSignal, World, catch_stop_signals, init_distributed
from convscope.training._run_folder import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    append,
    begun,
    check_run_folder,
    clean_up,
    history_text,
    locked,
    new_folder,
    parse_history,
    write_config,
)
from convscope.training._settings import TrainSettings
from convscope.training._setup import (
    engine_and_state,
    fill_whitening,
    network_and_settings,
    network_for,
)
from convscope.training._stopping import best_row, exported_row, is_exhausted

EXPLODED = 1e4
"""A batch with a loss of this many times log(classes), that of a uniform prediction, is warned of.

The factor has no source: it is meant to be out of reach of the spikes that a run recovers from.
"""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """The outcome of a run.

    Attributes:
        classifier: The trained classifier (moving average where the settings keep one).
        run_folder: Where it is kept.
        history: The rows of ``metrics.csv``.
        seconds: Wall time of this call.
        exported: The row of `history` that is about the classifier: the last one, or with early
            stopping the best one.
        flops: Floating-point operations of the whole run: 3 x forward x images shown; 0 if they
            could not be counted.
        tta_accuracy: Validation accuracy with the test-time augmentation of the settings; NaN
            without one, or without validation images.
    """

    classifier: Classifier
    run_folder: Path
    history: tuple[Measured, ...]
    seconds: float
    exported: Measured | None = None
    flops: int = 0
    tta_accuracy: float = math.nan


def train(
    what: TrainSettings | Classifier | nn.Module,
    dataset: Dataset,
    *,
    out: Path,
    settings: TrainSettings | None = None,
    spec: str = "",
    resume: bool = False,
    on_event: Callable[[Event], None] | None = None,
    callbacks: Sequence[Callable[[Event], None]] = (),
    progress: bool | None = None,
) -> TrainResult:
    """Train a classifier and keep everything about it in a run folder.

    A network of the registry is trained from the start; any other network is copied and trained
    further, with a new head if the classes of the data are others.

    Killed at any instant and called again with ``resume=True``, it ends with bitwise the same
    parameters, moving average and metrics as a run that was left alone, on the same machine with
    the same number of threads. Under ``torchrun`` the processes share every batch.

    The test split is never used; validation images are only evaluated on.

    Args:
        what: Settings, which name a network of the registry; or a network: a `Classifier`, whose
            size and preprocessing stay, or a bare module, which gets pixels in [0, 1].
        dataset: Training and validation images, of the size that the network takes.
        out: The run folder: new, empty, or with ``resume`` one that holds this run.
        settings: With a network: what to compute; by default the preset ``"finetune"``.
        spec: With a network: the MODEL that it was loaded as, which the run folder will name.
        resume: Go on where the run in `out` stopped; start if it has not begun.
        on_event: Called with every event, in order, on the process of rank 0: `Started`,
            `Stepped`, `Measured`, `Saved`, `Warned`.
        callbacks: Called with every event after `on_event`, such as `TensorBoardWriter`. One that
            raises an exception ends the run after the update, with its state saved: resumed, it
            goes on. Those with a method ``close`` are closed in the end.
        progress: Print a line per epoch; by default at a Python prompt and in a notebook, unless
            `on_event` is given.

    Returns:
        The classifier in evaluation mode, the folder, the curves, the seconds.

    Raises:
        UsageError: `out` holds something else (U13); a setting does not fit the data or the
            network (T19).
        ModelContractError: The network has no head that can be replaced, or cannot be trained
            (T20); the images have another shape than it takes (M14).
        RunBusyError: Another process trains in `out` (T10).
        ResourceError: The disk or the memory is full, or may not be used (T04, T11, T16); not all
            processes see `out` (T11).
        CheckpointError: The run in `out` has other settings (C16) or no usable checkpoint (C20).
        DataError: The data changed since the run began (D24), or cannot be trained on (D11).
        NumericalError: Loss or gradient is not finite (T01, T02); ``nan-report.json`` says where.
        Interrupted: SIGINT or SIGTERM came; the state is saved.

    Example:
        >>> from convscope.data import open_dataset
        >>> from convscope.training import recipe
        >>> import tempfile
        >>> settings = recipe("mnist-conv1", data="digits", epochs=1)
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> train(settings, open_dataset("digits"), out=folder).classifier.num_classes
        10
    """
    dataset.check_trainable()
    base, settings = network_and_settings(what, dataset, settings)
    dataset = training_data(dataset, settings)
    if settings.patience:
        require_validation(dataset, settings, "patience has nothing to wait for")
    began = time.monotonic()
    if progress is None:
        progress = on_event is None and is_interactive()
    listener = on_event or (lambda event: None)

    failures: list[Exception] = []

    def emit(event: Event) -> None:
        listener(event)
        if progress:
            print_progress(event)
        for callback in callbacks:
            if not failures:
                try:
                    callback(event)
                except Exception as error:
                    failures.append(error)

    with ExitStack() as stack:
        device = resolve_device(settings.device)
        world = stack.enter_context(init_distributed(device))
        if world.is_main_process:
            check_run_folder(out, resume=resume)
            stack.enter_context(new_folder(out))
            if note := stack.enter_context(locked(out)):
                emit(Warned(text=note))
            stack.enter_context(begun(out))
        else:
            listener, callbacks, progress = (lambda event: None), (), False
        for callback in callbacks:
            if hasattr(callback, "close"):
                stack.callback(callback.close)
        stack.enter_context(_memory_errors())
        stack.enter_context(whole_float32())
        stop_signal = stack.enter_context(catch_stop_signals())
        run = _Run(settings, dataset, out, device, world, stop_signal, emit, base, spec, failures)
        run.go()
        seconds = time.monotonic() - began
        if world.is_main_process:
            run.export(seconds)
        world.barrier()
    history = parse_history(history_text(run.points))
    return TrainResult(
        classifier=run.network.load(out),
        run_folder=out,
        history=history,
        seconds=seconds,
        exported=exported_row(history, settings.patience),
        flops=run.flops,
        tta_accuracy=run.tta_accuracy,
    )


class _Run:
    """One call of `train`: the engine, and what is written while it runs."""

    def __init__(
        self,
        settings: TrainSettings,
        dataset: Dataset,
        out: Path,
        device: torch.device,
        world: World,
        stop_signal: StopSignal,
        emit: Callable[[Event], None],
        base: Classifier | None,
        spec: str,
        failures: list[Exception],
    ) -> None:
        self.settings, self.dataset, self.out = settings, dataset, out
        self.world, self.stop_signal, self.emit = world, stop_signal, emit
        self.failures = failures
        self.network = network_for(base, settings, dataset, spec=spec)
        self.engine, self.state = engine_and_state(
            settings, dataset, self.network, world, stop=lambda: bool(stop_signal), device=device
        )
        self.flops = training_flops(
            forward_flops(self.state.model, dataset.input_shape),
            images=self.engine.steps * settings.batch_size,
            passes=self.state.objective.passes,
        )
        self.tta_accuracy = math.nan
        self.points: list[Measured] = []
        self.best: dict[str, Tensor] = {}
        self.checkpoints = Checkpoints(out / CHECKPOINTS)
        self.saved_at = -1
        # Rank 0 tidies the folder first: it may rename what is damaged.
        if world.is_main_process:
            self._open()
            self._restore()
        world.barrier()
        if not world.is_main_process:
            if not (out / CONFIG).exists():
                raise ResourceError(
                    f"process {world.rank} does not see the run folder that process 0 writes",
                    code="T11",
                    where=out,
                    expected="one folder for all: on several machines, on a disk that they share",
                )
            self._restore()

    def _open(self) -> None:
        """Clean up the folder and write its config (rank 0)."""
        clean_up(self.out)
        self.checkpoints.clean_up()
        with disk_errors(self.out):
            write_config(self.out, self.settings)

    def _restore(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        snapshot, notes = self.checkpoints.newest(self._take)
        if snapshot is not None:
            self.saved_at = snapshot.step
        if not self.world.is_main_process:
            return
        # Not `_exhausted`, which waits for the other processes: they wait for this one here.
        ended = is_exhausted(self.points, self.settings.patience)
        with disk_errors(self.out):
            self.environment, drift = Environment.open(
                self.out,
                self.dataset,
                precision=self.engine.precision,
                device=self.engine.device.type,
                processes=self.world.size,
                step=self.state.step,
                total=self.state.step if ended else self.engine.steps,
            )
            write_atomically(self.out / METRICS, history_text(self.points).encode())
        for note in [*notes, *drift]:
            self.emit(Warned(text=note))

    def _take(self, snapshot: Snapshot) -> None:
        self.state.restore(snapshot)
        self.points = list(parse_history(snapshot.metrics))
        self.best = snapshot.tensors.get("best", {})

    def _exhausted(self) -> bool:
        """Whether early stopping ends the run here; all processes say the same."""
        ended = is_exhausted(self.points, self.settings.patience)
        flag = torch.tensor([float(ended)], device=self.engine.device)
        if self.settings.patience:
            self.world.all_reduce_mean([flag])
        return bool(flag.item() > 0)

    def _begin(self) -> None:
        """Set the weights that come from the training images; those of a head are saved at once."""
        fill_whitening(self.network, self.state, self.dataset)
        network, model = self.network, self.state.model
        if not (self.settings.head_init == "probe" and network.fresh_head and network.head):
            return
        assert isinstance(model, Learner)
        fitted = probe_head(
            model,
            network.head,
            self.dataset.train,
            network.normalize,
            seed=self.settings.seed,
            stop=lambda: bool(self.stop_signal),
        )
        if self.stop_signal:
            raise self.stop_signal.error(0, self.engine.steps)
        if not fitted:
            self.emit(Warned(text="no single dense layer ends the network: its head begins random"))
        if self.state.ema:
            self.state.ema.module.load_state_dict(model.state_dict())
        self._save()

    def go(self) -> None:
        """Run to the end, writing metrics and checkpoints on the way."""
        if self.saved_at < 0:
            self._begin()
            # What was computed from images may differ in the last bits on another machine.
            states = [self.state.model.state_dict()]
            states += [self.state.ema.module.state_dict()] if self.state.ema else []
            self.world.broadcast([tensor for state in states for tensor in state.values()])
        if self.settings.compile and self.engine.device.type == "cpu":
            self.emit(Warned(text="compile is slower on a CPU for networks of this size"))
        self.emit(
            Started(
                steps=self.engine.steps,
                steps_per_epoch=self.engine.batches.steps_per_epoch,
                step=self.state.step,
                precision=self.engine.precision,
            )
        )
        self._leave_if_failed()
        exploded = EXPLODED * math.log(max(2, len(self.dataset.class_names)))
        last_save = time.monotonic()
        try:
            for event in () if self._exhausted() else self.engine.run(self.state):
                if isinstance(event, Measured):
                    self._keep(event)
                self.emit(event)
                if not isinstance(event, Stepped):
                    continue
                if event.loss > exploded:
                    self.emit(Warned(text=f"the loss is {event.loss:.3g} at step {event.step}"))
                    exploded = math.inf
                if event.stopping or self._due(event, time.monotonic() - last_save):
                    self._save()
                    last_save = time.monotonic()
                self._leave_if_failed()
                if event.stopping:
                    raise self.stop_signal.error(event.step, self.engine.steps)
                if event.epoch_ended and self._exhausted():
                    break
        except NotFinite as problem:
            raise problem.error(self.out, self.settings) from None
        if self.saved_at != self.state.step:
            self._save()
        self._leave_if_failed()

    def _leave_if_failed(self) -> None:
        """Save, then raise what a callback of the user raised."""
        if self.failures:
            if self.saved_at != self.state.step:
                self._save()
            raise self.failures[0]

    def _due(self, event: Stepped, waited: float) -> bool:
        every = self.settings.checkpoint_steps
        return (
            event.epoch_ended
            or waited >= self.settings.checkpoint_seconds
            or bool(every and event.step % every == 0)
        )

    def _keep(self, point: Measured) -> None:
        self.points.append(point)
        if self.settings.patience and best_row(self.points) is point:
            self.best = {
                name: value.detach().clone()
                for name, value in self.state.eval_model.state_dict().items()
            }
        if self.world.is_main_process:
            with disk_errors(self.out / METRICS):
                append(self.out / METRICS, point)

    def _save(self) -> None:
        self.saved_at = self.state.step
        if not self.world.is_main_process:
            return
        began = time.monotonic()
        snapshot = self.state.capture(history_text(self.points))
        if self.best:
            snapshot.tensors["best"] = self.best
        self.checkpoints.save(snapshot)
        self.emit(Saved(step=self.state.step, seconds=time.monotonic() - began))

    def _measure_with_tta(self) -> None:
        """Validate what is exported once more, with the test-time augmentation of the settings."""
        if self.settings.tta != "none":
            _, error, _ = self.engine.validation.measure(
                self.state.eval_model, everything=True, tta=self.settings.tta
            )
            self.tta_accuracy = 1 - error

    def export(self, seconds: float) -> None:
        """Write the classifier, the model card and the time (rank 0); repeating it is harmless."""
        self._measure_with_tta()
        draft = self.out / ".tmp-model"
        with disk_errors(self.out, cleanup=draft):
            draft.mkdir(exist_ok=True)
            if self.best:
                self.state.eval_model.load_state_dict(self.best)
            self.network.save(draft, self.state.eval_model.cpu(), self.settings, self.dataset)
            self._publish(draft)
            card = model_card(
                self.settings,
                self.dataset,
                self.points,
                flops=self.flops,
                tta_accuracy=self.tta_accuracy,
                bit_exact=self.environment.content["bit_exact"],
            )
            write_atomically(self.out / "README.md", card.encode())
            self.environment.finish(seconds)

    @failpoint("model.write")
    def _publish(self, draft: Path) -> None:
        """Move the files of the model from the draft to the run folder."""
        for path in sorted(draft.iterdir(), reverse=True):
            path.replace(self.out / path.name)
        draft.rmdir()


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Report out-of-memory as a `ResourceError`."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise ResourceError(
            "not enough memory",
            code="T16",
            hint="a smaller batch_size needs less; a started run goes on with --resume",
        ) from error
