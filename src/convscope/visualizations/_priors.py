"""What images look like: latents that paint plausible images, fitted on data or on none.

A prior turns a latent with standard normal entries into an image with the statistics of real
ones. What it draws is prior *and* network, so its results are shown beside random weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.types import Images

ALIGNED = 0.1
"""Above this share of pixel variance in the mean image, data count as aligned (see below)."""


@runtime_checkable
class Prior(Protocol):
    """A differentiable painter."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one latent."""
        ...

    def paint(self, latents: Tensor) -> Tensor:
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

    def paint(self, latents: Tensor) -> Tensor:
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

    def paint(self, latents: Tensor) -> Tensor:
        """Inverse transform, mix colors, add the mean color."""
        coefficients = torch.view_as_complex(latents.contiguous()) * self.magnitude
        planes = torch.fft.irfft2(coefficients, s=self.size, norm="ortho")
        mixed = torch.einsum("dc,nchw->ndhw", self.colors, planes)
        raw = mixed + self.mean[:, None, None]
        return raw.sigmoid() if self.squash else raw

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
    def natural(cls, shape: tuple[int, int, int]) -> Spectrum:
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
