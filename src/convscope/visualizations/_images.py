"""Images of classes and neurons by activation maximization, with controls and diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._random_weights import with_random_weights
from convscope.classifier import Classifier
from convscope.devices import resolve_device
from convscope.errors import ModelContractError, UsageError, choose
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.types import Images
from convscope.visualizations._priors import ALIGNED, stationarity
from convscope.visualizations._problem import (
    MaximizationProblem,
    OptimizedImages,
    Recipe,
    unit_activations,
)
from convscope.visualizations._result import Control, HeldOutEvaluation, Nearest, Visualization
from convscope.visualizations._units import LOGITS, At, UnitSelection, select_units

ENOUGH = 50
"""Fewer reference images than this make no prior."""

MOST_REFERENCES = 5000
"""Reference images that are used: enough for priors and maxima, and seconds on one core."""


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
    device: str | torch.device | None = None,
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
        device: Where the images are optimized, and come out; by default where `reference` is, and
            the CPU without it. The network may be elsewhere.

    Raises:
        ResourceError: T27, the device is not there.
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
    return _maximize(
        classifier,
        select_units(classifier, spec, "mean"),
        chosen_recipe(recipe, reference),
        reference=reference,
        evaluator=evaluator,
        control=control,
        generator=generator,
        device=device,
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
    device: str | torch.device | None = None,
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
        device: As for `class_images`.

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
    return _maximize(
        classifier,
        select_units(classifier, units, at),
        chosen_recipe(recipe, reference),
        reference=reference,
        evaluator=evaluator,
        control=control,
        generator=generator,
        device=device,
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


def _maximize(
    classifier: Classifier,
    units: UnitSelection,
    recipe: Recipe,
    *,
    reference: Images | None,
    evaluator: Classifier | None,
    control: bool,
    generator: Generator | None,
    device: str | torch.device | None,
) -> Visualization:
    """All units of a call in one batch; see `class_images` for the arguments."""
    place = torch.device("cpu") if reference is None else reference.device
    place = place if device is None else resolve_device(device)
    if reference is not None:
        classifier.check_images(reference)
        reference = reference[:MOST_REFERENCES].to(place)
    if recipe.needs_reference and (reference is None or len(reference) < 2):
        raise UsageError(
            f"recipe {recipe.name!r} learns from images",
            expected="some hundred training images: reference= in Python, --data in a command",
            hint="or choose the recipe l2-blur, which needs none",
        )
    if evaluator is not None and evaluator.class_names != classifier.class_names:
        raise UsageError(
            "the held-out evaluator knows other classes",
            code="M21",
            expected=", ".join(classifier.class_names),
        )
    generator = source(generator)
    end = 0.5 if control else 1.0
    with classifier.probe() as probe:
        with stage(0.0, end):
            optimized = _optimized(probe, units, recipe, reference, generator, place)
        logits = probe.logits(optimized.images)
        activations = _activations(probe, units, optimized.images, logits)
        max_activation, argmax = _max_dataset_activation(probe, units, reference)
        mean_logits = _mean_logits(probe, reference, optimized.images)
    about_classes = units.layer == LOGITS
    nearest_images = None if reference is None else nearest(optimized.images, reference)
    random_weights = None
    if control:
        with stage(end, 1.0):
            random_weights = _control(
                classifier, units, recipe, reference, evaluator, generator, place
            )
    announce(1.0)
    result = Visualization(
        images=optimized.images,
        units=units.names,
        layer=units.layer,
        layer_kind=units.kind,
        channels=units.channels,
        recipe=recipe.name,
        history=optimized.history,
        activations=activations,
        logits=logits,
        class_names=classifier.class_names,
        dead=optimized.dead,
        max_dataset_activation=max_activation,
        max_dataset_images=None if reference is None or argmax is None else reference[argmax],
        effect=logits - mean_logits,
        held_out=_evaluated(evaluator, optimized.images, units)
        if evaluator and about_classes
        else None,
        nearest=nearest_images,
        control=random_weights,
        settings=recipe.settings,
        cost=probe.cost(),
        kept=optimized.kept,
    )
    return replace(result, flags=result.diagnostics())


def nearest(images: Tensor, reference: Tensor) -> Nearest:
    """The reference images nearest to each image by L2 distance.

    Example:
        >>> closest = nearest(torch.ones(1, 1, 2, 2), torch.stack([torch.zeros(1, 2, 2),
        ...                                                         torch.ones(1, 2, 2)]))
        >>> closest.rows.item(), closest.distances.item()
        (1, 0.0)
    """
    distances = torch.cdist(
        images.flatten(1), reference.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
    )
    smallest = distances.min(dim=1)
    return Nearest(
        images=reference[smallest.indices], rows=smallest.indices, distances=smallest.values
    )


def _optimized(
    probe: Probe,
    units: UnitSelection,
    recipe: Recipe,
    reference: Images | None,
    generator: Generator,
    place: torch.device,
) -> OptimizedImages:
    return recipe.optimize(
        MaximizationProblem(
            probe=probe,
            units=units,
            shape=probe.classifier.input_shape,
            reference=reference,
            generator=generator,
            device=place,
        )
    )


def _activations(probe: Probe, units: UnitSelection, images: Images, logits: Tensor) -> Tensor:
    outputs = logits if units.stop_at is None else probe.activations(units.stop_at, images)
    return units.own_activation(outputs, torch.arange(len(images), device=images.device))


def _max_dataset_activation(
    probe: Probe, units: UnitSelection, reference: Images | None
) -> tuple[Tensor | None, Tensor | None]:
    """The largest activation on real images, and where."""
    if reference is None:
        return None, None
    best = unit_activations(probe, units, reference).max(dim=0)
    return best.values, best.indices


def _mean_logits(probe: Probe, reference: Images | None, like: Tensor) -> Tensor:
    """Mean logits of real images, or those of plain mid-gray."""
    if reference is None:
        return probe.logits(torch.full_like(like[:1], 0.5))
    return probe.logits(reference[:256]).mean(dim=0, keepdim=True)


def _evaluated(evaluator: Classifier, images: Tensor, units: UnitSelection) -> HeldOutEvaluation:
    with evaluator.probe() as probe:
        probabilities = probe.logits(images).softmax(dim=1)
    classes = units.channels.to(images.device)
    labels = probabilities.argmax(dim=1)
    return HeldOutEvaluation(
        source=evaluator.source,
        probabilities=probabilities.gather(1, classes[:, None])[:, 0],
        labels=labels,
        correct=int((labels == classes).sum()),
    )


def _control(
    classifier: Classifier,
    units: UnitSelection,
    recipe: Recipe,
    reference: Images | None,
    evaluator: Classifier | None,
    generator: Generator,
    place: torch.device,
) -> Control | None:
    try:
        untrained = with_random_weights(classifier, generator=generator)
    except ModelContractError:
        return None
    with untrained.probe() as probe:
        images = _optimized(probe, units, recipe, reference, generator, place).images
    classes = units.layer == LOGITS
    held_out = _evaluated(evaluator, images, units) if evaluator and classes else None
    return Control(images=images, held_out=held_out)
