"""Training: settings in, a run folder and a classifier out; killed and resumed without a trace."""

from __future__ import annotations

from convscope.training._batches import fitting_batch, training_data
from convscope.training._evaluate import Evaluation, Examples, evaluate
from convscope.training._events import (
    Event,
    Measured,
    Saved,
    Started,
    Stepped,
    Warned,
    print_progress,
)
from convscope.training._process import Interrupted, Terminated, tune_allocator
from convscope.training._recipes import PRESETS, RECIPES, RecipeSpec, recipe
from convscope.training._run_folder import check_run_folder, read_history
from convscope.training._settings import (
    TrainSettings,
    read_settings,
    read_settings_table,
    settings_from_toml,
    settings_to_toml,
    with_values,
)
from convscope.training._train import TrainResult, train

__all__ = [
    "PRESETS",
    "RECIPES",
    "Evaluation",
    "Event",
    "Examples",
    "Interrupted",
    "Measured",
    "RecipeSpec",
    "Saved",
    "Started",
    "Stepped",
    "Terminated",
    "TrainResult",
    "TrainSettings",
    "Warned",
    "check_run_folder",
    "evaluate",
    "fitting_batch",
    "print_progress",
    "read_history",
    "read_settings",
    "read_settings_table",
    "recipe",
    "settings_from_toml",
    "settings_to_toml",
    "train",
    "training_data",
    "tune_allocator",
    "with_values",
]
