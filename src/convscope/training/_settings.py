"""Settings of a training run, and their TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from convscope import files
from convscope.data import Augmentation
from convscope.devices import check_device_name
from convscope.errors import UsageError, choose
from convscope.training._tta import TTA, Tta

COPIES = 2

OPTIMIZERS = ("adamw", "adam", "sgd", "muon")
SCHEDULES = ("one-cycle", "cosine", "step", "constant")
TRAIN_SPLITS = ("train", "train+validation")
PRECISIONS = ("auto", "fp32", "bf16")
ADVERSARIES = ("none", "pgd", "fgsm-rs", "trades")
NORM_STATISTICS = ("batch", "frozen")
HEADS = ("random", "probe")
CLASS_WEIGHTS = ("none", "balanced")
SAMPLINGS = ("shuffled", "balanced")
BODY = "body"
"""`TrainSettings.freeze`: everything but the head."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """All settings of a run. Equal settings, data and machine give bitwise equal parameters.

    Most people start from `recipe`, which fills every field for a network and a preset.

    Attributes:
        model: Name of the network, as in ``convscope models list``.
        data: Name of the data set, as in ``convscope data list``.
        preset: Name of the recipe these settings came from; only a label.
        train_split: ``"train"``, or ``"train+validation"``: the validation images are trained on,
            too, and there is nothing to validate on. For the last run, when all is chosen.
        seed: Decides initial parameters, order, augmentation and noise; 0 to 2^63 - 1.
        epochs: Times every training image is shown; 0 saves the untrained network.
        batch_size: Images per update. The rest of an epoch that does not fill a batch is left out
            (other images each epoch).
        microbatches: Parts in which the images of a batch go through the network, one after the
            other; their gradients add up to those of the batch. For batches that do not fit into
            memory: an update still sees `batch_size` images, batch norm one part at a time. (The
            accumulation steps of other libraries multiply the batch instead.)
        optimizer: ``"adamw"``, ``"adam"``, ``"sgd"`` or ``"muon"`` (filters by Muon, the
            rest by SGD).
        learning_rate: Maximum learning rate of the schedule.
        nonfilter_lr: For ``"muon"``: the rate of everything that is not a filter; 0 means
            the same.
        bias_lr: For ``"muon"``: the rate of biases; 0 means that of `nonfilter_lr`.
        weight_decay: Decay of filters and matrices; biases and normalization are never decayed.
        momentum: For ``"sgd"`` and ``"muon"``.
        nesterov: For ``"sgd"``: whether the momentum is Nesterov's.
        schedule: ``"one-cycle"`` (linear up, linear down to 0), ``"cosine"`` (linear up, half a
            cosine down to 0), ``"step"`` (a tenth from one half of the run on, a hundredth from
            three quarters on) or ``"constant"``.
        warm_up: Share of the run in which the learning rate climbs.
        max_grad_norm: Largest gradient norm (L2, all parameters); 0 does not clip.
        label_smoothing: Share of the target spread over all classes. 0 for networks that are
            attacked or explained later: smoothing changes logits and confidences.
        ema: Share of the moving average kept per step; 0 exports the parameters of the last step.
        tta: Test-time augmentation with which the exported network is measured once more at the end
            of the run, on the validation images: ``"none"``, ``"mirror"`` or ``"mirror-shift"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"auto"`` (bf16 where the processor has it). Training
            only: evaluation is always float32. Float32 has all its bits: TF32, which torch takes on
            GPUs by itself, is off during a run, whatever the process has set.
        device: ``"cpu"``, ``"cuda"`` (under ``torchrun`` each process takes its own), ``"cuda:1"``,
            ``"mps"`` or ``"auto"`` (cuda where there is one). Bitwise promises hold on a CPU.
        freeze: What stays as it is: ``""`` nothing, ``"body"`` everything but the head, or the name
            of a layer: that layer and all that run before it. Frozen layers run as in evaluation:
            no dropout, and batch norm keeps its statistics.
        norm_statistics: What batch norm normalizes with while training: ``"batch"``, or
            ``"frozen"``: the running statistics that the network came with, which stay.
        head_init: How the head begins if it is new: ``"random"``, or ``"probe"``: by a logistic
            regression on the features that the network came with. Only for networks that come with
            weights.
        body_lr: Learning rate of everything but the head, as a share of `learning_rate`.
        layer_decay: Every layer learns at so much of the rate of the layer after it.
        class_weights: ``"balanced"`` weights the loss by one over the number of training images of
            the class.
        sampling: ``"balanced"`` shows every class equally often in an epoch, by repeating images of
            rare classes; ``"shuffled"`` shows every image once.
        augment: What may happen to a training image.
        cutout: Side in pixels of a square that is covered in every training image; 0: none.
        mixup: Each training image is blended with another one, at a share drawn from
            Beta(mixup, mixup), and so are their classes in the loss; 0: none. The training error
            counts each of the two classes by its share.
        cutmix: Likewise, but a window of the other image is pasted in. With `mixup`, too, a coin
            decides for every batch.
        noise_std: Standard deviation of Gaussian noise on training images, in pixel units of
            [0, 1]; for randomized smoothing.
        consistency: Weight of the agreement between two noisy copies of each image; 0: one copy.
            Doubles the work, and certifies larger radii (Jeong and Shin, 2020, take 5 to 20).
        adversary: ``"none"``, ``"pgd"``, ``"fgsm-rs"`` or ``"trades"``.
        epsilon: L-infinity budget of the adversary, in pixel units of [0, 1].
        adversary_steps: Gradient steps of ``"pgd"`` and ``"trades"``.
        adversary_step: Size of one of them, in pixel units; 0 means epsilon / 3 (pgd and trades)
            or 1.25 epsilon (fgsm-rs).
        adversary_ramp: Epochs over which epsilon grows from 0.
        trades_weight: Weight of the divergence term of ``"trades"``.
        patience: End the run when the validation loss has not fallen for so many epochs, and export
            the parameters of the epoch at which it was lowest; 0: run to the end, and export what
            is there.
        compile: Let torch.compile make code for the training step. On a CPU it takes longer than it
            saves for networks of this size.
        evals_per_epoch: Validations, and rows of ``metrics.csv``, per epoch.
        validation_images: Images of a validation inside an epoch; the one at the end of an epoch
            uses all of them.
        checkpoint_seconds: Save when this much time has passed (and at the end of every epoch).
        checkpoint_steps: Also save every this many steps; 0: no.

    Raises:
        UsageError: A value makes no sense; the text names it and says what would.

    Example:
        >>> TrainSettings(model="mnist-conv1", data="mnist", epochs=3).optimizer
        'adamw'
    """

    model: str
    data: str
    preset: str = "fast"
    train_split: Literal["train", "train+validation"] = "train"
    seed: int = 0
    epochs: int = 2
    batch_size: int = 256
    microbatches: int = 1
    optimizer: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    learning_rate: float = 0.004
    nonfilter_lr: float = 0.0
    bias_lr: float = 0.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    nesterov: bool = True
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = "one-cycle"
    warm_up: float = 0.25
    max_grad_norm: float = 0.0
    label_smoothing: float = 0.0
    ema: float = 0.99
    tta: Tta = "none"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    freeze: str = ""
    norm_statistics: Literal["batch", "frozen"] = "batch"
    head_init: Literal["random", "probe"] = "random"
    body_lr: float = 1.0
    layer_decay: float = 1.0
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    augment: Augmentation = field(default_factory=Augmentation)
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    noise_std: float = 0.0
    consistency: float = 0.0
    adversary: Literal["none", "pgd", "fgsm-rs", "trades"] = "none"
    epsilon: float = 0.0
    adversary_steps: int = 7
    adversary_step: float = 0.0
    adversary_ramp: float = 1.0
    trades_weight: float = 6.0
    patience: int = 0
    compile: bool = False
    evals_per_epoch: int = 5
    validation_images: int = 1000
    checkpoint_seconds: float = 20.0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("schedule", self.schedule, SCHEDULES)
        choose("train_split", self.train_split, TRAIN_SPLITS)
        choose("tta", self.tta, TTA)
        choose("precision", self.precision, PRECISIONS)
        check_device_name(self.device)
        choose("adversary", self.adversary, ADVERSARIES)
        choose("norm_statistics", self.norm_statistics, NORM_STATISTICS)
        choose("head_init", self.head_init, HEADS)
        choose("class_weights", self.class_weights, CLASS_WEIGHTS)
        choose("sampling", self.sampling, SAMPLINGS)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is {self.seed}", code="U12", expected="0 to 2^63 - 1")
        for name in ("batch_size", "microbatches", "evals_per_epoch", "validation_images"):
            _check(name, getattr(self, name), 1, None)
        for name in ("epochs", "adversary_steps", "checkpoint_steps", "cutout", "patience"):
            _check(name, getattr(self, name), 0, None)
        for name in ("nonfilter_lr", "bias_lr", "weight_decay", "max_grad_norm", "noise_std"):
            _check(name, getattr(self, name), 0, None)
        for name in ("consistency", "adversary_step", "adversary_ramp", "trades_weight"):
            _check(name, getattr(self, name), 0, None)
        _check("checkpoint_seconds", self.checkpoint_seconds, 0, None)
        for name in ("mixup", "cutmix"):
            _check(name, getattr(self, name), 0, None)
        for name in ("momentum", "warm_up", "label_smoothing", "ema"):
            _check(name, getattr(self, name), 0, 1)
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(
                f"learning_rate is {self.learning_rate}", code="T19", expected="a number above 0"
            )
        for name in ("body_lr", "layer_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} is {getattr(self, name)}",
                    code="T19",
                    expected=f"0 < {name} <= 1; freeze = 'body' keeps the body as it is",
                )
        if not 0 <= self.epsilon <= 1:
            raise UsageError(
                f"epsilon is {self.epsilon}",
                code="U03",
                expected="0 to 1: images have pixels in [0, 1]",
                hint=f"did you mean {self.epsilon:g}/255?" if self.epsilon > 1 else "",
            )
        if self.consistency and (not self.noise_std or self.adversary != "none"):
            raise UsageError(
                f"consistency is {self.consistency:g} with noise_std {self.noise_std:g} and "
                f"adversary {self.adversary}",
                code="T19",
                expected="noise_std above 0 and no adversary: it compares noisy copies",
            )
        if self.consistency and self.class_weights != "none":
            raise UsageError(
                "class_weights and consistency exclude each other",
                code="T19",
                hint='sampling = "balanced" works with consistency',
            )
        pairs = self.adversary != "none" or self.consistency
        if self.microbatches > 1 and pairs:
            raise UsageError(
                f"microbatches is {self.microbatches} with an adversary or consistency",
                code="T19",
                expected="microbatches = 1: these batches go through the network whole",
                hint="a smaller batch_size needs less memory, too",
            )
        if self.batch_size % self.microbatches:
            raise UsageError(
                f"{self.batch_size} images per update cannot be split into "
                f"{self.microbatches} equal parts",
                code="T19",
                expected="microbatches that divide batch_size",
                hint=f"batch_size = {-(-self.batch_size // self.microbatches) * self.microbatches}",
            )
        if pairs and (self.mixup or self.cutmix):
            raise UsageError(
                f"mixup is {self.mixup:g} and cutmix {self.cutmix:g} with an adversary or "
                "consistency",
                code="T19",
                expected="images of one class each",
                hint="cutout works with both",
            )
        if self.adversary != "none" and self.epsilon == 0:
            raise UsageError(
                f"adversary is {self.adversary} but epsilon is 0",
                code="U03",
                hint="give a budget, such as epsilon = 0.3 for MNIST",
            )

    def summary(self) -> str:
        """The hyper-parameters in words, for model cards and reports; idle ones are left out.

        Example:
            >>> TrainSettings(model="m", data="mnist", schedule="constant", ema=0.0).summary()
            'batches of 256, adamw, learning rate 0.004 (constant), weight decay 0.01'
        """
        schedule: str = self.schedule
        if schedule in ("one-cycle", "cosine"):
            schedule += f", warm-up {self.warm_up:g}"
        words = [
            f"batches of {self.batch_size}",
            self.optimizer,
            f"learning rate {self.learning_rate:g} ({schedule})",
        ]
        if self.optimizer == "muon" and self.nonfilter_lr:
            words.append(f"{self.nonfilter_lr:g} for all but filters")
        if self.optimizer == "muon" and self.bias_lr:
            words.append(f"{self.bias_lr:g} for biases")
        if self.optimizer in ("sgd", "muon"):
            words.append(f"momentum {self.momentum:g}")
        words.append(f"weight decay {self.weight_decay:g}")
        plain = TrainSettings(model=self.model, data=self.data)
        for name, label in (
            ("max_grad_norm", "gradient norm up to"),
            ("label_smoothing", "label smoothing"),
            ("ema", "moving average"),
            ("noise_std", "noise of"),
        ):
            if value := getattr(self, name):
                words.append(f"{label} {value:g}")
        adversary = ("epsilon", "adversary_", "trades_")
        for item in fields(self):
            value = getattr(self, item.name)
            idle = item.name.startswith(adversary) and self.adversary == "none"
            if item.name in _TOLD or idle or value == getattr(plain, item.name):
                continue
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            words.append(f"{item.name.replace('_', ' ')} {shown}")
        for item in fields(Augmentation):
            value = getattr(self.augment, item.name)
            if value != getattr(plain.augment, item.name):
                words.append(f"{item.name} {value if isinstance(value, str) else f'{value:g}'}")
        return ", ".join(words)


_TOLD = {
    *("model", "data", "preset", "train_split", "seed", "epochs", "device", "tta", "augment"),
    *("compile", "evals_per_epoch", "validation_images", "checkpoint_seconds", "checkpoint_steps"),
    *("batch_size", "optimizer", "learning_rate", "nonfilter_lr", "bias_lr", "weight_decay"),
    *("momentum", "schedule", "warm_up", "max_grad_norm", "label_smoothing", "ema", "noise_std"),
}
"""What `TrainSettings.summary` says in words of its own, or what does not change the network."""

RENAMED = {
    "accumulate": "microbatches",
    "clip": "max_grad_norm",
    "noise": "noise_std",
    "other_learning_rate": "nonfilter_lr",
    "points_per_epoch": "evals_per_epoch",
}
"""Former names of settings and their present ones: config files of earlier versions are read."""

RENAMED_PRESETS = {"faithful": "paper"}
"""Likewise, values of `TrainSettings.preset`."""


def _check(name: str, value: float, low: float, below: float | None) -> None:
    """Refuse numbers outside [low, below), NaN and infinity."""
    right = low <= value < (float("inf") if below is None else below)
    if not right:
        expected = f"{low} or more" if below is None else f"{low} <= {name} < {below}"
        raise UsageError(f"{name} is {value}", code="T19", expected=expected)


def settings_to_toml(settings: TrainSettings) -> str:
    """Every field, in the order of the class; `settings_from_toml` gives back an equal object.

    Example:
        >>> text = settings_to_toml(TrainSettings(model="mnist-conv1", data="mnist"))
        >>> text.splitlines()[:2]
        ['model = "mnist-conv1"', 'data = "mnist"']
    """
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Any) -> list[str]:
    hints = get_type_hints(type(settings))
    plain, tables = [], []
    for name, kind in hints.items():
        value = getattr(settings, name)
        if is_dataclass(kind):
            tables += ["", f"[{name}]", *_lines(value)]
        else:
            plain.append(f"{name} = {_written(float(value) if kind is float else value)}")
    return plain + tables


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def table_from_toml(text: str, *, where: object = "") -> dict[str, Any]:
    """The checked keys of a TOML text; keys that it does not name are not in the result.

    Args:
        text: TOML with the fields of `TrainSettings`, all or some.
        where: The file's name, for the error text.

    Raises:
        UsageError: Not TOML, an unknown key (with the closest), or a value of the wrong kind; the
            text names the line.
    """
    table = files.parse_toml(text, files.SETTINGS, where=where)
    return checked_table(table, TrainSettings, text=text, where=where)


def checked_table(
    table: Mapping[str, Any], kind: Any, *, text: str = "", where: object = "", above: str = ""
) -> dict[str, Any]:
    """The entries of `table`, each of the kind that the dataclass `kind` declares.

    Settings that were renamed are taken by their former names, too: see `RENAMED`.
    """
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    checked: dict[str, Any] = {}
    for written, value in table.items():
        place = place_of(where, text, written)
        key = RENAMED.get(written, written) if kind is TrainSettings else written
        if key in checked or (key != written and key in table):
            raise UsageError(
                f"{written} is the former name of {key}, which is given, too",
                code="U11",
                where=place,
            )
        try:
            choose("setting", key, known, code="U11")
        except UsageError as error:
            hint = f"{error.hint}"
            raise UsageError(
                f"unknown setting {above + key!r}", code="U11", where=place, hint=hint
            ) from None
        wanted = hints[key]
        if is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise UsageError(
                    f"{above}{key} is {value!r}", code="U11", where=place, expected=f"[{key}] table"
                )
            checked[key] = checked_table(value, wanted, text=text, where=where, above=f"{key}.")
        else:
            checked[key] = _converted(value, wanted, f"{above}{key}", place)
    if kind is TrainSettings and checked.get("preset") in RENAMED_PRESETS:
        checked["preset"] = RENAMED_PRESETS[checked["preset"]]
    return checked


def with_values(settings: TrainSettings, table: Mapping[str, Any]) -> TrainSettings:
    """`settings` with the entries of a checked table put in, nested tables field by field.

    Example:
        >>> settings = TrainSettings(model="mnist-conv1", data="mnist")
        >>> with_values(settings, {"epochs": 3, "augment": {"shift": 1}}).augment.shift
        1
    """
    changes = {
        key: replace(getattr(settings, key), **value) if isinstance(value, Mapping) else value
        for key, value in table.items()
    }
    return replace(settings, **changes)


def settings_from_toml(text: str, *, where: object = "") -> TrainSettings:
    r"""The settings that a complete TOML text describes.

    Raises:
        UsageError: As `table_from_toml`; also when ``model`` or ``data`` is missing.

    Example:
        >>> settings_from_toml('model = "mnist-conv1"\ndata = "mnist"\nepochs = 3').epochs
        3
        >>> settings_from_toml('model = "m"\ndata = "d"\nepoch = 3')
        Traceback (most recent call last):
        convscope.errors.UsageError: line 3: unknown setting 'epoch'
          fix: did you mean epochs?
    """
    table = table_from_toml(text, where=where)
    for name in ("model", "data"):
        if name not in table:
            raise UsageError(f"no {name} = ...", code="U11", where=where)
    base = TrainSettings(model=table["model"], data=table["data"])
    return with_values(base, table)


def read_settings(path: Path) -> TrainSettings:
    """The settings in a TOML file, such as the ``config.toml`` of a run folder."""
    return settings_from_toml(read_text(path), where=path)


def read_settings_table(path: Path) -> dict[str, Any]:
    """The settings that a TOML file names, checked; those that it leaves out are not in the result.

    Raises:
        UsageError: As `table_from_toml`, or the file is missing or no text file.
        ResourceError: It may not be read.
    """
    return table_from_toml(read_text(path), where=path)


def read_text(path: Path) -> str:
    """The text of a config file.

    Raises:
        UsageError: The file is missing, is a folder, a pipe or a device, is too large, or is not
            UTF-8.
        ResourceError: It may not be read.
    """
    return files.read_text(files.usable_path(path), files.SETTINGS)


def _converted(value: Any, wanted: Any, name: str, place: str) -> Any:
    if get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
        expected = "one of " + ", ".join(map(str, get_args(wanted)))
    elif wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is wanted:
        return value
    else:
        expected = {int: "a whole number", float: "a number", str: "text in quotes"}.get(
            wanted, str(wanted)
        )
    raise UsageError(f"{name} is {value!r}", code="U11", where=place, expected=expected)


def place_of(where: object, text: str, key: str) -> str:
    line = next(
        (
            i
            for i, line in enumerate(text.splitlines(), 1)
            if re.match(rf'\s*"?{re.escape(key)}\b', line)
        ),
        None,
    )
    return ", ".join(filter(None, [str(where), f"line {line}" if line else ""]))
