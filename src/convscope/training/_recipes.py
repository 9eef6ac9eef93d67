"""Recipes: for each network the settings of the documents, a fast one and a long one.

Sources of the numbers: ``faithful`` is what the course documents printed; ``fast`` and ``long``
were found on the validation split (see ``docs/training.md`` and ``benchmarks/mnist_accuracy.py``).
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from convscope.data import Augmentation
from convscope.errors import choose
from convscope.training._settings import TrainSettings, checked_table, with_values

PRESETS = ("fast", "long", "faithful", "robust", "smooth")

_AFFINE = Augmentation(degrees=12, scale=0.1, shear=0.15, translate=2.5)

_FAITHFUL: dict[str, Any] = {
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
    "noise": 0.5,
    "consistency": 10.0,
    "augment": Augmentation(degrees=5, scale=0.05, translate=1.0),
}
_DIGITS: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 0.005,
    "augment": Augmentation(degrees=8, scale=0.08, translate=1.5),
}
_CIFAR: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 250,
    "learning_rate": 0.0015,
    "warm_up": 0.3,
    "clip": 1.0,
    "augment": Augmentation(flip="alternating", shift=2, padding="reflection"),
}
_CIFAR_MUON: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 500,
    "optimizer": "muon",
    "learning_rate": 0.12,
    "other_learning_rate": 0.053,
    "momentum": 0.6,
    "weight_decay": 0.0,
    "label_smoothing": 0.2,
    "augment": Augmentation(flip="alternating", shift=2, padding="reflection"),
}

_HARDENED: dict[str, dict[str, Any]] = {"robust": _ROBUST, "smooth": _SMOOTH}

_DEEP: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 128,
    "learning_rate": 0.006,
    "weight_decay": 0.02,
    "clip": 1.0,
    "augment": Augmentation(flip="random", shift=3),
}
_COLOR: dict[str, dict[str, Any]] = {
    "robust": {"epsilon": 8 / 255, "augment": _CIFAR["augment"]},
    "smooth": {
        "noise": 0.25,
        "consistency": 0.0,
        "epochs": 10,
        "ema": 0.99,
        "augment": _CIFAR["augment"],
    },
}

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "mnist-conv1": {
        "fast": _QUICK,
        "long": {**_QUICK, "epochs": 10},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2": {
        "fast": _QUICK,
        "long": {**_QUICK, "epochs": 12, "augment": _AFFINE},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2-fc": {
        "fast": {**_QUICK, "epochs": 2, "learning_rate": 0.004},
        "long": {"epochs": 12, "learning_rate": 0.004, "augment": _AFFINE},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2-fc-bn": {
        "fast": {**_QUICK, "epochs": 2},
        "long": {"epochs": 24, "learning_rate": 0.01, "augment": _AFFINE},
        "faithful": _FAITHFUL,
    },
    "cifar-11x11": {
        "fast": _CIFAR,
        "long": {**_CIFAR, "epochs": 30},
        "faithful": {**_FAITHFUL, "epochs": 20, "batch_size": 100},
    },
    "cifar-11x11-bn": {
        "fast": {**_CIFAR_MUON, "epochs": 4},
        "long": _CIFAR_MUON,
        "faithful": {**_FAITHFUL, "epochs": 20, "batch_size": 100},
    },
    "cifar-resnet20": {
        "fast": _DEEP,
        "long": {**_DEEP, "epochs": 30},
        "faithful": {**_FAITHFUL, "epochs": 20, "batch_size": 100},
    },
    "cifar-vgg": {
        "fast": {**_DEEP, "epochs": 7, "learning_rate": 0.003},
        "long": {**_DEEP, "epochs": 20, "learning_rate": 0.003},
        "faithful": {**_FAITHFUL, "epochs": 20, "batch_size": 100},
    },
}
_GENERAL: dict[str, dict[str, Any]] = {
    "fast": {"epochs": 10, "batch_size": 128, "learning_rate": 0.003, "clip": 1.0},
    "long": {"epochs": 30, "batch_size": 128, "learning_rate": 0.003, "clip": 1.0},
    "faithful": _FAITHFUL,
}


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
        model: Name of the network. Networks without a recipe of their own get a careful general
            one.
        data: Name of the data set; ``digits`` has few images and gets more epochs.
        preset: ``"fast"`` (seconds to a minute), ``"long"`` (more accurate), ``"faithful"`` (as in
            the course documents), ``"robust"`` (against PGD in an L-infinity ball: 0.3 for
            digits, 8/255 for color) or ``"smooth"`` (with noise of 0.5 or 0.25, for randomized
            smoothing).
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
    choose("preset", preset, PRESETS)
    base = RECIPES.get(model) or RECIPES.get(model.removesuffix("-bn")) or _GENERAL
    if preset in _HARDENED:
        values = {**_GENERAL["fast"], **_HARDENED[preset]}
        if model.startswith("cifar"):
            values.update(_COLOR[preset])
    else:
        values = dict(base[preset])
    if data == "digits" and preset != "faithful":
        values.update(_DIGITS, epochs=_DIGITS["epochs"] * (1 if preset == "fast" else 2))
    settings = TrainSettings(model=model, data=data, preset=preset, **values)
    changes = {**(overrides or {}), **more}
    plain = {k: asdict(v) if isinstance(v, Augmentation) else v for k, v in changes.items()}
    wanted = checked_table(plain, TrainSettings)
    return with_values(settings, wanted)
