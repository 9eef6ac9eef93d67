"""A laboratory for convolutional image classifiers: train them, look inside them, fool them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convscope import (
        attacks,
        data,
        defenses,
        explanations,
        figures,
        models,
        results,
        robustness,
        training,
        visualizations,
    )
    from convscope.classifier import Classifier
    from convscope.data import open_dataset, read_image, select_images
    from convscope.models import load
    from convscope.probe import fast_paths
    from convscope.training import TrainSettings, evaluate, train

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "convscope.classifier",
    "TrainSettings": "convscope.training",
    "evaluate": "convscope.training",
    "fast_paths": "convscope.probe",
    "load": "convscope.models",
    "open_dataset": "convscope.data",
    "read_image": "convscope.data",
    "select_images": "convscope.data",
    "train": "convscope.training",
}
_PACKAGES = (
    "attacks",
    "data",
    "defenses",
    "explanations",
    "figures",
    "models",
    "reports",
    "results",
    "robustness",
    "scratch",
    "studies",
    "training",
    "visualizations",
)

__all__ = [
    "Classifier",
    "TrainSettings",
    "attacks",
    "data",
    "defenses",
    "evaluate",
    "explanations",
    "fast_paths",
    "figures",
    "load",
    "models",
    "open_dataset",
    "read_image",
    "results",
    "robustness",
    "select_images",
    "train",
    "training",
    "visualizations",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``convscope --help`` need not wait for torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return import_module(f"convscope.{name}")
    raise AttributeError(f"module 'convscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_PACKAGES})
