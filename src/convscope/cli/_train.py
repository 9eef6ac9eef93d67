"""``convscope train``: a recipe, a data set, a run folder."""

from __future__ import annotations

import math
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._opened import opened_training_data, raise_if_refused
from convscope.cli._options import (
    NOTHING,
    AcceptModified,
    DataDir,
    DataName,
    Flag,
    Json,
    ModelOptions,
    Offline,
    OwnNetwork,
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
    warn,
    watching,
    wrote,
)
from convscope.cli._train_progress import shown
from convscope.errors import UsageError, choose
from convscope.files import checked_path
from convscope.models import ADAPTERS, MODELS, check_model_name

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Dataset
    from convscope.training import TrainResult, TrainSettings

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

    train_split: Literal["train", "train+validation"] | None = None
    "train+validation: the validation images are trained on, too."
    seed: int | None = None
    "Decides initial parameters, order, augmentation and noise."
    epochs: int | None = None
    "Times every training image is shown."
    batch_size: int | None = None
    "Images per update."
    accumulate: int | None = None
    "Parts in which a batch goes through the network, to save memory."
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
    nesterov: Annotated[bool | None, cyclopts.Parameter(negative="--no-nesterov")] = None
    "sgd: whether the momentum is Nesterov's."
    schedule: Literal["one-cycle", "cosine", "step", "constant"] | None = None
    "How the learning rate changes."
    warm_up: float | None = None
    "Share of the run in which the learning rate climbs."
    max_grad_norm: float | None = None
    "Largest gradient norm; 0 does not clip."
    label_smoothing: float | None = None
    "Share of the target spread over all classes."
    ema: float | None = None
    "Share of the moving average kept per step; 0: none."
    tta: Literal["none", "mirror", "mirror-shift"] | None = None
    "Test-time augmentation that the trained network is measured with, too."
    precision: Literal["auto", "fp32", "bf16"] | None = None
    "Arithmetic of training; evaluation is always float32."
    device: Literal["auto", "cpu", "cuda"] | None = None
    "Where training happens; auto: a GPU if there is one."
    freeze: str | None = None
    "What stays as it is: body (all but the head), or the last LAYER that does."
    norm_statistics: Literal["batch", "frozen"] | None = None
    "Batch norm by the statistics of each batch, or by those the network came with."
    head_init: Literal["random", "probe"] | None = None
    "A new head begins random, or fitted to the features that the network came with."
    body_lr: float | None = None
    "Learning rate of everything but the head, as a share of --learning-rate."
    layer_decay: float | None = None
    "Every layer learns at so much of the rate of the layer after it."
    class_weights: Literal["none", "balanced"] | None = None
    "balanced: rare classes weigh more in the loss."
    sampling: Literal["shuffled", "balanced"] | None = None
    "balanced: every class is shown equally often."
    augment: Augment | None = None
    "What may happen to a training image."
    cutout: int | None = None
    "Side in pixels of a square that is covered in every training image."
    mixup: float | None = None
    "Blend pairs of images and their classes, at shares from Beta(mixup, mixup)."
    cutmix: float | None = None
    "Paste windows of other images, at shares from Beta(cutmix, cutmix)."
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
    patience: int | None = None
    "Stop when the validation loss has not fallen for so many epochs; the best epoch is kept."
    compile: bool | None = None
    "Compile the training step (torch.compile): for GPUs; on a CPU it is slower."
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
    folder = out or Path("runs") / _default_name(settings)
    tune_allocator()
    is_main = os.environ.get("RANK", "0") == "0"
    if is_main and find_learning_rate is None:
        check_run_folder(folder, resume=resume)
    elif not is_main:
        VOICE.quiet = True

    base = None if trained_from_the_start(settings.model) else network.load(settings.model)
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
    if model is not None and not trained_from_the_start(model):
        if ":" in model or Path(model).exists() or Path(model).suffix == ".safetensors":
            check_model_name(model)
        else:
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


def trained_from_the_start(model: str) -> bool:
    """Whether a MODEL is a network of the registry, which begins without weights."""
    return model in MODELS


def refuse_description(network: ModelOptions) -> None:
    """Refuse flags that describe a network of one's own for one of the registry.

    Raises:
        UsageError: U11.
    """
    if words := network.again():
        raise UsageError(
            f"{' '.join(words[::2])} would change nothing: the network begins without weights",
            code="U11",
            expected="package.module:factory or another MODEL that comes with weights",
        )


PRESETS = ("fast", "long", "paper", "robust", "smooth", "finetune")
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
        "nesterov": (settings.optimizer == "sgd", "--optimizer sgd"),
        "warm_up": (settings.schedule in ("one-cycle", "cosine"), "--schedule one-cycle or cosine"),
        "consistency": (settings.noise_std > 0, "--noise-std above 0"),
        "trades_weight": (settings.adversary == "trades", "--adversary trades"),
        **dict.fromkeys(
            ("epsilon", "adversary_steps", "adversary_step", "adversary_ramp"),
            (attacked, "--adversary pgd, fgsm-rs or trades"),
        ),
    }
    idle = [
        name
        for name, (works, _) in needs.items()
        if (given.get(name) or given.get(name) is False) and not works
    ]
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
        if model is None and names_code(before.model):
            raise UsageError(
                f"this run trains {before.model}; no file makes convscope run code",
                code="U01",
                where=resumed / "config.toml",
                hint=f"name it, if you trust it: convscope train {before.model} --resume --out "
                f"{resumed}",
            )
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
    usual = "fast" if trained_from_the_start(name) else "finetune"
    chosen = table.get("preset", written.get("preset", usual))
    if trained_from_the_start(name) and chosen == "finetune":
        raise UsageError(
            f"preset finetune trains further, and {name} begins without weights",
            code="U11",
            expected="a MODEL that comes with weights, such as a run folder, or one of the "
            f"presets {', '.join(PRESETS[:-1])}",
        )
    return with_values(recipe(name, data=on, preset=chosen, overrides=written), table)


def names_code(model: str) -> bool:
    """Whether loading a MODEL runs code that it names."""
    prefix, _, rest = model.partition(":")
    return bool(rest) and (prefix not in ADAPTERS or prefix == "python")


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
