"""``convscope train``: a recipe, a data set, a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._opened import raise_if_refused
from convscope.cli._options import (
    DataDir,
    DataName,
    Flag,
    Json,
    Offline,
    SkipBad,
    check_names,
    check_out,
)
from convscope.cli._output import (
    VOICE,
    Fraction,
    data_place,
    emit,
    next_step,
    progress,
    say,
    showing_progress,
    warn,
    wrote,
)
from convscope.errors import UsageError, choose
from convscope.models import MODELS

if TYPE_CHECKING:
    from convscope.training import Event, Measured, TrainResult, TrainSettings

SETTINGS = cyclopts.Group("Settings", help="The preset fills these in; a flag changes one.")


@dataclass(frozen=True)
class Augment:
    """Flags for the [augment] table."""

    shift: int | None = None
    "Whole-pixel shifts, each axis uniform in [-shift, shift]."
    flip: Literal["none", "random", "alternating"] | None = None
    "Mirror images left to right."
    degrees: float | None = None
    "Rotation, uniform in [-degrees, degrees]."
    scale: float | None = None
    "Zoom, uniform in [1 - scale, 1 + scale]."
    shear: float | None = None
    "Horizontal shear, pixels per pixel."
    translate: float | None = None
    "Sub-pixel shift in pixels."
    crop: float | None = None
    "Smallest side of a random window, as a share of the image."
    padding: Literal["zeros", "reflection"] | None = None
    "What comes in from outside."


@dataclass(frozen=True)
class Overrides:
    """A flag for every field of `TrainSettings` that is not an argument of the command itself."""

    seed: int | None = None
    "Decides initial parameters, order, augmentation and noise."
    epochs: int | None = None
    "Times every training image is shown."
    batch_size: int | None = None
    "Images per update."
    optimizer: Literal["adamw", "adam", "sgd", "muon"] | None = None
    "Optimizer."
    learning_rate: float | None = None
    "Maximum learning rate."
    nonfilter_lr: float | None = None
    "muon: the rate of everything that is not a filter."
    weight_decay: float | None = None
    "Decay of filters and matrices (never of biases or normalization)."
    momentum: float | None = None
    "sgd and muon."
    schedule: Literal["one-cycle", "constant"] | None = None
    "How the learning rate changes."
    warm_up: float | None = None
    "Share of the run in which the learning rate climbs."
    max_grad_norm: float | None = None
    "Largest gradient norm; 0 does not clip."
    label_smoothing: float | None = None
    "Share of the target spread over all classes."
    ema: float | None = None
    "Share of the moving average kept per step; 0: none."
    precision: Literal["auto", "fp32", "bf16"] | None = None
    "Arithmetic of training; evaluation is always float32."
    device: Literal["auto", "cpu", "cuda"] | None = None
    "Where training happens; auto: a GPU if there is one."
    augment: Augment | None = None
    "What may happen to a training image."
    noise_std: Fraction | None = None
    "Standard deviation of Gaussian noise on training images, in pixel units of [0, 1]."
    consistency: float | None = None
    "Weight of the agreement between two noisy copies; for certified robustness."
    adversary: Literal["none", "pgd", "fgsm-rs", "trades"] | None = None
    "Adversarial training."
    epsilon: Fraction | None = None
    "Its L-infinity budget, such as 0.3 or 8/255."
    adversary_steps: int | None = None
    "Its gradient steps."
    adversary_step: Fraction | None = None
    "Size of one of them; 0: chosen from epsilon."
    adversary_ramp: float | None = None
    "Epochs over which epsilon grows."
    trades_weight: float | None = None
    "trades: weight of the divergence."
    evals_per_epoch: int | None = None
    "Validations, and rows of metrics.csv, per epoch."
    validation_images: int | None = None
    "Images of a validation inside an epoch."
    checkpoint_seconds: float | None = None
    "Save when so much time has passed."
    checkpoint_steps: int | None = None
    "Also save every so many steps."

    def table(self) -> dict[str, Any]:
        """The flags that were given, as a table of settings."""
        given = {k: v for k, v in asdict(self).items() if v is not None}
        if isinstance(given.get("augment"), dict):
            given["augment"] = {k: v for k, v in given["augment"].items() if v is not None}
        return given


NONE = Overrides()


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
    offline: Offline = False,
    accept_modified_data: Flag = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    overrides: Annotated[Overrides, cyclopts.Parameter(name="*", group=SETTINGS)] = NONE,
) -> None:
    """Train a network into a run folder. Stopped or killed, it goes on with --resume, bit by bit.

    Args:
        model: Name of a network, see `convscope models list`.
        data: The data set.
        data_dir: Folder that holds the data files.
        preset: fast (default), long, paper, robust or smooth.
        out: Run folder; runs/MODEL-DATA-SEED by default.
        resume: Go on with the run in --out; without a model, with the settings it has.
        config: TOML file with settings, such as the config.toml of a run. Flags win over it.
        print_config: Print the settings as TOML and do nothing else.
        offline: Never download.
        accept_modified_data: Go on with data files whose checksum is not the known one.
        skip_bad: Leave images out that cannot be read; exit with 8 if there were any.
        as_json: Print the result as JSON.
        overrides: Single settings.
    """
    check_run_options(model, data, preset, config, out, resume=resume)
    from convscope.training import check_run_folder, settings_to_toml, train, tune_allocator

    settings = choose_settings(
        model, data, preset, config, overrides.table(), out if resume else None
    )
    if print_config:
        emit(None, text=settings_to_toml(settings).rstrip("\n"))
        return
    refuse_idle(overrides.table(), settings)
    folder = out or Path("runs") / _default_name(settings)
    tune_allocator()
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main:
        check_run_folder(folder, resume=resume)
    else:
        VOICE.quiet = True
    from convscope.data import open_dataset

    with showing_progress("reading images"):
        dataset = open_dataset(
            settings.data,
            data_dir=data_dir,
            offline=offline,
            accept_modified=accept_modified_data,
            skip_bad=skip_bad,
        )
    dataset.check_trainable()
    if is_main:
        for warning in dataset.warnings:
            warn(warning)
    settings = fitted(settings, len(dataset.train), given=batch_is_given(overrides, config))
    steps = settings.epochs * (len(dataset.train) // settings.batch_size)
    with shown(settings, steps) as on_event:
        result = train(settings, dataset, out=folder, resume=resume, on_event=on_event)
    if is_main:
        _finish(settings, result, as_json=as_json, data_dir=data_dir)
        raise_if_refused(dataset)


def check_run_options(
    model: str | None,
    data: str | None,
    preset: str | None,
    config: Path | None,
    out: Path | None,
    *,
    resume: bool,
) -> None:
    """Refuse names that there are not and options that contradict each other, before torch.

    Raises:
        UsageError: U01 or U11.
    """
    if model is not None:
        choose("network", model, MODELS)
    check_names(data=data)
    if preset is not None:
        choose("preset", preset, PRESETS)
    if resume and out is None and model is None and config is None:
        raise UsageError(
            "--resume of which run?",
            code="U01",
            expected="--out RUN, the folder of the run to go on with",
        )
    if resume and model is None and config is None and not (out or Path()).is_dir():
        raise UsageError("no run to go on with", code="U02", where=out or "")
    check_out(out, force=True, page=False)


PRESETS = ("fast", "long", "paper", "robust", "smooth")
"""The names in `convscope.training.RECIPES`, which imports torch; a test compares them."""


def refuse_idle(given: dict[str, Any], settings: TrainSettings) -> None:
    """Refuse flags that change nothing because of what the settings are.

    Raises:
        UsageError: U11.
    """
    attacked = settings.adversary != "none"
    needs = {
        "momentum": (settings.optimizer in ("sgd", "muon"), "--optimizer sgd or muon"),
        "nonfilter_lr": (settings.optimizer == "muon", "--optimizer muon"),
        "warm_up": (settings.schedule == "one-cycle", "--schedule one-cycle"),
        "consistency": (settings.noise_std > 0, "--noise-std above 0"),
        "trades_weight": (settings.adversary == "trades", "--adversary trades"),
        **dict.fromkeys(
            ("epsilon", "adversary_steps", "adversary_step", "adversary_ramp"),
            (attacked, "--adversary pgd, fgsm-rs or trades"),
        ),
    }
    idle = [name for name, (works, _) in needs.items() if given.get(name) and not works]
    if idle:
        raise UsageError(
            f"{' and '.join('--' + name.replace('_', '-') for name in idle)} would change nothing",
            code="U11",
            expected="; ".join(dict.fromkeys(needs[name][1] for name in idle)),
        )


def choose_settings(
    model: str | None,
    data: str | None,
    preset: str | None,
    config: Path | None,
    flags: dict[str, Any],
    resumed: Path | None,
) -> TrainSettings:
    """Settings from, in rising order: the preset, the config file, the flags.

    Args:
        model: From the command line.
        data: From the command line.
        preset: From the command line.
        config: A TOML file.
        flags: A table of single settings.
        resumed: The run folder to go on with, if any: its settings are the default.
    """
    from convscope.training import read_settings, read_settings_table, recipe, with_values

    named = {"model": model, "data": data, "preset": preset}
    table = {key: value for key, value in named.items() if value is not None} | flags
    if resumed is not None and config is None and (resumed / "config.toml").exists():
        before = read_settings(resumed / "config.toml")
        if model is None and preset is None:
            return with_values(before, table)
        table = {"data": before.data} | table
    written = {} if config is None else read_settings_table(config)
    name = table.get("model", written.get("model"))
    if name is None:
        raise UsageError(
            "no network named",
            code="U01",
            expected="convscope train MODEL --data DATA, or --config FILE.toml",
            hint="convscope models list shows the networks",
        )
    on = table.get("data", written.get("data", "digits"))
    chosen = table.get("preset", written.get("preset", "fast"))
    return with_values(recipe(name, data=on, preset=chosen, overrides=written), table)


def batch_is_given(overrides: Overrides, config: Path | None) -> bool:
    """Whether a person chose the batch size, with a flag or in a file."""
    if overrides.batch_size is not None or config is None:
        return overrides.batch_size is not None
    from convscope.training import read_settings_table

    return "batch_size" in read_settings_table(config)


def fitted(settings: TrainSettings, images: int, *, given: bool) -> TrainSettings:
    """The settings with a batch that the data can fill, unless a person chose the batch."""
    from convscope.training import fitting_batch

    size = fitting_batch(settings.batch_size, images)
    if given or size == settings.batch_size:
        return settings
    warn(
        f"{images} training images do not fill the preset's batch of {settings.batch_size}: "
        f"trained in batches of {size}; --batch-size chooses another"
    )
    return replace(settings, batch_size=size)


def _default_name(settings: TrainSettings) -> str:
    data = "".join(c if c.isalnum() else "-" for c in settings.data)
    return f"{settings.model}-{data}-{settings.seed}"


@contextmanager
def shown(settings: TrainSettings, steps: int) -> Iterator[Callable[[Event], None]]:
    """A consumer of events: a bar on a terminal, one line per epoch elsewhere."""
    from convscope.training import Measured, Started, Stepped, Warned

    terminal = sys.stderr.isatty() and VOICE.progress
    title = f"{settings.model} on {settings.data}"
    with progress(title, total=steps) if terminal else _no_bar() as bar:

        def on_event(event: Event) -> None:
            if isinstance(event, Warned):
                warn(event.text)
            elif isinstance(event, Started):
                if bar is not None:
                    bar.advance(event.step)
                elif event.step:
                    say(f"resumed at step {event.step} of {event.steps}")
            elif isinstance(event, Stepped) and bar is not None:
                bar.advance(1)
            elif isinstance(event, Measured):
                line = f"{title}: {_summary(event, settings)}"
                if bar is not None:
                    bar.describe(line)
                elif event.epoch == int(event.epoch):
                    say(line)

        yield on_event


@contextmanager
def _no_bar() -> Iterator[None]:
    yield None


def _summary(point: Measured, settings: TrainSettings) -> str:
    return (
        f"epoch {point.epoch:.3g}/{settings.epochs}, training loss {point.train_loss:.4f}, "
        f"validation accuracy {point.validation_accuracy:.2%}"
    )


def _finish(
    settings: TrainSettings, result: TrainResult, *, as_json: bool, data_dir: Path | None
) -> None:
    last = result.history[-1] if result.history else None
    facts = {
        "run_folder": str(result.run_folder),
        "model": settings.model,
        "data": settings.data,
        "preset": settings.preset,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "validation_accuracy": last.validation_accuracy if last else None,
        "validation_loss": last.validation_loss if last else None,
        "validation_images": last.validation_images if last else 0,
        "seconds": round(result.seconds, 2),
    }
    shown_accuracy = f"{last.validation_accuracy:.2%}" if last else "not trained"
    emit(
        facts,
        as_json=as_json,
        text=f"validation accuracy {shown_accuracy} after {settings.epochs} epochs "
        f"in {result.seconds:.1f} s",
    )
    wrote(result.run_folder)
    where = ["--data", settings.data, *data_place(data_dir)]
    next_step("convscope eval", str(result.run_folder), *where)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(train_model, name="train")
