"""Augmentation of training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from convscope.errors import UsageError
from convscope.types import Images


def flip(images: Images, mirrored: Tensor) -> Images:
    """Mirror the images of which `mirrored` is true, left to right.

    Example:
        >>> flip(torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([True]))
        tensor([[[[1., 0.]]]])
    """
    rows = mirrored.to(images.device).nonzero()[:, 0]
    return images.index_copy(0, rows, images.index_select(0, rows).flip(3))


def shift(images: Images, shifts: Tensor, *, padding: str = "zeros") -> Images:
    """Move every image by whole pixels: content goes down and right for positive numbers.

    Args:
        images: (N, C, H, W).
        shifts: (N, 2) whole numbers, rows then columns.
        padding: ``"zeros"`` or ``"reflection"`` (without repeating the border pixel).

    Returns:
        (N, C, H, W); every pixel is a pixel of the input or padding.

    Example:
        >>> shift(torch.tensor([[[[0.25, 0.75]]]]), torch.tensor([[0, 1]]))
        tensor([[[[0.0000, 0.2500]]]])
    """
    height, width = images.shape[2:]
    most = int(shifts.abs().max()) if len(shifts) else 0
    if most == 0:
        return images
    limit = min(height, width) - 1 if padding == "reflection" else min(height, width)
    if most > limit:
        raise UsageError(f"cannot shift {height}x{width} images by {most} pixels", code="U07")
    padded = _pad(images, most, padding)
    plane = padded.shape[2] * padded.shape[3]
    first = (most - shifts[:, 0]) * padded.shape[3] + (most - shifts[:, 1])
    first = first + torch.arange(len(images)) * (images.shape[1] * plane)
    corners = first[:, None] + torch.arange(images.shape[1]) * plane
    starts = corners[:, :, None] + torch.arange(height) * padded.shape[3]
    windows = padded.reshape(-1).unfold(0, width, 1)
    return windows.index_select(0, starts.reshape(-1).to(images.device)).view(images.shape)


def _pad(images: Images, margin: int, padding: str) -> Images:
    """`images` with a margin, by slices: three times as fast as `torch.nn.functional.pad`."""
    count, channels, height, width = images.shape
    size = (count, channels, height + 2 * margin, width + 2 * margin)
    out = images.new_zeros(size)
    out[:, :, margin:-margin, margin:-margin] = images
    if padding == "reflection":
        inner = out[:, :, margin:-margin]
        inner[..., :margin] = images[..., 1 : margin + 1].flip(3)
        inner[..., -margin:] = images[..., -margin - 1 : -1].flip(3)
        out[:, :, :margin] = out[:, :, margin + 1 : 2 * margin + 1].flip(2)
        out[:, :, -margin:] = out[:, :, -2 * margin - 1 : -margin - 1].flip(2)
    return out


def warp(images: Images, matrices: Tensor, *, padding: str = "zeros") -> Images:
    """Sample every image anew by an affine map: one bilinear `grid_sample` for the batch.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        matrices: (N, 2, 3): where in the input each output position looks, in units of half an
            image from the center.
        padding: ``"zeros"`` or ``"reflection"``.

    Returns:
        (N, C, H, W) floats in [0, 1].

    Example:
        >>> still = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
        >>> image = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(warp(image, still), image, atol=1e-6)
        True
    """
    grid = F.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    out = F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return out.clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training image. Zero everywhere means: nothing.

    Args:
        shift: Whole-pixel shifts, each axis uniform in [-shift, shift].
        flip: ``"random"`` mirrors every image with probability 1/2; ``"alternating"`` draws once
            per image and then mirrors every second epoch, so two epochs show both sides.
        degrees: Rotation, uniform in [-degrees, degrees].
        scale: Zoom factor, uniform in [1 - scale, 1 + scale].
        shear: Horizontal shear (pixels per pixel), uniform in [-shear, shear].
        translate: Sub-pixel shift in pixels, each axis uniform in [-translate, translate].
        crop: Smallest side of a random window as a share of the image, resized back to the full
            size; 1 keeps the image.
        padding: What comes in from outside: ``"zeros"`` (black) or ``"reflection"``.
    """

    shift: int = 0
    flip: Literal["none", "random", "alternating"] = "none"
    degrees: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    crop: float = 1.0
    padding: Literal["zeros", "reflection"] = "zeros"

    def __post_init__(self) -> None:
        if self.shift < 0 or int(self.shift) != self.shift:
            raise UsageError(f"shift is {self.shift!r}", expected="a whole number of pixels >= 0")
        if self.flip not in ("none", "random", "alternating"):
            raise UsageError(f"flip is {self.flip!r}", expected="none, random or alternating")
        if self.padding not in ("zeros", "reflection"):
            raise UsageError(f"padding is {self.padding!r}", expected="zeros or reflection")
        for name in ("degrees", "shear", "translate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is {getattr(self, name)!r}", expected="a number >= 0")
        if not 0 <= self.scale < 1:
            raise UsageError(f"scale is {self.scale!r}", expected="0 <= scale < 1")
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop is {self.crop!r}", expected="a share of the side in (0, 1]")

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated (one `grid_sample` call)."""
        warp = self.degrees or self.scale or self.shear or self.translate or self.crop < 1
        return bool(warp)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of one batch, one row per image; ``draws[rows]`` picks rows.

    Args:
        mirrored: Which images are flipped left to right.
        shifts: Whole-pixel shifts (rows, columns).
        warp: Seven numbers in [-1, 1]: angle, scale, shear, two translations, two crop positions;
            the eighth in [0, 1] is the size of the crop window.
    """

    mirrored: Tensor
    shifts: Tensor
    warp: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Draws:
        """The draws of some of the images."""
        return Draws(mirrored=self.mirrored[rows], shifts=self.shifts[rows], warp=self.warp[rows])


