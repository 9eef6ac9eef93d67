"""Recipes of activation maximization, and the transformations they use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from convscope.ascent import (
    Step,
    adam_step,
    ascend,
    blurred,
    box,
    gaussian_blur,
    l2_step,
    std_step,
)
from convscope.errors import choose
from convscope.progress import stage
from convscope.visualizations._problem import (
    WARM_START,
    MaximizationProblem,
    OptimizedImages,
    Recipe,
    warm_start,
)


def gaussian_gradient(
    *,
    steps: int = 200,
    step_size: float = 1 / 255,
    weight_decay: float = 1e-4,
    blur_std: str = "variance",
) -> Recipe:
    """Ascend a blurred gradient from noise around mid-gray; the blur grows.

    The document prints one formula for the blur, 4 k / (n + 0.5), and says that the cost rises over
    the iterations. Read as a standard deviation the blur ends at 4 pixels, and the logits of
    ``mnist-conv2-fc`` peak at two thirds of the way and fall; read as a variance (a deviation of
    its root, at most 2 pixels) they rise to the end. Hence the default.

    Args:
        steps: How many.
        step_size: Standard deviation of an update in pixel units. The document's 1/std is in
            gray levels from 0 to 255, hence 1/255 here.
        weight_decay: Share of the image that is taken away after every step.
        blur_std: Standard deviation of the blur at step k of n in pixels: ``"variance"``: the root
            of 4 k / (n + 0.5), which the document prints; ``"printed"``: 4 k / (n + 0.5) itself;
            ``"usual"``: 4 k / n + 0.5, as the method is known elsewhere.

    Source:
        P. Shedligeri, "Programming Assignment 2: Convolutional Neural Networks", IIT Madras, 2017.
    """
    choose("blur_std", blur_std, ("variance", "printed", "usual"))

    def width(k: int) -> float:
        printed = 4 * (k + 1) / (steps + 0.5)
        return {
            "variance": printed**0.5,
            "printed": printed,
            "usual": 4 * (k + 1) / steps + 0.5,
        }[blur_std]

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        return optimize_pixels(
            problem,
            start=lambda factor: problem.noise(0.5, 0.1 * factor),
            step=blurred(std_step(step_size), std=width),
            between=[lambda x, k, rows: (1 - weight_decay) * x],
            steps=steps,
        )

    settings = {"steps": steps, "step_size": step_size, "weight_decay": weight_decay}
    return Recipe(
        name="gaussian-gradient", optimize=optimize, settings={**settings, "blur_std": blur_std}
    )


def l2_blur(
    *,
    steps: int = 200,
    step_size: float = 1.0,
    pull: float = 1e-3,
    every: int = 10,
    blur_std: float = 0.5,
) -> Recipe:
    """Ascend the normalized gradient of activation minus an L2 penalty; blur now and then.

    Args:
        steps: How many.
        step_size: L2 length of an update in pixel units, for 28 x 28 pixels; it grows with the
            square root of the number of pixels.
        pull: Weight of the penalty ||x||^2. It is not the normalization of the gradient: the
            document confuses the two.
        every: Steps between two blurs.
        blur_std: Standard deviation of the blur in pixels.

    Source:
        S. Kim, "Assignment 2 (CNN part)", Data Science Laboratory, Seoul National University, 2018,
        which leaves the numbers to the student.
    """

    def blur(x: Tensor, k: int, rows: Tensor) -> Tensor:
        return gaussian_blur(x, blur_std) if (k + 1) % every == 0 else x

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        size = step_size * (problem.shape[1] * problem.shape[2] / 784) ** 0.5
        return optimize_pixels(
            problem,
            start=lambda factor: problem.noise(0.5, 0.1 * factor),
            step=l2_step(size),
            pull=pull,
            between=[blur],
            steps=steps,
        )

    settings = {"steps": steps, "step_size": step_size, "pull": pull, "every": every}
    return Recipe(name="l2-blur", optimize=optimize, settings={**settings, "blur_std": blur_std})


def zero_l2(*, steps: int = 200, step_size: float = 0.05, pull: float = 0.05) -> Recipe:
    """Start from a black image; Adam on activation minus an L2 penalty.

    Args:
        steps: How many.
        step_size: Adam's, in pixel units.
        pull: Weight of the penalty ||x||^2.

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated: 200 steps at 0.05.
    """

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        return optimize_pixels(
            problem,
            start=lambda factor: problem.noise(0.0, 0.05 * (factor - 1)),
            step=adam_step(step_size),
            pull=pull,
            steps=steps,
        )

    settings = {"steps": steps, "step_size": step_size, "pull": pull}
    return Recipe(name="zero-l2", optimize=optimize, settings=dict(settings))


def noise_adam(*, steps: int = 200, step_size: float = 0.05) -> Recipe:
    """Start from N(0.5, 0.05); Adam on the activation alone.

    Args:
        steps: How many.
        step_size: Adam's, in pixel units.

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, whose images begin so.
    """

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        return optimize_pixels(
            problem,
            start=lambda factor: problem.noise(0.5, 0.05 * factor),
            step=adam_step(step_size),
            steps=steps,
        )

    return Recipe(
        name="noise-adam", optimize=optimize, settings={"steps": steps, "step_size": step_size}
    )


def optimize_pixels(
    problem: MaximizationProblem,
    *,
    start: Callable[[float], Tensor],
    step: Step,
    steps: int,
    pull: float = 0.0,
    between: Sequence[Callable[[Tensor, int, Tensor], Tensor]] = (),
) -> OptimizedImages:
    """Ascend activation - pull ||x||^2 over images in [0, 1]; the best step is kept."""
    with stage(0.0, WARM_START):
        begin, dead = warm_start(problem, start, box())

    def objective(x: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        activation = problem.units.own_activation(outputs, rows)
        return activation - pull * x.square().flatten(1).sum(dim=1) if pull else activation

    with stage(WARM_START, 1.0):
        ascent = ascend(
            begin,
            problem.probe,
            objective,
            step=step,
            region=box(),
            steps=steps,
            keep="best",
            between=between,
            stop_at=problem.units.stop_at,
        )
    return OptimizedImages(
        images=ascent.images, history=ascent.history, dead=dead, kept=ascent.steps
    )


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How much random affine transformations differ from the identity.

    Attributes:
        degrees: Largest rotation.
        scale: Largest relative change of size.
        shift: Largest shift, as a share of the side.
        flip: Whether half of them are flipped.
    """

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.1
    flip: bool = True


class RandomAffine:
    """Random affine transformations, drawn in advance: chunks of the work do not change them."""

    def __init__(self, jitter: Jitter, count: int, steps: int, generator: Generator) -> None:
        draws = torch.rand(steps + 1, count, 5, generator=generator, dtype=torch.float32) * 2 - 1
        angle = draws[..., 0] * torch.pi * jitter.degrees / 180
        size = 1 + draws[..., 1] * jitter.scale
        mirror = torch.where(draws[..., 4] < 0, -1.0, 1.0) if jitter.flip else torch.ones(())
        cosine, sine = angle.cos() * size, angle.sin() * size
        shift = draws[..., 2:4] * 2 * jitter.shift
        self.matrices = torch.stack(
            [
                torch.stack([cosine * mirror, -sine, shift[..., 0]], dim=-1),
                torch.stack([sine * mirror, cosine, shift[..., 1]], dim=-1),
            ],
            dim=-2,
        )

    def apply(self, images: Tensor, k: int, rows: Tensor) -> Tensor:
        """Each image transformed as at step `k`, borders reflected; differentiable."""
        chosen = self.matrices[k].to(images.device)[rows]
        grid = F.affine_grid(chosen, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
