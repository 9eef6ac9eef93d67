"""Training: settings in, a run folder and a classifier out; killed and resumed without a trace."""

from __future__ import annotations

from convscope.training._batches import fitting_batch, training_data
from convscope.training._callbacks import (
    WRITERS,
    MLflowWriter,
    TensorBoardWriter,
    WandbWriter,
    writers_of,
)
from convscope.training._evaluate import (
    AccuracyJudging,
    Evaluation,
    Examples,
    accuracy_of,
    evaluate,
)
from convscope.training._events import (
    Event,
    Measured,
    Saved,
    Started,
    Stepped,
    Warned,
    print_progress,
)
from convscope.training._find_rate import LearningRateCurve, find_learning_rate
from convscope.training._flops import forward_flops
from convscope.training._process import Interrupted, Terminated, tune_allocator
from convscope.training._recipes import PRESETS, RECIPES, RecipeSpec, recipe
from convscope.training._run_folder import check_run_folder, read_history
from convscope.training._search import overrides_of, search
from convscope.training._search_importance import Importance, importance
from convscope.training._search_space import (
    Dimension,
    check_space,
    read_space,
    space_from_table,
    with_parameters,
)
from convscope.training._search_trials import SearchResult, Trial
from convscope.training._settings import (
    TrainSettings,
    read_settings,
    read_settings_table,
    settings_from_toml,
    settings_to_toml,
    with_values,
)
from convscope.training._stopping import best_row
from convscope.training._train import TrainResult, train

__all__ = [
    "PRESETS",
    "RECIPES",
    "WRITERS",
    "AccuracyJudging",
    "Dimension",
    "Evaluation",
    "Event",
    "Examples",
    "Importance",
    "Interrupted",
    "LearningRateCurve",
    "MLflowWriter",
    "Measured",
    "RecipeSpec",
    "Saved",
    "SearchResult",
    "Started",
    "Stepped",
    "TensorBoardWriter",
    "Terminated",
    "TrainResult",
    "TrainSettings",
    "Trial",
    "WandbWriter",
    "Warned",
    "accuracy_of",
    "best_row",
    "check_run_folder",
    "check_space",
    "evaluate",
    "find_learning_rate",
    "fitting_batch",
    "forward_flops",
    "importance",
    "overrides_of",
    "print_progress",
    "read_history",
    "read_settings",
    "read_settings_table",
    "read_space",
    "recipe",
    "search",
    "settings_from_toml",
    "settings_to_toml",
    "space_from_table",
    "train",
    "training_data",
    "tune_allocator",
    "with_parameters",
    "with_values",
    "writers_of",
]
