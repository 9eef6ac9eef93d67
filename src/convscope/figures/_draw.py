"""One door for all results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from convscope.attacks import AdversarialPatch, AttackResult, UniversalPerturbation
from convscope.errors import UsageError
from convscope.explanations import Explanation, FeatureMaps, Filters, Trust
from convscope.figures._attacks import draw_attack, draw_patch, draw_universal_noise
from convscope.figures._evaluation import draw_evaluation
from convscope.figures._explanations import draw_explanation, draw_trust
from convscope.figures._layers import draw_feature_maps, draw_filters
from convscope.figures._robustness import (
    draw_certification,
    draw_defenses,
    draw_model_transfer,
    draw_noise_transfer,
    draw_robustness_curve,
    draw_robustness_evaluation,
    draw_transformation_robustness,
)
from convscope.figures._scratch import draw_addition, draw_training_curve
from convscope.figures._training import draw_network, draw_training
from convscope.figures._visualizations import draw_visualization
from convscope.models import NetworkSummary
from convscope.robustness import (
    Certification,
    DefenseComparison,
    ModelTransfer,
    NoiseTransfer,
    RobustnessCurve,
    RobustnessEvaluation,
    TransformationRobustness,
)
from convscope.scratch import Addition, TrainingCurve
from convscope.training import Evaluation, TrainResult
from convscope.visualizations import Visualization

FIGURES: dict[type, Callable[[Any], Figure]] = {
    TrainResult: draw_training,
    Evaluation: draw_evaluation,
    Filters: draw_filters,
    FeatureMaps: draw_feature_maps,
    Explanation: draw_explanation,
    Trust: draw_trust,
    Visualization: draw_visualization,
    AttackResult: draw_attack,
    UniversalPerturbation: draw_universal_noise,
    AdversarialPatch: draw_patch,
    NetworkSummary: draw_network,
    RobustnessCurve: draw_robustness_curve,
    RobustnessEvaluation: draw_robustness_evaluation,
    TransformationRobustness: draw_transformation_robustness,
    NoiseTransfer: draw_noise_transfer,
    ModelTransfer: draw_model_transfer,
    Certification: draw_certification,
    DefenseComparison: draw_defenses,
    Addition: draw_addition,
    TrainingCurve: draw_training_curve,
}


def draw(result: Any) -> Figure:
    """The figure of any result of this package.

    Args:
        result: An instance of a class in `FIGURES`.

    Returns:
        A figure that belongs to no window: ``.savefig("x.png")`` writes it, a notebook shows it.

    Raises:
        UsageError: U01 if there is no figure for such a thing.

    Example:
        >>> import torch
        >>> from convscope.explanations import Filters
        >>> result = Filters(layer="conv1", weights=torch.rand(4, 1, 3, 3),
        ...     pictures=torch.rand(4, 1, 3, 3), low=torch.zeros(4), high=torch.ones(4),
        ...     seen_map=None, columns=4)
        >>> len(draw(result).axes)
        1
    """
    for kind in type(result).__mro__:
        if kind in FIGURES:
            return FIGURES[kind](result)
    known = ", ".join(sorted(kind.__name__ for kind in FIGURES))
    raise UsageError(
        f"there is no figure for a {type(result).__name__}", code="U01", expected=f"one of {known}"
    )
