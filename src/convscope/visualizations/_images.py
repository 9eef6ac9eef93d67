"""Visualizations of classes and of neurons by activation maximization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.types import Images
from convscope.visualizations._maximize import maximize
from convscope.visualizations._priors import ALIGNED, stationarity
from convscope.visualizations._problem import Recipe
from convscope.visualizations._result import Visualization
from convscope.visualizations._units import LOGITS, At, select_units

ENOUGH = 50
"""Fewer reference images than this make no prior."""


@checked
def class_images(
    classifier: Classifier,
    targets: int | Sequence[int] | Tensor | Literal["all"] | None = None,
    *,
    recipe: str | Recipe | None = None,
    reference: Images | None = None,
    evaluator: Classifier | None = None,
    control: bool = True,
    generator: Generator | None = None,
) -> Visualization:
    """Images that raise one logit each: what the network takes for a member of the class.

    All images of a call are one batch. Says how far it is to whoever listens by
    `convscope.progress.watch`.

    Args:
        classifier: The classifier to look into.
        targets: Classes; ``None`` or ``"all"``: every class.
        recipe: Name in `VISUALIZATION_RECIPES`, or a recipe with settings of your own. By default
            a prior fitted on `reference`; without reference images, ``"l2-blur"``.
        reference: Real (training) images, ``(batch, channel, height, width)``: for priors, the
            largest activation on real images and the nearest image. At most 5,000 are used.
        evaluator: An independently trained classifier of the same classes that predicts the
            classes of the images.
        control: Whether to repeat the recipe on the same network with random weights.
        generator: Source of every draw; by default one with seed 0.

    Raises:
        UsageError: For unknown recipes or classes, or a recipe that lacks its reference images.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> class_images(classifier, recipe="zero-l2").images.shape
        torch.Size([2, 1, 2, 2])

    Source:
        Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", 2013, section 2;
        Yosinski et al., "Understanding Neural Networks Through Deep Visualization", 2015.
    """
    if targets is None or isinstance(targets, str):
        choose("targets", targets or "all", ("all",))
        spec = LOGITS
    else:
        row = [targets] if isinstance(targets, int) else torch.as_tensor(targets).reshape(-1)
        numbers = [int(k) for k in row]
        wrong = next((k for k in numbers if not 0 <= k < classifier.num_classes), None)
        if wrong is not None or not numbers:
            raise UsageError(
                f"targets contain {'nothing' if wrong is None else wrong}",
                code="U08",
                expected=f"0 to {classifier.num_classes - 1}",
            )
        spec = f"{LOGITS}:{','.join(map(str, numbers))}"
    return maximize(
        classifier,
        select_units(classifier, spec, "mean"),
        chosen_recipe(recipe, reference),
        reference=reference,
        evaluator=evaluator,
        control=control,
        generator=generator,
    )


@checked
def neuron_images(
    classifier: Classifier,
    units: str,
    *,
    at: At = "center",
    recipe: str | Recipe | None = None,
    reference: Images | None = None,
    evaluator: Classifier | None = None,
    control: bool = True,
    generator: Generator | None = None,
) -> Visualization:
    """Images that raise units of any layer: ``neuron_images(classifier, "pool2:0-9")``.

    The network runs only up to the layer.

    Args:
        classifier: The classifier to look into.
        units: Layer and channels: ``"pool2:0-9"``, ``"conv1:3,5"``, ``"fc1"`` or ``"logits"``.
        at: Where in a map: its ``"center"`` neuron, the ``"mean"``, or (row, column).
        recipe: As for `class_images`.
        reference: As for `class_images`.
        evaluator: As for `class_images`; used for logits only.
        control: As for `class_images`.
        generator: As for `class_images`.

    Raises:
        UnknownLayer: If there is no such layer.
        UsageError: If a channel or position does not exist.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(),
        ...                           torch.nn.Linear(27, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 5, 5))
        >>> neuron_images(classifier, "0:0-1", recipe="noise-adam").units
        ('0 (Conv2d):0 at 1, 1', '0 (Conv2d):1 at 1, 1')
    """
    return maximize(
        classifier,
        select_units(classifier, units, at),
        chosen_recipe(recipe, reference),
        reference=reference,
        evaluator=evaluator,
        control=control,
        generator=generator,
    )


def chosen_recipe(recipe: str | Recipe | None, reference: Images | None, **settings: Any) -> Recipe:
    """The recipe that was asked for, or the best that the data allow.

    Args:
        recipe: A name in `VISUALIZATION_RECIPES`, a recipe, or ``None``.
        reference: Real images, if there are any.
        settings: Of the recipe, if it is not given whole.

    Raises:
        UsageError: If there is no recipe of that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe is not None:
        name = recipe
    elif reference is None or len(reference) < ENOUGH:
        name = "l2-blur"
    else:
        name = "pca" if stationarity(reference[:1000]) > ALIGNED else "spectrum"
    from convscope.visualizations import VISUALIZATION_RECIPES

    name = choose("recipe", name, VISUALIZATION_RECIPES)
    return VISUALIZATION_RECIPES[name](**settings)
