"""Draw units by a recipe, then gather what is needed to believe the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from convscope._random import source
from convscope._random_weights import with_random_weights
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.probe import Probe
from convscope.types import Images
from convscope.visualizations._problem import Drawing, Problem, Recipe, scores_on
from convscope.visualizations._result import Control, Judgement, Nearest, Visualization
from convscope.visualizations._units import LOGITS, Units

MOST_REFERENCES = 5000
"""Reference images looked at: enough for priors and maxima, and seconds on one core."""


def maximize(
    classifier: Classifier,
    units: Units,
    recipe: Recipe,
    *,
    reference: Images | None,
    judge: Classifier | None,
    control: bool,
    generator: Generator | None,
    on_step: Callable[[int, int], None] | None = None,
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
    if judge is not None and judge.class_names != classifier.class_names:
        raise UsageError(
            "the judge knows other classes", code="M21", expected=", ".join(classifier.class_names)
        )
    generator = source(generator)
    with classifier.probe() as probe:
        drawing = _draw(probe, units, recipe, reference, generator, on_step)
        logits = probe.logits(drawing.images)
        activations = _own(probe, units, drawing.images, logits)
        natural, best = _natural(probe, units, reference)
        usual = _usual_logits(probe, reference, drawing.images)
    about_classes = units.layer == LOGITS
    found = Visualization(
        images=drawing.images,
        units=units.names,
        layer=units.layer,
        layer_kind=units.kind,
        channels=units.channels,
        recipe=recipe.name,
        history=drawing.history,
        activations=activations,
        logits=logits,
        class_names=classifier.class_names,
        stuck=drawing.stuck,
        natural=natural,
        natural_images=None if reference is None or best is None else reference[best],
        effect=logits - usual,
        judgement=_judged(judge, drawing.images, units) if judge and about_classes else None,
        nearest=None if reference is None else nearest(drawing.images, reference),
        control=_control(classifier, units, recipe, reference, judge, generator)
        if control
        else None,
        settings=recipe.settings,
        cost=probe.cost(),
        kept=drawing.kept,
    )
    return replace(found, flags=found.noticed())


def nearest(images: Tensor, reference: Tensor) -> Nearest:
    """The reference images nearest to each image by L2 distance.

    Example:
        >>> found = nearest(torch.ones(1, 1, 2, 2), torch.stack([torch.zeros(1, 2, 2),
        ...                                                       torch.ones(1, 2, 2)]))
        >>> found.rows.item(), found.distances.item()
        (1, 0.0)
    """
    distances = torch.cdist(
        images.flatten(1), reference.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
    )
    least = distances.min(dim=1)
    return Nearest(images=reference[least.indices], rows=least.indices, distances=least.values)


def _draw(
    probe: Probe,
    units: Units,
    recipe: Recipe,
    reference: Images | None,
    generator: Generator,
    on_step: Callable[[int, int], None] | None = None,
) -> Drawing:
    return recipe.draw(
        Problem(
            probe=probe,
            units=units,
            shape=probe.classifier.input_shape,
            reference=reference,
            generator=generator,
            on_step=on_step,
        )
    )


def _own(probe: Probe, units: Units, images: Images, logits: Tensor) -> Tensor:
    outputs = logits if units.stop_at is None else probe.activations(units.stop_at, images)
    return units.own(outputs, torch.arange(len(images)))


def _natural(
    probe: Probe, units: Units, reference: Images | None
) -> tuple[Tensor | None, Tensor | None]:
    """The largest activation on real images, and where."""
    if reference is None:
        return None, None
    scores = scores_on(probe, units, reference)
    best = scores.max(dim=0)
    return best.values, best.indices


def _usual_logits(probe: Probe, reference: Images | None, like: Tensor) -> Tensor:
    """Mean logits of real images, or those of plain mid-grey."""
    if reference is None:
        return probe.logits(torch.full_like(like[:1], 0.5))
    return probe.logits(reference[:256]).mean(dim=0, keepdim=True)


def _judged(judge: Classifier, images: Tensor, units: Units) -> Judgement:
    with judge.probe() as probe:
        probabilities = probe.logits(images).softmax(dim=1)
    classes = units.channels.to(images.device)
    labels = probabilities.argmax(dim=1)
    return Judgement(
        source=judge.source,
        probabilities=probabilities.gather(1, classes[:, None])[:, 0],
        labels=labels,
        right=int((labels == classes).sum()),
    )


def _control(
    classifier: Classifier,
    units: Units,
    recipe: Recipe,
    reference: Images | None,
    judge: Classifier | None,
    generator: Generator,
) -> Control | None:
    try:
        untrained = with_random_weights(classifier, generator=generator)
    except ModelContractError:
        return None
    with untrained.probe() as probe:
        images = _draw(probe, units, recipe, reference, generator).images
    judged = _judged(judge, images, units) if judge and units.layer == LOGITS else None
    return Control(images=images, judgement=judged)