def draw(
    settings: Augmentation,
    count: int,
    *,
    generator: Generator,
    epoch: int = 0,
    rows: Tensor | None = None,
    flip_seed: int = 0,
) -> Draws:
    """All random numbers for a batch of `count` images.

    The number of draws does not depend on the settings, so switching the flip on does not change
    the shifts.

    Args:
        settings: What may happen.
        count: Images in the batch.
        generator: Where randomness comes from.
        epoch: Decides the side that alternating flip shows.
        rows: (count,) indices of the images in the data set; needed by alternating flip, which
            must know an image again in the next epoch.
        flip_seed: Seed of the once-per-image coin of alternating flip.

    Returns:
        Draws with `count` rows.

    Raises:
        UsageError: Alternating flip without `rows`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> draw(Augmentation(shift=2), 5, generator=generator).shifts.shape
        torch.Size([5, 2])
    """
    numbers = torch.rand((count, 11), generator=generator, device=generator.device)
    if settings.flip == "alternating":
        if rows is None:
            raise UsageError("alternating flip needs rows= (the images' indices in the data set)")
        mirrored = (coin(rows, flip_seed) + epoch) % 2 == 1
    elif settings.flip == "random":
        mirrored = numbers[:, 0] < 0.5
    else:
        mirrored = torch.zeros(count, dtype=torch.bool)
    span = 2 * settings.shift + 1
    shifts = (numbers[:, 1:3] * span).floor().long().clamp_(max=span - 1) - settings.shift
    warp = numbers[:, 3:11] * 2 - 1
    warp[:, 7] = numbers[:, 10]
    return Draws(mirrored=mirrored, shifts=shifts, warp=warp)


