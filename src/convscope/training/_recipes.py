"""Recipes: for each network the settings of the documents, a fast one and a long one.

Sources of the numbers: ``faithful`` is what the course documents printed; ``fast`` and ``long``
were found on the validation split (see ``docs/training.md`` and ``benchmarks/mnist_accuracy.py``).
"""

from collections.abc import Mapping
from typing import Any

from convscope.data import Augmentation
from convscope.errors import choose
from convscope.training._settings import TrainSettings
from convscope.training._toml import checked_table, with_values

PRESETS = ("fast", "long", "faithful")

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
_QUICK: dict[str, Any] = {"epochs": 3, "learning_rate": 0.01}
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

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "mnist-conv1": {
        "fast": _QUICK,
        "long": {**_QUICK, "epochs": 10, "augment": Augmentation(shift=1)},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2": {
        "fast": _QUICK,
        "long": {**_QUICK, "epochs": 12, "augment": _AFFINE},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2-fc": {
        "fast": {"epochs": 2, "learning_rate": 0.004},
        "long": {"epochs": 12, "learning_rate": 0.004, "augment": _AFFINE},
        "faithful": _FAITHFUL,
    },
    "mnist-conv2-fc-bn": {
        "fast": {"epochs": 2, "learning_rate": 0.01},
        "long": {"epochs": 12, "learning_rate": 0.01, "augment": _AFFINE},
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
        preset: ``"fast"`` (seconds to a minute), ``"long"`` (more accurate) or ``"faithful"`` (as
            in the course documents).
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
    values = dict(base[preset])
    if data == "digits" and preset != "faithful":
        values.update(_DIGITS, epochs=_DIGITS["epochs"] * (2 if preset == "long" else 1))
    settings = TrainSettings(model=model, data=data, preset=preset, **values)
    wanted = checked_table({**(overrides or {}), **more}, TrainSettings)
    return with_values(settings, wanted)
