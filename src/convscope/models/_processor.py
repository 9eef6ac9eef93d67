"""What an image processor of transformers does to a photo, said in the words of a `Classifier`.

Resizing belongs to whoever decodes files (`Resize`); everything behind it is one affine map of the
pixels, that is mean and std, and perhaps an exchange of colors. What came out is compared with the
processor itself on images of noise: a setting that is not understood cannot pass unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.errors import CheckpointError, UsageError
from convscope.models._libraries import numbers
from convscope.resizing import Resample, Resize

PREPROCESSOR = "preprocessor_config.json"
USUAL_SIDE = 224
WARPED_FROM = 384
"""ConvNext's rule: from this side on the whole image is resized, below only its center is seen."""

RESAMPLES: dict[int, Resample] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
"""Pillow's numbers for its filters, which the files hold."""

UNDERSTOOD = frozenset(
    [
        "size",
        "crop_size",
        "crop_pct",
        "resample",
        "image_mean",
        "image_std",
        "rescale_factor",
        "rescale_offset",
        "include_top",
        "do_resize",
        "do_center_crop",
        "do_rescale",
        "do_normalize",
        "do_flip_channel_order",
    ]
)
WITHOUT_EFFECT = frozenset(
    [
        "image_processor_type",
        "feature_extractor_type",
        "processor_class",
        "do_convert_rgb",
        "do_reduce_labels",
        "reduce_labels",
        "default_to_square",
        "return_tensors",
        "data_format",
        "input_data_format",
        "device",
        "disable_grouping",
        "image_seq_length",
        "_valid_processor_keys",
        "model_input_names",
        "crop_to_patches",
        "num_channels",
        "transformers_version",
        "_processor_class",
        "_name_or_path",
        "do_pad",
        "pad_size",
        "size_divisor",
        "apply_ocr",
    ]
)
"""Settings that change nothing for photos in RGB, or whose effect the comparison would show."""

OF_SOME = {
    "crop_pct": ("ConvNextImageProcessor", "PoolFormerImageProcessor"),
    "rescale_offset": ("EfficientNetImageProcessor",),
    "include_top": ("EfficientNetImageProcessor",),
    "do_flip_channel_order": ("MobileViTImageProcessor",),
}
"""Settings that only these processors obey; transformers ignores them in the files of others."""

NEVER_NORMALIZE = ("MobileViTImageProcessor",)

PROBES = ((301, 227), (97, 260))
"""(width, height) of the images of noise on which both ways are compared."""

TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What a preprocessor_config.json asks for.

    Args:
        resize: From a decoded image to the network's size.
        mean: Per channel, for pixels in [0, 1].
        std: Per channel, likewise.
        flipped: Whether the network takes blue, green, red.
        notes: What a reader should know.
    """

    resize: Resize
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    flipped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what the network takes."""
        return self.resize.output


def flip_channels(images: Tensor) -> Tensor:
    """Red, green, blue becomes blue, green, red."""
    return images.flip(1)


def read_preprocessing(settings: Mapping[str, Any], channels: int, where: str) -> Preprocessing:
    """Resizing, mean and std from the keys that transformers' image processors use.

    A processor turns a pixel ``p`` in 0..255 into ``(p * rescale_factor - offset - mean) / std``.
    For a pixel in [0, 1] that is the same with ``(mean + offset)`` and std divided by
    ``255 * rescale_factor``. EfficientNet's ``include_top`` divides by std once more.

    Args:
        settings: The processor's settings, with its own defaults filled in.
        channels: Of the network.
        where: For the error texts.

    Raises:
        CheckpointError: C17, a value makes no sense or is not understood.

    Example:
        >>> rule = read_preprocessing({"size": 28, "image_mean": 0.5, "image_std": 0.25}, 1, "x")
        >>> rule.size, rule.mean, rule.std
        ((28, 28), (0.5,), (0.25,))
    """
    place = f"{where}/{PREPROCESSOR}"
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    kind = kind.removesuffix("Pil").removesuffix("Fast")
    settings = {k: v for k, v in settings.items() if kind in OF_SOME.get(k, (kind,))}
    resize, notes = _resize(settings, kind, place)
    mean = std = None
    if settings.get("do_normalize", True) and kind not in NEVER_NORMALIZE:
        mean = numbers(settings.get("image_mean"), channels, "image_mean")
        std = numbers(settings.get("image_std"), channels, "image_std")
    if settings.get("include_top", False):
        again = numbers(settings.get("image_std"), channels, "image_std") or (1.0,)
        std = tuple(a * b for a, b in zip(_wide(std, channels), _wide(again, channels),
                                          strict=True))  # fmt: skip
    factor = 255.0
    if settings.get("do_rescale", True):
        factor *= _number(settings.get("rescale_factor", 1 / 255), "rescale_factor", place)
    if settings.get("rescale_offset", False) and settings.get("do_rescale", True):
        mean = tuple(value + 1.0 for value in _wide(mean, channels, 0.0))
    if abs(factor - 1) > 1e-6:
        mean = None if mean is None else tuple(value / factor for value in mean)
        std = tuple(value / factor for value in _wide(std, channels))
    return Preprocessing(
        resize=resize,
        mean=mean,
        std=std,
        flipped=bool(settings.get("do_flip_channel_order", False)) and channels == 3,
        notes=notes,
    )


