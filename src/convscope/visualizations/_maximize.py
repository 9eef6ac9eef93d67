"""Activation maximization with its controls and diagnostics."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from convscope._random import source
from convscope._random_weights import with_random_weights
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.types import Images
from convscope.visualizations._problem import (
    MaximizationProblem,
    OptimizedImages,
    Recipe,
    unit_activations,
)
from convscope.visualizations._result import Control, HeldOutEvaluation, Nearest, Visualization
from convscope.visualizations._units import LOGITS, UnitSelection

MOST_REFERENCES = 5000
"""Reference images that are used: enough for priors and maxima, and seconds on one core."""


def maximize(
    classifier: Classifier,
    units: UnitSelection,
    recipe: Recipe,
    *,
    reference: Images | None,
    evaluator: Classifier | None,
    control: bool,
    generator: Generator | None,
) -> Visualization:
    """All units of a call in one batch; see `class_images` for the arguments."""
    if reference is not None:
        classifier.check_images(reference)
        reference = reference[:MOST_REFERENCES]
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
            optimized = _optimized(probe, units, recipe, reference, generator)
        logits = probe.logits(optimized.images)
        activations = _own(probe, units, optimized.images, logits)
        largest, best = _max_dataset_activation(probe, units, reference)
        mean_logits = _mean_logits(probe, reference, optimized.images)
    about_classes = units.layer == LOGITS
    nearest_images = None if reference is None else nearest(optimized.images, reference)
    random_weights = None
    if control:
        with stage(end, 1.0):
            random_weights = _control(classifier, units, recipe, reference, evaluator, generator)
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
        max_dataset_activation=largest,
        max_dataset_images=None if reference is None or best is None else reference[best],
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
    least = distances.min(dim=1)
    return Nearest(images=reference[least.indices], rows=least.indices, distances=least.values)


def _optimized(
    probe: Probe,
    units: UnitSelection,
    recipe: Recipe,
    reference: Images | None,
    generator: Generator,
) -> OptimizedImages:
    return recipe.optimize(
        MaximizationProblem(
            probe=probe,
            units=units,
            shape=probe.classifier.input_shape,
            reference=reference,
            generator=generator,
        )
    )


def _own(probe: Probe, units: UnitSelection, images: Images, logits: Tensor) -> Tensor:
    outputs = logits if units.stop_at is None else probe.activations(units.stop_at, images)
    return units.own_activation(outputs, torch.arange(len(images)))


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
) -> Control | None:
    try:
        untrained = with_random_weights(classifier, generator=generator)
    except ModelContractError:
        return None
    with untrained.probe() as probe:
        images = _optimized(probe, units, recipe, reference, generator).images
    classes = units.layer == LOGITS
    held_out = _evaluated(evaluator, images, units) if evaluator and classes else None
    return Control(images=images, held_out=held_out)
