"""What a network learned: images that make its classes and neurons as active as possible."""

from collections.abc import Callable

from convscope.visualizations._images import RECIPES, chosen_recipe, class_images, neuron_images
from convscope.visualizations._maximize import nearest
from convscope.visualizations._prior_recipes import fourier, pca, spectrum
from convscope.visualizations._priors import stationarity
from convscope.visualizations._problem import Recipe
from convscope.visualizations._recipes import (
    gaussian_gradient,
    l2_blur,
    noise_adam,
    zero_l2,
)
from convscope.visualizations._result import Control, Judgement, Nearest, Visualization
from convscope.visualizations._units import At, Units
from convscope.visualizations._views import Jitter

VISUALIZATIONS: dict[str, Callable[..., Visualization]] = {
    "class-images": class_images,
    "neuron-images": neuron_images,
}

__all__ = [
    "RECIPES",
    "VISUALIZATIONS",
    "At",
    "Control",
    "Jitter",
    "Judgement",
    "Nearest",
    "Recipe",
    "Units",
    "Visualization",
    "chosen_recipe",
    "class_images",
    "fourier",
    "gaussian_gradient",
    "l2_blur",
    "nearest",
    "neuron_images",
    "noise_adam",
    "pca",
    "spectrum",
    "stationarity",
    "zero_l2",
]
