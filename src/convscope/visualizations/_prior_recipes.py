"""Recipes that move a latent of a prior instead of pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.ascent import adam_step, anywhere, ascend
from convscope.visualizations._priors import PrincipalAxes, Prior, Spectrum
from convscope.visualizations._problem import Drawing, Problem, Recipe
from convscope.visualizations._scores import scores_on
from convscope.visualizations._start import lively
from convscope.visualizations._views import Jitter, Views


def pca(
    *,
    components: int = 60,
    steps: int = 100,
    step_size: float = 0.05,
    pull: float = 0.02,
) -> Recipe:
    """Principal axes of real images: best where objects sit in the same place.

    An independent network reads ten of ten digits in the result; in those of pixel recipes two
    to six. Between 30 and 120 components and a pull of 0.01 to 0.07 it hardly matters which.

    Args:
        components: How many axes.
        steps: How many.
        step_size: Adam's, in standard deviations of an axis.
        pull: Weight of ||z||^2 against the activation in standard deviations of the unit.
    """

    def draw(problem: Problem) -> Drawing:
        prior = PrincipalAxes.fit(_needed(problem), components)
        return paint_by_prior(
            problem, prior, start=0.1, steps=steps, step_size=step_size, pull=pull, jitter=None
        )

    settings = {"components": components, "steps": steps, "step_size": step_size, "pull": pull}
    return Recipe(name="pca", draw=draw, settings=dict(settings), needs_reference=True)


def spectrum(
    *,
    steps: int = 120,
    step_size: float = 0.05,
    pull: float = 0.004,
    jitter: Jitter | None = Jitter(),  # noqa: B008 - frozen
) -> Recipe:
    """Magnitude spectrum and colors of real images: best where objects may sit anywhere.

    Args:
        steps: How many.
        step_size: Adam's, in standard deviations of a Fourier coefficient.
        pull: Weight of ||z||^2 against the activation in standard deviations of the unit.
        jitter: Random views that the image must survive; ``None``: none.
    """

    def draw(problem: Problem) -> Drawing:
        prior = Spectrum.fit(_needed(problem))
        return paint_by_prior(
            problem, prior, start=0.01, steps=steps, step_size=step_size, pull=pull, jitter=jitter
        )

    settings = {"steps": steps, "step_size": step_size, "pull": pull, "views": jitter is not None}
    return Recipe(name="spectrum", draw=draw, settings=dict(settings), needs_reference=True)


def fourier(
    *,
    steps: int = 256,
    step_size: float = 0.05,
    jitter: Jitter | None = Jitter(shift=0.06, flip=False),  # noqa: B008 - frozen
) -> Recipe:
    """Without data: amplitudes fall as 1 / frequency, colors of photographs, random views.

    Args:
        steps: How many.
        step_size: Adam's, in standard deviations of a Fourier coefficient.
        jitter: Random views that the image must survive; ``None``: none.

    Source:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017. One affine map does
        what padding, jitter, scaling and rotation do one after the other there.
    """

    def draw(problem: Problem) -> Drawing:
        prior = Spectrum.natural(problem.shape)
        return paint_by_prior(
            problem, prior, start=0.01, steps=steps, step_size=step_size, pull=0.0, jitter=jitter
        )

    settings = {"steps": steps, "step_size": step_size, "views": jitter is not None}
    return Recipe(name="fourier", draw=draw, settings=dict(settings))


def paint_by_prior(
    problem: Problem,
    prior: Prior,
    *,
    start: float,
    steps: int,
    step_size: float,
    pull: float,
    jitter: Jitter | None,
) -> Drawing:
    """Adam on latents: activation / its natural deviation - pull ||z||^2 - what leaves [0, 1].

    The step of the highest objective is kept (with random views: of the highest that was seen).

    The activation is divided by the unit's standard deviation on real images, so that one weight
    serves every unit of every layer.
    """
    count = len(problem.units.names)
    latents, stuck = lively(
        problem,
        lambda factor: (
            factor
            * start
            * torch.randn(count, *prior.shape, generator=problem.generator, dtype=torch.float32)
        ),
        anywhere(),
        lambda z: prior.paint(z).clamp(0, 1),
    )
    deviation = natural_deviation(problem)
    views = None if jitter is None else Views(jitter, count, steps, problem.generator)

    def paint(z: Tensor, k: int, rows: Tensor) -> Tensor:
        images = prior.paint(z).clamp(0, 1)
        return images if views is None else views.look(images, k, rows)

    def objective(z: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        raw = prior.paint(z)
        outside = (raw - raw.clamp(0, 1)).square().flatten(1).sum(dim=1)
        activation = problem.units.own(outputs, rows) / deviation[rows]
        return activation - pull * z.square().flatten(1).sum(dim=1) - outside

    found = ascend(
        latents,
        problem.probe,
        objective,
        step=adam_step(step_size),
        region=anywhere(),
        steps=steps,
        keep="best",
        paint=paint,
        until=problem.units.until,
        on_step=problem.on_step,
    )
    with torch.no_grad():
        images = prior.paint(found.images).clamp(0, 1)
    return Drawing(images=images, history=found.history, stuck=stuck, kept=found.steps)


def natural_deviation(problem: Problem) -> Tensor:
    """Standard deviation of each unit on 256 real images; 1 without them, or for a dead unit."""
    count = len(problem.units.names)
    if problem.reference is None or len(problem.reference) < 2:
        return torch.ones(count)
    deviation = scores_on(problem.probe, problem.units, problem.reference[:256]).std(dim=0)
    return torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _needed(problem: Problem) -> Tensor:
    if problem.reference is None:
        raise RuntimeError("checked before drawing: the recipe needs reference images")
    return problem.reference
