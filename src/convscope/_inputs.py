"""Validation of what users hand over: images, labels, shapes, statistics, class names, radii."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from convscope.errors import ImageError, UsageError, choose
from convscope.types import Norm

PIXEL_TOLERANCE = 1e-6
"""A few units in the last place of float32: what decoding and resizing may leave outside [0, 1]."""


# ---------------------------------------------------------------------- of classifiers


def image_batch(images: object, input_shape: tuple[int, int, int], name: str) -> Tensor:
    """A float32 batch of images with pixels in [0, 1]; see `Classifier.check_images`."""
    batch = plain_tensor(images, name)
    if batch.ndim != 4 or not batch.is_floating_point():
        raise ImageError(
            f"{name} are {batch.dtype} of shape {tuple(batch.shape)}",
            code="I24",
            expected="float32 of shape (batch, channel, height, width), pixels in [0, 1]",
            hint="divide 8-bit images by 255; add a batch axis with images[None]",
        )
    if batch.shape[1] != input_shape[0]:
        last = batch.shape[3] == input_shape[0] and batch.shape[1] != batch.shape[2]
        raise ImageError(
            f"{name} have {batch.shape[1]} channels, not {input_shape[0]}",
            code="M14",
            hint="channels come second: images.permute(0, 3, 1, 2)"
            if last or batch.shape[3] in (1, 3)
            else "replicate a gray image with images.expand(-1, 3, -1, -1), or average colors",
        )
    with torch.inference_mode(False):
        batch = batch.detach().clone() if batch.is_inference() else batch.detach()
        batch = batch.float()
    if batch.numel() == 0:
        return batch
    low, high = batch.min().item(), batch.max().item()
    if not (low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE):
        cause = "they look normalized: pass plain pixels, mean and std belong to the classifier"
        if math.isnan(low) or math.isnan(high):
            cause = "find out where NaN comes from; it cannot be an image"
        elif high > 2 and low >= 0:
            cause = "they look like 8-bit images: divide by 255"
        raise ImageError(
            f"pixels of {name} range from {low:.3g} to {high:.3g}",
            code="I24",
            expected="pixels in [0, 1]",
            hint=cause,
        )
    return batch


def plain_tensor(images: object, name: str) -> Tensor:
    """Images of any harmless container as a plain tensor.

    Raises:
        ImageError: I24.
    """
    made: Tensor | None = None
    try:
        if isinstance(images, Tensor):
            made = images
        elif not isinstance(images, str | bytes):
            if isinstance(images, list | tuple) and any(isinstance(x, Tensor) for x in images):
                made = torch.stack([torch.as_tensor(x) for x in images])
            else:
                array = np.asarray(images)
                made = torch.as_tensor(array.copy()) if array.dtype.kind in "fiub" else None
    except (TypeError, ValueError, RuntimeError):
        made = None
    words = "a batch of images: a tensor, a NumPy array or a nested list of numbers"
    if isinstance(images, np.ma.MaskedArray) or (made is not None and made.is_nested):
        raise ImageError(f"{name} are masked or nested", code="I24", expected=words)
    if made is None:
        raise ImageError(f"{name} are a {type(images).__name__}", code="I24", expected=words)
    if made.layout != torch.strided or made.device.type == "meta" or made.is_quantized:
        kind = "on the meta device" if made.device.type == "meta" else f"{made.layout}"
        raise ImageError(
            f"{name} are a tensor {kind}", code="I24", expected=words, hint="images.to_dense()"
            if made.layout != torch.strided else "give tensors with values",
        )  # fmt: skip
    return made


def whole_numbers(values: object, name: str) -> Tensor:
    """Class numbers as an int64 tensor.

    Raises:
        UsageError: U10 if they are anything but whole numbers.
    """
    tensor: Tensor | None = None
    try:
        if isinstance(values, Tensor):
            tensor = values
        elif not isinstance(values, str | bytes | bool):
            array = np.asarray(values)
            tensor = torch.from_numpy(array.astype(np.int64)) if array.dtype.kind in "iu" else None
            if array.size == 0 and array.dtype.kind == "f":
                tensor = torch.zeros(array.shape, dtype=torch.int64)
    except (TypeError, ValueError):
        tensor = None
    fits = tensor is not None and tensor.layout == torch.strided and not (
        tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
        or tensor.device.type == "meta" or tensor.is_quantized
    )  # fmt: skip
    if tensor is None or not fits:
        what = f"of type {tensor.dtype}" if tensor is not None else f"{values!r:.80}"
        raise UsageError(f"{name} are {what}", code="U10", expected="whole numbers, one per image")
    return tensor.long()


def image_shape(values: Sequence[int]) -> tuple[int, int, int]:
    """Three positive whole numbers, the channels first.

    Raises:
        UsageError: U12 otherwise, or if the channels come last: ``(64, 64, 3)``.
    """
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        row = [int(v) for v in values]
        exact = all(float(v) == w for v, w in zip(values, row, strict=True))
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        row, exact = [], False
    if len(row) != 3 or not exact or min(row) < 1 or math.prod(row) > 2**28:
        raise UsageError(
            f"input_shape is {values!r}",
            code="U12",
            expected="(channel, height, width), such as (3, 224, 224)",
        )
    if row[0] == row[1] > 8 and row[2] in (1, 3, 4):
        raise UsageError(
            f"input_shape is {values!r}: its last number looks like the channels",
            code="U12",
            expected="(channel, height, width)",
            hint=f"input_shape=({row[2]}, {row[0]}, {row[1]})",
        )
    return row[0], row[1], row[2]


def per_channel(name: str, values: object) -> tuple[float, ...] | None:
    """One number, or one per channel, as a tuple.

    Raises:
        UsageError: U12 otherwise.
    """
    if values is None:
        return None
    try:
        if isinstance(values, str | bytes | bool):
            raise TypeError
        row = torch.as_tensor(values, dtype=torch.float64, device="cpu").reshape(-1).tolist()
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UsageError(
            f"{name} is {values!r}", code="U12", expected="one number, or one per channel"
        ) from error
    return tuple(row)


def class_names_of(values: object) -> tuple[str, ...]:
    """Class names as a tuple of texts; a single text is no list of names.

    Raises:
        UsageError: U12 for a text or for names that are none.
    """
    if values is None:
        return ()
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(
            f"class_names is {values!r}", code="U12", expected="one text per class, in a list"
        )
    names = tuple(values)
    if not all(isinstance(name, str) for name in names):
        wrong = next(name for name in names if not isinstance(name, str))
        raise UsageError(f"class_names holds {wrong!r}", code="U12", expected="texts")
    return names


def numbered(count: int) -> tuple[str, ...]:
    """Names for classes that nobody named: ``"class 0"``, ``"class 1"``, ..."""
    return tuple(f"class {i}" for i in range(count))


# ---------------------------------------------------------------------- of methods


def check_norm(norm: str) -> Norm:
    """`norm` if it is one that this package measures.

    Raises:
        UsageError: U01 otherwise.
    """
    return "linf" if choose("norm", norm, ("linf", "l2")) == "linf" else "l2"


def check_radius(epsilon: float | Tensor, norm: Norm, images: Tensor) -> Tensor:
    """Radii as float64, ``()`` or ``(batch,)``.

    Raises:
        UsageError: U03 if one is negative, NaN, infinite or larger than the whole pixel range.
    """
    radii = torch.as_tensor(epsilon, dtype=torch.float64)
    if radii.ndim > 1 or (radii.ndim == 1 and len(radii) != len(images)):
        raise UsageError(
            f"epsilon has shape {tuple(radii.shape)} for {len(images)} images",
            code="U03",
            expected="one number, or one per image",
        )
    widest = 1.0 if norm == "linf" else math.sqrt(max(images[:1].numel(), 1))
    for value in (radii.min().item(), radii.max().item()) if radii.numel() else ():
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(
                f"epsilon must be at least 0 and finite, got {value}",
                code="U03",
                expected="a radius in pixel units, such as 8/255",
            )
        if value > widest:
            raise UsageError(
                f"epsilon {value:g} is wider than all of [0, 1]",
                code="U03",
                expected=f"at most {widest:g} for norm {norm}",
                hint=f"pixels are in [0, 1]: did you mean {value:g}/255?",
            )
    return radii


def check_steps(steps: int) -> int:
    """`steps` if it can be counted.

    Raises:
        UsageError: U05 if negative or not whole.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UsageError(f"steps must be a whole number of at least 0, got {steps}", code="U05")
    return steps


def check_positive(name: str, value: float, code: str = "U06") -> float:
    """`value` if it is positive and finite.

    Raises:
        UsageError: U06 otherwise.
    """
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} must be positive and finite, got {value}", code=code)
    return value


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a whole number of at least `least`.

    Raises:
        UsageError: U05 otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(
            f"{name} must be a whole number of at least {least}, got {value}", code="U05"
        )
    return value