def augment(
    images: Images,
    settings: Augmentation,
    generator: Generator,
    epoch: int = 0,
    *,
    rows: Tensor | None = None,
    flip_seed: int = 0,
) -> Images:
    """One random variant of every image of a batch.

    The same as ``apply(images, settings, draw(settings, len(images), ...))``.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        settings: What may happen.
        generator: Where randomness comes from.
        epoch: Decides the side that alternating flip shows.
        rows: (N,) indices of the images in the data set, for alternating flip.
        flip_seed: Seed of the once-per-image coin of alternating flip.

    Returns:
        (N, C, H, W) floats in [0, 1]; `images` itself is not changed.

    Example:
        >>> image = torch.arange(4.0).reshape(1, 1, 2, 2) / 4
        >>> rows = torch.tensor([0])
        >>> both = [
        ...     augment(image, Augmentation(flip="alternating"), torch.Generator(), e, rows=rows)
        ...     for e in (0, 1)
        ... ]
        >>> torch.equal(both[0], both[1].flip(3))
        True
    """
    draws = draw(
        settings, len(images), generator=generator, epoch=epoch, rows=rows, flip_seed=flip_seed
    )
    return apply(images, settings, draws)


def apply(images: Images, settings: Augmentation, draws: Draws) -> Images:
    """Move the pixels as drawn: flip, then warp, then shift.

    Args:
        images: (N, C, H, W) floats in [0, 1].
        settings: What may happen.
        draws: One row per image, from `draw`.

    Returns:
        (N, C, H, W) floats in [0, 1].

    Example:
        >>> image = torch.tensor([[[[0.0, 1.0]]]])
        >>> once = Draws(
        ...     mirrored=torch.tensor([True]),
        ...     shifts=torch.zeros(1, 2, dtype=torch.int64),
        ...     warp=torch.zeros(1, 8),
        ... )
        >>> apply(image, Augmentation(flip="random"), once)
        tensor([[[[1., 0.]]]])
    """
    if settings.flip != "none":
        images = flip(images, draws.mirrored)
    if settings.warps:
        matrices = sampling_matrices(settings, draws.warp, images.shape[2], images.shape[3])
        images = warp(images, matrices, padding=settings.padding)
    if settings.shift:
        images = shift(images, draws.shifts, padding=settings.padding)
    return images


def sampling_matrices(settings: Augmentation, numbers: Tensor, height: int, width: int) -> Tensor:
    """The maps of a batch, for `warp`. Angles are true angles for images that are not square too.

    Args:
        settings: How far each number reaches.
        numbers: (N, 8), as in `Draws.warp`.
        height: Of the images, in pixels.
        width: Of the images, in pixels.

    Returns:
        (N, 2, 3): where in the input, in units of half an image, each output position looks.
    """
    numbers = numbers.to(torch.float64)
    angle = -numbers[:, 0] * settings.degrees * (torch.pi / 180)  # counter-clockwise
    zoom = 1 + numbers[:, 1] * settings.scale
    slant = numbers[:, 2] * settings.shear
    window = settings.crop + (1 - settings.crop) * numbers[:, 7]
    cosine, sine = angle.cos() * window / zoom, angle.sin() * window / zoom
    moved_x = -numbers[:, 3] * settings.translate * 2 / width + numbers[:, 5] * (1 - window)
    moved_y = -numbers[:, 4] * settings.translate * 2 / height + numbers[:, 6] * (1 - window)
    x_row = torch.stack([cosine, (sine + slant * cosine) * (height / width), moved_x], dim=1)
    y_row = torch.stack([-sine * (width / height), cosine - slant * sine, moved_y], dim=1)
    return torch.stack([x_row, y_row], dim=1)


def coin(rows: Tensor, seed: int = 0) -> Tensor:
    """A fair 0 or 1 for every row number, always the same for the same seed.

    Args:
        rows: (N,) row numbers.
        seed: Which coin.

    Returns:
        (N,) zeros and ones.

    Example:
        >>> coin(torch.arange(1000)).float().mean().sub(0.5).abs().item() < 0.05
        True
    """
    salt = (seed * 0x3F58476D1CE4E5B9 + 2**63) % 2**64 - 2**63  # as int64 arithmetic would wrap
    mixed = (rows.to(torch.int64) + 1) * 0x1E3779B97F4A7C15 + salt
    mixed = (mixed ^ ((mixed >> 30) & 0x3FFFFFFFF)) * 0x14D049BB133111EB
    mixed = (mixed ^ ((mixed >> 27) & 0x1FFFFFFFFF)) * 0x2545F4914F6CDD1D
    return (mixed >> 33) & 1
