"""``convscope train``: a recipe, a data set, a run folder."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.cli._opened import opened_training_data, raise_if_refused
from convscope.cli._options import (
    NOTHING,
    AcceptModified,
    DataDir,
    DataName,
    Flag,
    Json,
    Offline,
    OwnNetwork,
    SkipBad,
)
from convscope.cli._output import (
    VOICE,
    data_place,
    emit,
    next_step,
    warn,
    watching,
    wrote,
)
from convscope.cli._train_progress import shown
from convscope.cli._train_settings import (
    NONE,
    SETTINGS,
    Overrides,
    batch_is_given,
    check_run_options,
    choose_settings,
    fitted,
    refuse_description,
    refuse_idle,
    trained_from_the_start,
)
from convscope.devices import resolve_device
from convscope.errors import UsageError, choose
from convscope.files import checked_path

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Dataset
    from convscope.training import TrainResult, TrainSettings


def train_model(
    model: str | None = None,
    /,
    *,
    data: DataName | None = None,
    data_dir: DataDir | None = None,
    preset: str | None = None,
    out: Path | None = None,
    resume: Flag = False,
    config: Path | None = None,
    print_config: Flag = False,
    find_learning_rate: Path | None = None,
    log: str | None = None,
    offline: Offline = False,
    accept_modified: AcceptModified = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    network: OwnNetwork = NOTHING,
    overrides: Annotated[Overrides, cyclopts.Parameter(name="*", group=SETTINGS)] = NONE,
) -> None:
    """Train a network into a run folder. Stopped or killed, it goes on with --resume, bit by bit.

    A network of `convscope models list` is trained from the start. Any other MODEL is copied and
    trained further, with a new head if the classes of the data are others.

    Args:
        model: Name of a network, or what other commands take: run folder, .safetensors file,
            hf:DIRECTORY, timm:NAME, package.module:factory ...
        data: The data set.
        data_dir: Folder that holds the data files.
        preset: fast, long, paper, robust or smooth for training from the start (default: fast);
            finetune for training further (the default there).
        out: Run folder; runs/MODEL-DATA-SEED by default.
        resume: Go on with the run in --out; without a model, with the settings it has.
        config: TOML file with settings, such as the config.toml of a run. Flags win over it.
        print_config: Print the settings as TOML and do nothing else.
        find_learning_rate: Do not train: let the learning rate climb for 100 updates, draw the loss
            in this file (.png, .svg or .pdf), and say which rate to begin with.
        log: Also log to these, with commas: tensorboard (event files in the run folder), mlflow,
            wandb (Weights & Biases). Each needs its library.
        offline: Never download.
        accept_modified: Go on with data files whose checksum is not the known one.
        skip_bad: Leave images out that cannot be read; exit with 8 if there were any.
        as_json: Print the result as JSON.
        network: What the files of MODEL do not say.
        overrides: Single settings.
    """
    check_run_options(model, data, preset, config, out, resume=resume)
    check_picture(find_learning_rate)
    for name in log.split(",") if log else ():
        choose("log", name.strip(), LOGS)
    from convscope._random import Draws
    from convscope.training import (
        check_run_folder,
        settings_to_toml,
        train,
        training_data,
        tune_allocator,
        writers_of,
    )

    settings = choose_settings(
        model, data, preset, config, overrides.table(), out if resume else None
    )
    if print_config:
        emit(None, text=settings_to_toml(settings).rstrip("\n"))
        return
    refuse_idle(overrides.table(), settings)
    resolve_device(settings.device)
    folder = out or Path("runs") / _default_name(settings)
    tune_allocator()
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main and find_learning_rate is None:
        check_run_folder(folder, resume=resume)
    elif not is_main:
        VOICE.quiet = True

    base = None
    if not trained_from_the_start(settings.model):
        with Draws(settings.seed):  # A factory of the user's may draw its first weights.
            base = network.load(settings.model)
    if base is None:
        refuse_description(network)
    dataset = opened_training_data(
        settings.data,
        base,
        data_dir=data_dir,
        offline=offline,
        accept_modified=accept_modified,
        skip_bad=skip_bad,
    )
    if is_main:
        for warning in dataset.warnings:
            warn(warning)
    dataset = training_data(dataset, settings)
    settings = fitted(settings, len(dataset.train), given=batch_is_given(overrides, config))
    if find_learning_rate is not None:
        _find_rate(base, settings, dataset, find_learning_rate, as_json=as_json)
        return
    callbacks = list(writers_of(log, folder, settings)) if log else []
    steps = settings.epochs * (len(dataset.train) // settings.batch_size)
    with shown(settings, steps) as on_event:
        if base is None:
            result = train(
                settings,
                dataset,
                out=folder,
                resume=resume,
                on_event=on_event,
                callbacks=callbacks,
            )
        else:
            result = train(
                base,
                dataset,
                out=folder,
                settings=settings,
                spec=settings.model,
                resume=resume,
                on_event=on_event,
                callbacks=callbacks,
            )
    if is_main:
        _finish(settings, result, as_json=as_json, data_dir=data_dir)
        raise_if_refused(dataset)


LOGS = ("tensorboard", "mlflow", "wandb")
"""The names in `convscope.training.WRITERS`, which imports torch; a test compares them."""


def check_picture(path: Path | None) -> None:
    """Refuse a name for a picture that is taken or has another ending.

    Raises:
        UsageError: U03 or U13.
    """
    if path is None:
        return
    checked_path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"--find-learning-rate {path.name!r} is no picture",
            code="U03",
            expected="a file that ends in .png, .svg or .pdf",
        )
    if path.exists():
        raise UsageError("already exists", code="U13", where=path, hint="name another file")


def _find_rate(
    base: Classifier | None,
    settings: TrainSettings,
    dataset: Dataset,
    path: Path,
    *,
    as_json: bool,
) -> None:
    """Look for a learning rate, draw the curve, and say the command that uses it."""
    from convscope.figures import draw
    from convscope.files import disk_errors
    from convscope.training import find_learning_rate

    with watching("looking for a learning rate"):
        curve = find_learning_rate(
            settings if base is None else base,
            dataset,
            settings=None if base is None else settings,
        )
    with disk_errors(path, cleanup=path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(curve).savefig(path, dpi=150)
    facts: dict[str, Any] = {
        "suggested": curve.suggested,
        "steepest": curve.steepest,
        "lowest": curve.lowest,
        "updates": len(curve.rates),
    }
    if as_json:
        facts |= {"rates": curve.rates, "losses": curve.losses, "smoothed": curve.smoothed}
    emit(facts, as_json=as_json)
    wrote(path)
    words = [settings.model, "--data", settings.data, "--learning-rate", str(curve.suggested)]
    next_step("convscope train", *words)


def _default_name(settings: TrainSettings) -> str:
    data = "".join(c if c.isalnum() else "-" for c in settings.data)
    name = "-".join(re.findall(r"[\w.-]+", settings.model.rstrip("/").rpartition("/")[2]))
    return f"{name}-{data}-{settings.seed}"


def _finish(
    settings: TrainSettings, result: TrainResult, *, as_json: bool, data_dir: Path | None
) -> None:
    last = result.exported
    measured = last is not None and last.validation_images > 0
    shown_accuracy = (
        f"{last.validation_accuracy:.2%}"
        if last and measured
        else ("not measured (no validation images)" if last else "not trained")
    )
    if not math.isnan(result.tta_accuracy):
        shown_accuracy += f" ({result.tta_accuracy:.2%} with {settings.tta} test-time augmentation)"
    facts = {
        "run_folder": str(result.run_folder),
        "model": settings.model,
        "data": settings.data,
        "preset": settings.preset,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "validation_accuracy": last.validation_accuracy if last and measured else None,
        "validation_loss": last.validation_loss if last and measured else None,
        "validation_images": last.validation_images if last else 0,
        "tta": settings.tta,
        "tta_accuracy": None if math.isnan(result.tta_accuracy) else result.tta_accuracy,
        "seconds": round(result.seconds, 2),
        "training_flops": result.flops,
    }
    emit(
        facts,
        as_json=as_json,
        text=f"validation accuracy {shown_accuracy} after {last.epoch if last else 0:.3g} epochs "
        f"in {result.seconds:.1f} s"
        + (f", {result.flops / 1e15:.3g} PFLOP" if result.flops else ""),
    )
    wrote(result.run_folder)
    where = ["--data", settings.data, *data_place(data_dir)]
    where += ["--tta", settings.tta] if settings.tta != "none" else []
    next_step("convscope eval", str(result.run_folder), *where)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(train_model, name="train")
