"""Image priors: latent parametrizations, and the recipes that use them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.ascent import adam_step, ascend, unconstrained
from convscope.progress import stage
from convscope.types import Images
from convscope.visualizations._problem import (
    WARM_START,
    MaximizationProblem,
    OptimizedImages,
    Recipe,
    unit_activations,
    warm_start,
)
from convscope.visualizations._recipes import Jitter, RandomAffine

ALIGNED = 0.1
"""Above this share of pixel variance in the mean image, data count as aligned (see below)."""


@runtime_checkable
class Prior(Protocol):
    """A differentiable parametrization of images by latents."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Raw images ``(batch, channel, height, width)``, perhaps outside [0, 1]."""
        ...


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class PrincipalAxes:
    """Mean image plus principal axes, each scaled by its standard deviation.

    For data whose objects sit in the same place, such as digits.
    """

    mean: Tensor
    axes: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """One number per axis."""
        return (len(self.axes),)

    def decode(self, latents: Tensor) -> Tensor:
        """``mean + latents @ axes``."""
        return self.mean + torch.einsum("nk,kchw->nchw", latents, self.axes)

    @classmethod
    def fit(cls, images: Images, components: int = 60) -> PrincipalAxes:
        """The axes of largest variance, by an eigendecomposition of the smaller Gram matrix."""
        flat = images.flatten(1).double()
        mean = flat.mean(dim=0)
        centered = flat - mean
        count, pixels = centered.shape
        if count >= pixels:
            values, vectors = torch.linalg.eigh(centered.T @ centered / (count - 1))
            axes = vectors.T * values.clamp_min(0).sqrt()[:, None]
        else:
            values, left = torch.linalg.eigh(centered @ centered.T / (count - 1))
            axes = left.T @ centered / (count - 1) ** 0.5
        best = axes.flip(0)[: min(components, len(axes))]
        shape = images.shape[1:]
        return cls(mean=mean.float().view(shape), axes=best.float().view(-1, *shape))


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Fourier coefficients times a magnitude per frequency, in decorrelated colors.

    For data whose objects may sit anywhere, such as photographs.
    """

    magnitude: Tensor
    colors: Tensor
    mean: Tensor
    size: tuple[int, int]
    squash: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, frequencies, real and imaginary part."""
        return (len(self.colors), *self.magnitude.shape[-2:], 2)

    def decode(self, latents: Tensor) -> Tensor:
        """Inverse transform, mix colors, add the mean color."""
        coefficients = torch.view_as_complex(latents.contiguous()) * self.magnitude
        planes = torch.fft.irfft2(coefficients, s=self.size, norm="ortho")
        mixed = torch.einsum("dc,nchw->ndhw", self.colors, planes)
        raw = mixed + self.mean[:, None, None]
        return raw.sigmoid() if self.squash else raw

    def to(self, device: torch.device) -> Spectrum:
        """The same on another device."""
        return replace(
            self,
            magnitude=self.magnitude.to(device),
            colors=self.colors.to(device),
            mean=self.mean.to(device),
        )

    @classmethod
    def fit(cls, images: Images) -> Spectrum:
        """Mean magnitude per frequency of whitened colors, and the root of their covariance."""
        mean = images.mean(dim=(0, 2, 3))
        centered = images - mean[:, None, None]
        pixels = centered.transpose(0, 1).flatten(1).double()
        covariance = pixels @ pixels.T / pixels.shape[1]
        values, vectors = torch.linalg.eigh(covariance)
        kept = values.clamp_min(1e-8)
        root = vectors * kept.sqrt()
        white = torch.einsum("cd,ndhw->nchw", (vectors / kept.sqrt()).T.float(), centered)
        magnitude = torch.fft.rfft2(white, norm="ortho").abs().mean(dim=0)
        return cls(
            magnitude=magnitude,
            colors=root.float(),
            mean=mean,
            size=(images.shape[2], images.shape[3]),
        )

    @classmethod
    def of_photographs(cls, shape: tuple[int, int, int]) -> Spectrum:
        """Without data: amplitude falls as 1 / frequency; colors of photographs for RGB.

        Source:
            Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017: parametrization
            and color correlation of ImageNet.
        """
        channels, height, width = shape
        y = torch.fft.fftfreq(height)[:, None]
        x = torch.fft.rfftfreq(width)[None, :]
        frequency = (y.square() + x.square()).sqrt().clamp_min(1 / max(height, width))
        magnitude = 1 / frequency
        # Unit variance of pixels for standard normal latents: scale by the mean power.
        magnitude = magnitude / (2 * magnitude.square().mean()).sqrt()
        colors = torch.eye(channels)
        if channels == 3:
            table = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
            colors = table / table.square().sum(dim=0).sqrt().max()
        return cls(
            magnitude=magnitude,
            colors=colors,
            mean=torch.zeros(channels),
            size=(height, width),
            squash=True,
        )


