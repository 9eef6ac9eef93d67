"""Writers for TensorBoard, MLflow and Weights & Biases: consumers of the events of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from convscope.errors import UsageError
from convscope.training._events import Event, Measured, Saved, Started, Stepped, Warned
from convscope.training._settings import TrainSettings

SCALARS = (
    "learning_rate",
    *("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"),
)
"""What of a row of ``metrics.csv`` the writers pass on, under these names."""


def scalars_of(point: Measured) -> dict[str, float]:
    """The numbers of a row that the writers pass on."""
    return {name: getattr(point, name) for name in SCALARS}


def parameters_of(settings: TrainSettings) -> dict[str, Any]:
    """The settings as one flat table.

    Example:
        >>> parameters_of(TrainSettings(model="m", data="d"))["augment.shift"]
        0
    """
    flat: dict[str, Any] = {}
    for name, value in asdict(settings).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{extra} needs {name.partition('.')[0]}, which is not installed",
            code="M22",
            hint=f'pip install "convscope[{extra}]"',
        ) from error


class TensorBoardWriter:
    """Writes event files that ``tensorboard --logdir`` shows.

    Rows that a killed process wrote and a resumed run makes again are dropped by TensorBoard: the
    file of every session says at which step it begins.

    Args:
        folder: Where the event files go; one folder per run.
        settings: Written as text beside the curves.

    Raises:
        UsageError: M22, the library is not installed.

    Example:
        >>> from convscope.training import TensorBoardWriter, recipe, train
        >>> settings = recipe("mnist-conv1", data="digits")
        >>> callbacks = [TensorBoardWriter("runs/digits/tensorboard", settings)]  # doctest: +SKIP
        >>> train(settings, digits, out="runs/digits", callbacks=callbacks)  # doctest: +SKIP
    """

    def __init__(self, folder: Path | str, settings: TrainSettings | None = None) -> None:
        module = _library("torch.utils.tensorboard", "tensorboard")
        self._make, self._folder, self._settings = module.SummaryWriter, Path(folder), settings
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Hear an event of a run."""
        if isinstance(event, Started):
            self.close()
            self._writer = self._make(
                str(self._folder), purge_step=event.step + 1 if event.step else None
            )
            if self._settings is not None and not event.step:
                lines = [f"    {k} = {v!r}" for k, v in parameters_of(self._settings).items()]
                self._writer.add_text("settings", "\n".join(lines))
        elif isinstance(event, Measured):
            for name, value in scalars_of(event).items():
                group, _, rest = name.partition("_")
                tag = name if group == "learning" else f"{rest}/{group}"
                self._writer.add_scalar(tag, value, event.step)
        elif isinstance(event, Stepped):
            self._writer.add_scalar("loss/step", event.loss, event.step)
        elif isinstance(event, Warned) and self._writer is not None:
            self._writer.add_text("warnings", event.text)
        elif isinstance(event, Saved) and self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class MLflowWriter:
    """Logs settings and metrics to an MLflow run.

    A run that is resumed goes on in the same MLflow run, whose number is kept beside it.

    Args:
        folder: The run folder, where ``mlflow-run.txt`` keeps that number.
        settings: Logged as parameters.
        experiment: Name of the experiment.

    Raises:
        UsageError: M22, the library is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        settings: TrainSettings | None = None,
        *,
        experiment: str = "convscope",
    ) -> None:
        self._mlflow = _library("mlflow", "mlflow")
        self._mark, self._settings = Path(folder) / "mlflow-run.txt", settings
        self._experiment, self._open = experiment, False

    def __call__(self, event: Event) -> None:
        """Hear an event of a run."""
        if isinstance(event, Started):
            self._mlflow.set_experiment(self._experiment)
            known = _mark_of(self._mark) if event.step else None
            run = self._mlflow.start_run(run_id=known)
            self._open = True
            if known is None:
                self._mark.write_text(run.info.run_id, encoding="utf-8")
                if self._settings is not None:
                    self._mlflow.log_params(parameters_of(self._settings))
        elif isinstance(event, Measured):
            self._mlflow.log_metrics(scalars_of(event), step=event.step)

    def close(self) -> None:
        """End the MLflow run."""
        if self._open:
            self._mlflow.end_run()
            self._open = False


class WandbWriter:
    """Logs settings and metrics to Weights & Biases.

    A run that is resumed goes on in the same run there, whose number is kept beside it.

    Args:
        folder: The run folder, where ``wandb-run.txt`` keeps that number.
        settings: Logged as the configuration.
        project: Name of the project.

    Raises:
        UsageError: M22, the library is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        settings: TrainSettings | None = None,
        *,
        project: str = "convscope",
    ) -> None:
        self._wandb = _library("wandb", "wandb")
        self._mark, self._settings, self._project = (
            Path(folder) / "wandb-run.txt",
            settings,
            project,
        )
        self._run: Any = None

    def __call__(self, event: Event) -> None:
        """Hear an event of a run."""
        if isinstance(event, Started):
            known = _mark_of(self._mark) if event.step else None
            self._run = self._wandb.init(
                project=self._project,
                id=known,
                resume="allow",
                dir=str(self._mark.parent),
                config=parameters_of(self._settings) if self._settings is not None else None,
            )
            if known is None:
                self._mark.write_text(self._run.id, encoding="utf-8")
        elif isinstance(event, Measured):
            self._run.log({**scalars_of(event), "epoch": event.epoch}, step=event.step)

    def close(self) -> None:
        """End the run there."""
        if self._run is not None:
            self._run.finish()
            self._run = None


def _mark_of(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        text = path.read_text(encoding="utf-8").strip()
        return text if text.isalnum() and len(text) < 100 else None
    return None


WRITERS = {"tensorboard": TensorBoardWriter, "mlflow": MLflowWriter, "wandb": WandbWriter}
"""By the name that ``convscope train --log`` takes."""


def writers_of(
    names: str, folder: Path, settings: TrainSettings
) -> Iterator[TensorBoardWriter | MLflowWriter | WandbWriter]:
    """The writers that a text such as ``tensorboard,wandb`` names, on the process of rank 0."""
    if os.environ.get("RANK", "0") != "0":
        return
    for name in names.split(","):
        kind = WRITERS[name.strip()]
        place = folder / "tensorboard" if kind is TensorBoardWriter else folder
        yield kind(place, settings)
