"""Recipes: by preset, the training settings of each family of networks.

``fast`` and ``long`` were found on the validation split (see ``docs/training.md`` and
``benchmarks/mnist_accuracy.py``).

Source:
    ``paper`` for digits is what is printed in
    S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September 2019:
    Adam, batches of 16, five epochs. For cifar-11x11 it trains what is asked for in
    "CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019, which tells no settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from convscope.data import DATASETS, Augmentation
from convscope.errors import choose
from convscope.models import MODELS
from convscope.training._settings import (
    RENAMED_PRESETS,
    TrainSettings,
    checked_table,
    with_values,
)

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """A preset: fields of `TrainSettings`, and what changes them.

    Later ones win: `general`, or the network's own of `families`; then `color`, then `few_images`.

    Attributes:
        about: One sentence.
        general: For networks without numbers of their own.
        families: By `ModelSpec.recipe`, in place of `general`.
        color: Changes for networks that take color images.
        few_images: Changes for data sets with few images (`DatasetSpec.few_images`).
        further: Whether it is for networks that come with weights.
    """

    about: str
    general: Values
    families: Mapping[str, Values] = field(default_factory=dict)
    color: Values = field(default_factory=dict)
    few_images: Values = field(default_factory=dict)
    further: bool = False


_AFFINE = Augmentation(degrees=12, scale=0.1, shear=0.15, translate=2.5)
_GENTLE = Augmentation(degrees=8, scale=0.08, shear=0.1, translate=1.5)

_PAPER: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 16,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "weight_decay": 0.0,
    "ema": 0.0,
    "precision": "fp32",
}
_SHIFTED = Augmentation(shift=1)
_QUICK: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 128,
    "learning_rate": 0.01,
    "ema": 0.97,
    "augment": _SHIFTED,
}
_ROBUST: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "learning_rate": 0.003,
    "weight_decay": 0.0,
    "ema": 0.995,
    "adversary": "pgd",
    "epsilon": 0.3,
    "adversary_steps": 7,
    "adversary_ramp": 3.0,
}
_SMOOTH: dict[str, Any] = {
    "epochs": 36,
    "batch_size": 128,
    "learning_rate": 0.003,
    "ema": 0.999,
    "noise_std": 0.5,
    "consistency": 10.0,
    "augment": Augmentation(degrees=5, scale=0.05, translate=1.0),
}
_DIGITS: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "augment": Augmentation(degrees=8, scale=0.08, translate=1.5),
}
_DIGITS_MUON: dict[str, Any] = {
    "batch_size": 125,
    "optimizer": "muon",
    "learning_rate": 0.08,
    "nonfilter_lr": 0.05,
    "momentum": 0.6,
    "weight_decay": 0.0005,
    "warm_up": 0.1,
    "augment": _GENTLE,
    "evals_per_epoch": 1,
}
"""Chosen on validation images in runs of 3 and 5 epochs; see ``docs/training.md``."""

_CIFAR: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 250,
    "learning_rate": 0.0015,
    "warm_up": 0.3,
    "max_grad_norm": 1.0,
    "augment": Augmentation(flip="alternating", shift=2, padding="reflection"),
}
_CIFAR_MUON: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 500,
    "optimizer": "muon",
    "learning_rate": 0.12,
    "nonfilter_lr": 0.053,
    "momentum": 0.6,
    "weight_decay": 0.0,
    "label_smoothing": 0.2,
    "augment": Augmentation(flip="alternating", shift=2, padding="reflection"),
}

_BEST: dict[str, Any] = {
    **_CIFAR_MUON,
    "epochs": 10,
    "batch_size": 250,
    "learning_rate": 0.1,
    "nonfilter_lr": 0.05,
    "bias_lr": 13.0,
    "ema": 0.0,
    "warm_up": 0.0,
    "tta": "mirror-shift",
    "evals_per_epoch": 1,
    "checkpoint_seconds": 60.0,
}

_BEST_QUICK: dict[str, Any] = {
    **_BEST,
    "learning_rate": 0.11,
    "nonfilter_lr": 0.16,
    "epochs": 4,
    "tta": "mirror",
}

_LARGE_FILTERS: dict[str, Any] = {
    **_CIFAR_MUON,
    "epochs": 30,
    "batch_size": 250,
    "learning_rate": 0.16,
    "nonfilter_lr": 0.1,
    "bias_lr": 6.0,
    "label_smoothing": 0.05,
    "ema": 0.0,
    "warm_up": 0.1,
    "tta": "mirror-shift",
    "evals_per_epoch": 1,
}
"""Chosen on validation images in runs of 6 epochs; see ``docs/training.md``."""

_INCEPTION: dict[str, Any] = {**_CIFAR_MUON, "warm_up": 0.1, "evals_per_epoch": 1}

_DEEP: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 128,
    "learning_rate": 0.006,
    "weight_decay": 0.02,
    "max_grad_norm": 1.0,
    "augment": Augmentation(flip="random", shift=3),
}

_RESNET: dict[str, Any] = {
    "epochs": 36,
    "batch_size": 125,
    "optimizer": "muon",
    "learning_rate": 0.08,
    "nonfilter_lr": 0.05,
    "momentum": 0.6,
    "weight_decay": 0.0005,
    "warm_up": 0.1,
    "label_smoothing": 0.1,
    "ema": 0.0,
    "augment": Augmentation(flip="alternating", shift=3, padding="reflection"),
    "evals_per_epoch": 1,
}
"""Chosen on validation images in runs of 8 epochs: 88.2 %, SGD 86.8 %."""

_SMALL_STEPS: dict[str, Any] = {
    "batch_size": 128,
    "learning_rate": 0.003,
    "max_grad_norm": 1.0,
}
_COLOR_PAPER: dict[str, Any] = {**_PAPER, "epochs": 20, "batch_size": 100}

_FINETUNE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "body_lr": 0.1,
    "schedule": "cosine",
    "warm_up": 0.1,
    "max_grad_norm": 1.0,
    # The cosine ends at zero: an average would only hold back runs of a few dozen steps.
    "ema": 0.0,
    # bfloat16 takes longer where convolutions are depthwise: 4.4 s a step of MobileNetV2, not 2.7.
    "precision": "fp32",
    "norm_statistics": "frozen",
    "head_init": "probe",
    "augment": Augmentation(flip="random", crop=0.5, degrees=10),
    "evals_per_epoch": 1,
    "checkpoint_seconds": 60.0,
}
_RESNET_PAPER: dict[str, Any] = {
    "epochs": 164,  # 64,000 updates on 50,000 images
    "batch_size": 128,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "step",
    "ema": 0.0,
    "precision": "fp32",
    "train_split": "train+validation",
    "augment": Augmentation(flip="random", shift=4),
    "evals_per_epoch": 1,
}
"""He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.

