"""What every method may rely on: float images in [0, 1]."""

import torch
from torch import Tensor

from convscope.errors import ImageError


def check_images(images: Tensor, *, where: str = "images") -> None:
    """Refuse tensors that are not float images in [0, 1] (row I24).

    Raises:
        ImageError: With the smallest and largest value and the likely cause.

    Example:
        >>> check_images(torch.tensor([[[[0.0, 254.96]]]]))
        Traceback (most recent call last):
        convscope.errors.ImageError: images: pixels reach from 0 to 254.96
          expected: float values in [0, 1]
          fix: divide by 255
    """
    if images.ndim != 4 or not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ImageError(
            f"got {kind} of shape {tuple(images.shape)}",
            code="I24",
            where=where,
            expected="floats of shape (N, C, H, W) in [0, 1]",
            hint="divide by 255" if images.dtype == torch.uint8 else "",
        )
    if not images.numel():
        return
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        numbers = f"pixels reach from {low:g} to {high:g}"
        hint = "divide by 255" if high > 5 else "normalization belongs into the Classifier"
        if low != low or high != high or abs(low) == float("inf") or high == float("inf"):
            numbers, hint = "some pixels are NaN or infinite", ""
        raise ImageError(
            numbers, code="I24", where=where, expected="float values in [0, 1]", hint=hint
        )
