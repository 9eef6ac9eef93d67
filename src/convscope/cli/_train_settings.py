"""Settings of training as flags: what ``train`` and ``search`` begin with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._options import (
    Device,
    ModelOptions,
    check_names,
    check_out,
)
from convscope.cli._output import (
    Fraction,
    warn,
)
from convscope.errors import UsageError, choose
from convscope.models import ADAPTERS, MODELS, check_model_name, shipped

if TYPE_CHECKING:
    from convscope.training import TrainSettings


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
    "Images per update, over all microbatches and processes."
    microbatches: int | None = None
    "Parts in which those images go through the network, to save memory; the update is the same."
    optimizer: Literal["adamw", "adam", "sgd", "muon"] | None = None
    "Optimizer."
    learning_rate: float | None = None
    "Maximum learning rate."
    nonfilter_lr: float | None = None
    "muon: the rate of everything that is not a filter."
    bias_lr: float | None = None
    "muon: the rate of biases."
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
    device: Device | None = None
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
        elif model not in shipped():
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
        "bias_lr": (settings.optimizer == "muon", "--optimizer muon"),
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
