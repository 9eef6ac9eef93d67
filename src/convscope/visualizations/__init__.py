"""Visualizations of what a network learned: images that maximize its classes and neurons.

`VISUALIZATIONS` are the methods; each optimizes images by one of the `VISUALIZATION_RECIPES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convscope._registry import Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.visualizations._images import (
        chosen_recipe,
        class_images,
        nearest,
        neuron_images,
    )
    from convscope.visualizations._priors import fourier, pca, spectrum, stationarity
    from convscope.visualizations._problem import Recipe
    from convscope.visualizations._recipes import (
        Jitter,
        gaussian_gradient,
        l2_blur,
        noise_adam,
        zero_l2,
    )
    from convscope.visualizations._result import (
        Control,
        HeldOutEvaluation,
        Nearest,
        Visualization,
    )
    from convscope.visualizations._trajectory import LogitTrajectory, logit_trajectory
    from convscope.visualizations._units import At, UnitSelection

__all__ = [
    "VISUALIZATIONS",
    "VISUALIZATION_RECIPES",
    "At",
    "Control",
    "HeldOutEvaluation",
    "Jitter",
    "LogitTrajectory",
    "Nearest",
    "Recipe",
    "RecipeSpec",
    "UnitSelection",
    "Visualization",
    "chosen_recipe",
    "class_images",
    "fourier",
    "gaussian_gradient",
    "l2_blur",
    "logit_trajectory",
    "nearest",
    "neuron_images",
    "noise_adam",
    "pca",
    "spectrum",
    "stationarity",
    "zero_l2",
]


@dataclass(frozen=True, kw_only=True)
class RecipeSpec(Spec):
    """What `VISUALIZATION_RECIPES` knows of a recipe.

    Attributes:
        needs_reference: Whether it learns from real images.
    """

    needs_reference: bool = False


VISUALIZATIONS: Registry[Callable[..., Visualization], Spec] = Registry(
    "convscope.visualizations",
    Spec,
    {
        "class-images": Spec(
            "_images:class_images",
            "Images that raise one logit each: what the network takes for a member of the class.",
        ),
        "neuron-images": Spec(
            "_images:neuron_images",
            'Images that raise units of any layer: ``neuron_images(classifier, "pool2:0-9")``.',
        ),
    },
)


VISUALIZATION_RECIPES: Registry[Callable[..., Recipe], RecipeSpec] = Registry(
    "convscope.visualizations",
    RecipeSpec,
    {
        "gaussian-gradient": RecipeSpec(
            "_recipes:gaussian_gradient",
            "Ascend a blurred gradient from noise around mid-gray; the blur grows.",
        ),
        "l2-blur": RecipeSpec(
            "_recipes:l2_blur",
            "Ascend the normalized gradient of activation minus an L2 penalty; blur now and then.",
        ),
        "zero-l2": RecipeSpec(
            "_recipes:zero_l2",
            "Start from a black image; Adam on activation minus an L2 penalty.",
        ),
        "noise-adam": RecipeSpec(
            "_recipes:noise_adam",
            "Start from N(0.5, 0.05); Adam on the activation alone.",
        ),
        "pca": RecipeSpec(
            "_priors:pca",
            "Principal axes of real images: best where objects sit in the same place.",
            needs_reference=True,
        ),
        "spectrum": RecipeSpec(
            "_priors:spectrum",
            "Magnitude spectrum and colors of real images: best where objects may sit anywhere.",
            needs_reference=True,
        ),
        "fourier": RecipeSpec(
            "_priors:fourier",
            "Without data: amplitudes fall as 1 / frequency, colors of photographs, random views.",
        ),
    },
)
"""Recipes by name; each is a function of its settings: ``VISUALIZATION_RECIPES["pca"](steps=50)``.
"""


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_images": "chosen_recipe class_images nearest neuron_images",
            "_priors": "fourier pca spectrum stationarity",
            "_problem": "Recipe",
            "_recipes": "Jitter gaussian_gradient l2_blur noise_adam zero_l2",
            "_result": "Control HeldOutEvaluation Nearest Visualization",
            "_trajectory": "LogitTrajectory logit_trajectory",
            "_units": "At UnitSelection",
        },
    )