def stationarity(images: Images) -> float:
    """Share of the pixels' variance that the mean image has: 0.28 for MNIST, 0.02 for CIFAR-10.

    Large where objects sit in the same place in every image.

    Example:
        >>> stationarity(torch.eye(2).expand(5, 1, 2, 2))
        1.0
    """
    total = images.var(correction=0)
    return float(images.mean(dim=0).var(correction=0) / total) if total > 0 else 0.0


def pca(
    *,
    components: int = 60,
    steps: int = 100,
    step_size: float = 0.05,
    pull: float = 0.02,
) -> Recipe:
    """Principal axes of real images: best where objects sit in the same place.

    An independent network classifies ten of ten digits in the result as intended; in those of
    pixel recipes two to six. Between 30 and 120 components and a pull of 0.01 to 0.07 it hardly
    matters which.

    Args:
        components: How many axes.
        steps: How many.
        step_size: Adam's, in standard deviations of an axis.
        pull: Weight of ||z||^2 against the activation in standard deviations of the unit.
    """

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        prior = PrincipalAxes.fit(_needed(problem), components)
        return optimize_latents(
            problem, prior, start=0.1, steps=steps, step_size=step_size, pull=pull, jitter=None
        )

    settings = {"components": components, "steps": steps, "step_size": step_size, "pull": pull}
    return Recipe(name="pca", optimize=optimize, settings=dict(settings), needs_reference=True)


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
        jitter: Random affine transformations of the image at each step; ``None``: none.
    """

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        prior = Spectrum.fit(_needed(problem))
        return optimize_latents(
            problem, prior, start=0.01, steps=steps, step_size=step_size, pull=pull, jitter=jitter
        )

    settings = {"steps": steps, "step_size": step_size, "pull": pull, "views": jitter is not None}
    return Recipe(name="spectrum", optimize=optimize, settings=dict(settings), needs_reference=True)


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
        jitter: Random affine transformations of the image at each step; ``None``: none.

    Source:
        Olah, Mordvintsev, Schubert, "Feature Visualization", Distill 2017. One affine map does
        what padding, jitter, scaling and rotation do one after the other there.
    """

    def optimize(problem: MaximizationProblem) -> OptimizedImages:
        prior = Spectrum.of_photographs(problem.shape).to(problem.device)
        return optimize_latents(
            problem, prior, start=0.01, steps=steps, step_size=step_size, pull=0.0, jitter=jitter
        )

    settings = {"steps": steps, "step_size": step_size, "views": jitter is not None}
    return Recipe(name="fourier", optimize=optimize, settings=dict(settings))


def optimize_latents(
    problem: MaximizationProblem,
    prior: Prior,
    *,
    start: float,
    steps: int,
    step_size: float,
    pull: float,
    jitter: Jitter | None,
) -> OptimizedImages:
    """Adam on latents: activation / its std on real images - pull ||z||^2 - what leaves [0, 1].

    The step of the highest objective is kept, as transformed at that step.

    The activation is divided by the unit's standard deviation on real images, so that one weight
    serves every unit of every layer.
    """
    count = len(problem.units.names)

    def draw(factor: float) -> Tensor:
        shape = (count, *prior.shape)
        normal = torch.randn(shape, generator=problem.generator, dtype=torch.float32)
        return (factor * start * normal).to(problem.device)

    with stage(0.0, WARM_START):
        latents, dead = warm_start(
            problem, draw, unconstrained(), lambda z: prior.decode(z).clamp(0, 1)
        )
    std = activation_std(problem)
    transform = None if jitter is None else RandomAffine(jitter, count, steps, problem.generator)

    def decode(z: Tensor, k: int, rows: Tensor) -> Tensor:
        images = prior.decode(z).clamp(0, 1)
        return images if transform is None else transform.apply(images, k, rows)

    def objective(z: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        raw = prior.decode(z)
        outside = (raw - raw.clamp(0, 1)).square().flatten(1).sum(dim=1)
        activation = problem.units.own_activation(outputs, rows) / std[rows]
        return activation - pull * z.square().flatten(1).sum(dim=1) - outside

    with stage(WARM_START, 1.0):
        ascent = ascend(
            latents,
            problem.probe,
            objective,
            step=adam_step(step_size),
            region=unconstrained(),
            steps=steps,
            keep="best",
            decode=decode,
            stop_at=problem.units.stop_at,
        )
    with torch.no_grad():
        images = prior.decode(ascent.images).clamp(0, 1)
    return OptimizedImages(images=images, history=ascent.history, dead=dead, kept=ascent.steps)


def activation_std(problem: MaximizationProblem) -> Tensor:
    """Standard deviation of each unit on 256 real images; 1 without them, or for a dead unit."""
    count = len(problem.units.names)
    if problem.reference is None or len(problem.reference) < 2:
        return torch.ones(count, device=problem.device)
    std = unit_activations(problem.probe, problem.units, problem.reference[:256]).std(dim=0)
    return torch.where(std > 0, std, torch.ones_like(std))


def _needed(problem: MaximizationProblem) -> Tensor:
    if problem.reference is None:
        raise RuntimeError("checked before: the recipe needs reference images")
    return problem.reference
