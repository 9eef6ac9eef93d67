"""What a network learned: images that make its classes and neurons as active as possible."""

from collections.abc import Callable

from convscope.visualizations._images import RECIPES, chosen_recipe, class_images, neuron_images
from convscope.visualizations._maximize import nearest
from convscope.visualizations._priors import fourier, pca, spectrum, stationarity
from convscope.visualizations._problem import Recipe
from convscope.visualizations._recipes import (
    Jitter,
    gaussian_gradient,
    l2_blur,
    noise_adam,
    zero_l2,
)
from convscope.visualizations._result import Control, Judgement, Nearest, Visualization
from convscope.visualizations._units import At, Units

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