def refuse_unknown(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a file with settings that nobody here has heard of.

    Raises:
        CheckpointError: C17 with their names.
    """
    strange = sorted(
        str(key)
        for key, value in settings.items()
        if key not in UNDERSTOOD | WITHOUT_EFFECT and value not in (None, False)
    )
    if strange:
        raise CheckpointError(
            f"preprocessing that is not understood: {', '.join(strange[:5])}",
            code="C17",
            where=f"{where}/{PREPROCESSOR}",
            hint="load it in Python and describe it with Classifier.wrap(..., preprocess=...)",
        )


def check_against(processor: Any, preprocessing: Preprocessing, channels: int, where: str) -> None:
    """Refuse if the processor itself makes something else of two images of noise.

    Args:
        processor: An image processor of transformers, Pillow's variant.
        preprocessing: What was read from its settings.
        channels: 1 or 3.
        where: For the error text.

    Raises:
        CheckpointError: C17 with the name of the processor.
    """
    random = np.random.default_rng(0)
    for width, height in PROBES:
        pixels = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
        try:
            theirs = processor(images=image, return_tensors="pt")["pixel_values"][0]
        except Exception as error:
            raise _unlike(processor, where, f"it fails on an image ({error})") from error
        rule = preprocessing.resize
        if preprocessing.notes:  # it keeps proportions: compared before the center is cut out
            rule = Resize(size=rule.resized(height, width), resample=rule.resample)
        ours = torch.from_numpy(np.array(rule.apply(image))).float().div(255)
        ours = ours[None] if ours.ndim == 2 else ours.movedim(-1, 0)
        ours = (flip_channels(ours[None]) if preprocessing.flipped else ours[None])[0]
        ours = ours - torch.tensor(_wide(preprocessing.mean, channels, 0.0))[:, None, None]
        ours = ours / torch.tensor(_wide(preprocessing.std, channels))[:, None, None]
        if theirs.shape != ours.shape:
            shape = "x".join(map(str, theirs.shape))
            raise _unlike(processor, where, f"images become {shape} by it")
        off = float((torch.as_tensor(theirs).float() - ours).abs().max())
        if off > TOLERANCE * max(1.0, float(ours.abs().max())):
            raise _unlike(processor, where, f"pixels differ by {off:.3g}")


def _unlike(processor: Any, where: str, why: str) -> CheckpointError:
    name = type(processor).__name__.removesuffix("Pil")
    return CheckpointError(
        f"what {name} does to images is not understood: {why}",
        code="C17",
        where=f"{where}/{PREPROCESSOR}",
        hint="load it in Python and describe it with Classifier.wrap(..., preprocess=...)",
    )


def _resize(settings: Mapping[str, Any], kind: str, place: str) -> tuple[Resize, tuple[str, ...]]:
    resample = settings.get("resample", 2)
    if resample not in RESAMPLES:
        raise CheckpointError(f"resample is {resample!r}", code="C17", where=place)
    crop = None
    if settings.get("do_center_crop", "crop_size" in settings):
        crop = _pair(settings.get("crop_size", USUAL_SIDE), place)
    rule: dict[str, Any] = {"resample": RESAMPLES[resample], "crop": crop}
    notes: tuple[str, ...] = ()
    if settings.get("do_resize", True):
        size = settings.get("size", USUAL_SIDE)
        edge = size.get("shortest_edge") if isinstance(size, Mapping) else None
        part = settings.get("crop_pct")
        part = None if part is None else _number(part, "crop_pct", place)
        if edge is None:
            rule["size"] = _pair(size, place)
            if part is not None and kind == "PoolFormerImageProcessor":
                height, width = (int(side / part) for side in rule.pop("size"))
                rule |= {"shortest": height} if height == width else {"size": (height, width)}
        elif _pair(edge, place) and kind == "ConvNextImageProcessor":
            if edge < WARPED_FROM:
                rule |= {"shortest": int(edge / (part or USUAL_SIDE / 256)), "crop": (edge, edge)}
            else:
                rule["size"] = (edge, edge)
        elif kind == "LevitImageProcessor":
            rule["shortest"] = int((256 / 224) * edge)
        elif part is not None:  # PoolFormer
            rule["shortest"] = int(edge / part)
        else:
            rule["shortest"] = edge
    if rule["crop"] is None and "size" not in rule:
        if "shortest" not in rule:
            rule["crop"] = _pair(settings.get("size", USUAL_SIDE), place)
            return _made(rule, place), ("its processor resizes nothing: images are cut to size",)
        rule["crop"] = (rule["shortest"],) * 2
        notes = ("its processor keeps the proportions of images; only their center is used here",)
    return _made(rule, place), notes


def _made(rule: dict[str, Any], place: str) -> Resize:
    try:
        return Resize(**rule)
    except UsageError as error:
        raise _size_error(place) from error


def _pair(value: Any, place: str) -> tuple[int, int]:
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = (value.get("height", edge), value.get("width", edge))
    if isinstance(value, int):
        value = (value, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        value = (None, None)
    if not all(type(side) is int and 1 <= side <= 16384 for side in value):
        raise _size_error(place)
    return (value[0], value[1])


def _size_error(place: str) -> CheckpointError:
    return CheckpointError("the size of its images cannot be read", code="C17", where=place)


def _number(value: Any, name: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise CheckpointError(f"{name} is {value!r}", code="C17", where=place)
    return float(value)


def _wide(
    values: tuple[float, ...] | None, channels: int, default: float = 1.0
) -> tuple[float, ...]:
    """One value per channel."""
    values = values or (default,)
    return values if len(values) == channels else values * channels
