"""The figure of any result: a registry from result types to functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from matplotlib.figure import Figure

from convscope._registry import Registry, Spec
from convscope.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FigureSpec(Spec):
    """What `FIGURES` knows of a figure.

    Attributes:
        package: The package whose type of this name is drawn; empty: any type of this name.
    """

    package: str = ""


FIGURES: Registry[Callable[..., Figure], FigureSpec] = Registry(
    "convscope.figures",
    FigureSpec,
    {
        "Predictions": FigureSpec(
            "_predictions:draw_predictions",
            "Images in rows, each beside bars of the probabilities of its likeliest classes.",
            package="convscope.classifier",
        ),
        "TrainResult": FigureSpec(
            "_curve:draw_training",
            "Loss, accuracy and error over the epochs of a run.",
            package="convscope.training",
        ),
        "Evaluation": FigureSpec(
            "_evaluation:draw_evaluation",
            "Confusions, accuracy of each class, and calibration, in one figure.",
            package="convscope.training",
        ),
        "LearningRateCurve": FigureSpec(
            "_curve:draw_learning_rates",
            "Loss against a learning rate that climbs, with the rate to begin with.",
            package="convscope.training",
        ),
        "SearchResult": FigureSpec(
            "_search:draw_search",
            "Values by trial, loss curves of all trials, importance and parallel coordinates.",
            package="convscope.training",
        ),
        "TransferResult": FigureSpec(
            "_evaluation:draw_transfer",
            "Confusions, accuracy of each class, and what cross-validation chose, in one figure.",
            package="convscope.transfer",
        ),
        "Filters": FigureSpec(
            "_layers:draw_filters",
            "All filters of a layer on one sheet.",
            package="convscope.explanations",
        ),
        "FeatureMaps": FigureSpec(
            "_layers:draw_feature_maps",
            "One image and its maps in every layer.",
            package="convscope.explanations",
        ),
        "SelectedMaps": FigureSpec(
            "_layers:draw_selected_maps",
            "One image, and the most interesting maps of an early, a middle and a late layer.",
            package="convscope.explanations",
        ),
        "Explanation": FigureSpec(
            "_explanations:draw_explanation",
            "Images in rows, each with its maps, alone and laid over it, a row on one scale.",
            package="convscope.explanations",
        ),
        "Trust": FigureSpec(
            "_explanations:draw_trust",
            "Three panels: deletion, insertion, and randomization of weights.",
            package="convscope.explanations",
        ),
        "Visualization": FigureSpec(
            "_visualizations:draw_visualization",
            "The images of all units with their controls, and the ascent.",
            package="convscope.visualizations",
        ),
        "AttackResult": FigureSpec(
            "_attacks:draw_attack",
            "Rows of original, change at full range, adversarial, and the likeliest classes.",
            package="convscope.attacks",
        ),
        "UniversalPerturbation": FigureSpec(
            "_attacks:draw_universal_noise",
            "The noise of each class with its success, and error and success over the steps.",
            package="convscope.attacks",
        ),
        "AdversarialPatch": FigureSpec(
            "_attacks:draw_patch",
            "Patches, an image with each, and how often they work against a gray square.",
            package="convscope.attacks",
        ),
        "LogitTrajectory": FigureSpec(
            "_visualizations:draw_logit_trajectory",
            "The logits of every class over the steps, a chart per unit that is maximized.",
            package="convscope.visualizations",
        ),
        "NetworkSummary": FigureSpec(
            "_layers:draw_network",
            "Share of the parameters and of the multiply-adds of each layer that has any.",
            package="convscope.models",
        ),
        "RobustnessCurve": FigureSpec(
            "_robustness:draw_robustness_curve",
            "Accuracy against the size of the perturbation, with its 95 % interval.",
            package="convscope.robustness",
        ),
        "RobustnessEvaluation": FigureSpec(
            "_robustness:draw_robustness_evaluation",
            "Robust accuracy after each attack of the suite.",
            package="convscope.robustness",
        ),
        "TransformationRobustness": FigureSpec(
            "_robustness:draw_transformation_robustness",
            "How often adversarials still fool after transformations of the image.",
            package="convscope.robustness",
        ),
        "Survival": FigureSpec(
            "_survival:draw_survival",
            "Probability of the target after each transformation: plain against made to survive.",
            package="convscope.robustness",
        ),
        "NoiseTransfer": FigureSpec(
            "_robustness:draw_noise_transfer",
            "Each perturbation, two other images with it, and how often it works.",
            package="convscope.robustness",
        ),
        "ModelTransfer": FigureSpec(
            "_robustness:draw_model_transfer",
            "The share of adversarials of one network that fool another.",
            package="convscope.robustness",
        ),
        "Certification": FigureSpec(
            "_robustness:draw_certification",
            "Certified accuracy over the radius.",
            package="convscope.robustness",
        ),
        "DefenseComparison": FigureSpec(
            "_robustness:draw_defenses",
            "Defenses side by side: without attack, and under attacks that ignore or know them.",
            package="convscope.robustness",
        ),
        "Addition": FigureSpec(
            "_scratch:draw_addition",
            "An addition on paper, with the hidden units of the network bit by bit.",
            package="convscope.scratch",
        ),
        "TrainingCurve": FigureSpec(
            "_scratch:draw_training_curve",
            "Loss and error of every batch, and the validation error after every epoch.",
            package="convscope.scratch",
        ),
    },
)
"""Figures by the name of the result type that they draw; more can be registered at run time."""


def draw(result: Any) -> Figure:
    """The figure of any result of this package.

    Args:
        result: An instance of a class whose name is in `FIGURES`, or of a subclass.

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
    name = _figure_name(result)
    if name is None:
        raise UsageError(
            f"there is no figure for a {type(result).__name__}",
            code="U01",
            expected=f"one of {', '.join(sorted(FIGURES))}",
        )
    return FIGURES[name](result)


def has_figure(result: Any) -> bool:
    """Whether `draw` has a figure for a result.

    Example:
        >>> has_figure("a text")
        False
    """
    return _figure_name(result) is not None


def _figure_name(result: Any) -> str | None:
    for kind in type(result).__mro__:
        name = kind.__name__
        if name in FIGURES:
            package = FIGURES.spec(name).package
            if not package or getattr(import_module(package), name) is kind:
                return name
    return None
