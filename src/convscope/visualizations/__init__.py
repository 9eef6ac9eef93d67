"""What a network learned: images that make its classes and neurons as active as possible."""

from collections.abc import Callable

from convscope.visualizations._images import RECIPES, class_images, neuron_images
from convscope.visualizations._maximize import nearest
from convscope.visualizations._recipes import (
    Recipe,
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
    "Judgement",
    "Nearest",
    "Recipe",
    "Units",
    "Visualization",
    "class_images",
    "gaussian_gradient",
    "l2_blur",
    "nearest",
    "neuron_images",
    "noise_adam",
    "zero_l2",
]