They report 91.25 % for 20 layers. We differ in the weights' first values (ours, not He's rule for
ReLU), in the normalization (mean and standard deviation per channel, not a mean per pixel), and in
the decay, which spares biases and normalization.
"""

RECIPES: dict[str, RecipeSpec] = {
    "fast": RecipeSpec(
        about="seconds to a minute",
        general={**_SMALL_STEPS, "epochs": 10},
        families={
            "mnist-conv1": _QUICK,
            "mnist-conv2": _QUICK,
            "mnist-conv2-fc": {**_QUICK, "epochs": 2, "learning_rate": 0.004},
            "mnist-conv2-fc-bn": {**_QUICK, "epochs": 2},
            "mnist-tiny": {**_DIGITS_MUON, "epochs": 5, "learning_rate": 0.12, "bias_lr": 1.0},
            "mnist-best": {**_DIGITS_MUON, "epochs": 3, "bias_lr": 1.0},
            "cifar-11x11": _CIFAR,
            "cifar-11x11-bn": {**_CIFAR_MUON, "epochs": 4},
            "cifar-resnet20": _DEEP,
            "cifar-vgg": {**_DEEP, "epochs": 7, "learning_rate": 0.003},
            "cifar-inception": {**_INCEPTION, "epochs": 6},
            "cifar-best": _BEST,
            "cifar-best-quick": _BEST_QUICK,
        },
        few_images=_DIGITS,
    ),
    "long": RecipeSpec(
        about="more accurate",
        general={**_SMALL_STEPS, "epochs": 30},
        families={
            "mnist-conv1": {**_QUICK, "epochs": 10},
            "mnist-conv2": {**_QUICK, "epochs": 12, "augment": _AFFINE},
            "mnist-conv2-fc": {"epochs": 12, "learning_rate": 0.004, "augment": _AFFINE},
            "mnist-conv2-fc-bn": {
                **_DIGITS_MUON,
                "epochs": 20,
                "learning_rate": 0.06,
                "augment": _AFFINE,
            },
            "mnist-tiny": {**_DIGITS_MUON, "epochs": 24, "learning_rate": 0.1, "bias_lr": 1.0},
            "mnist-best": {**_DIGITS_MUON, "epochs": 24, "bias_lr": 1.0, "augment": _AFFINE},
            "cifar-11x11": {**_CIFAR, "epochs": 30},
            "cifar-11x11-bn": _LARGE_FILTERS,
            "cifar-resnet20": _RESNET,
            "cifar-vgg": {**_DEEP, "epochs": 20, "learning_rate": 0.003},
            "cifar-inception": {**_INCEPTION, "epochs": 20},
            "cifar-best": {**_BEST, "epochs": 16},
            "cifar-best-quick": {**_BEST_QUICK, "epochs": 9},
        },
        few_images={**_DIGITS, "epochs": 60},
    ),
    "paper": RecipeSpec(
        about="as in the report, homework or paper that the network is from",
        general=_PAPER,
        families={
            "cifar-11x11": _COLOR_PAPER,
            "cifar-11x11-bn": _COLOR_PAPER,
            "cifar-resnet20": _RESNET_PAPER,
            "cifar-inception": _COLOR_PAPER,
            "cifar-vgg": _COLOR_PAPER,
            "cifar-best": _COLOR_PAPER,
            "cifar-best-quick": _COLOR_PAPER,
        },
    ),
    "robust": RecipeSpec(
        about="against PGD in an L-infinity ball of 0.3, for color of 8/255",
        general={**_SMALL_STEPS, **_ROBUST},
        color={"epsilon": 8 / 255, "augment": _CIFAR["augment"]},
        few_images={**_DIGITS, "epochs": 60},
    ),
    "smooth": RecipeSpec(
        about="with Gaussian noise of 0.5, for color of 0.25; for randomized smoothing",
        general={**_SMALL_STEPS, **_SMOOTH},
        color={
            "noise_std": 0.25,
            "consistency": 0.0,
            "epochs": 10,
            "ema": 0.99,
            "augment": _CIFAR["augment"],
        },
        few_images={**_DIGITS, "epochs": 60},
    ),
    "finetune": RecipeSpec(
        about="for a network that comes with weights: new head first, then all layers, gently",
        general=_FINETUNE,
        further=True,
    ),
}
"""Presets by name."""

PRESETS = tuple(RECIPES)


def recipe(
    model: str,
    *,
    data: str = "mnist",
    preset: str = "fast",
    overrides: Mapping[str, Any] | None = None,
    **more: Any,
) -> TrainSettings:
    """The settings for a network, a data set and a preset.

    Args:
        model: Name of the network. Its `ModelSpec` says which numbers are its own and whether it
            takes color images; other networks get a careful general recipe.
        data: Name of the data set; one with few images, such as ``digits``, gets more epochs.
        preset: ``"fast"`` (seconds to a minute), ``"long"`` (more accurate), ``"paper"`` (as in the
            report, homework or paper that the network is from; ``"faithful"`` is its former name),
            ``"robust"`` (against PGD in an L-infinity ball: 0.3 for digits, 8/255 for color),
            ``"smooth"`` (with noise of 0.5 or 0.25, for randomized smoothing) or ``"finetune"``
            (for networks that come with weights).
        overrides: Fields of `TrainSettings` to change; fields of nested tables too, as in
            ``{"augment": {"degrees": 5}}``.
        **more: The same as `overrides`.

    Returns:
        Complete settings.

    Raises:
        UsageError: An unknown preset or setting (with the closest one), or a bad value.

    Example:
        >>> recipe("mnist-conv2-fc", preset="long", seed=3).epochs
        12
    """
    preset = RENAMED_PRESETS.get(preset, preset)
    spec = RECIPES[choose("preset", preset, RECIPES)]
    network = MODELS.spec(model) if model in MODELS else None
    family = network.recipe if network is not None else ""
    values = dict(spec.families.get(family, spec.general))
    if network is not None and network.color:
        values.update(spec.color)
    if data in DATASETS and DATASETS.spec(data).few_images:
        values.update(spec.few_images)
    settings = TrainSettings(model=model, data=data, preset=preset, **values)
    changes = {**(overrides or {}), **more}
    plain = {k: asdict(v) if isinstance(v, Augmentation) else v for k, v in changes.items()}
    wanted = checked_table(plain, TrainSettings)
    return with_values(settings, wanted)
