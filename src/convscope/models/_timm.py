"""timm:NAME, for those who have timm."""

import math
from collections.abc import Mapping
from typing import Any

from convscope.classifier import Classifier
from convscope.errors import ResourceError, choose
from convscope.models._adapters import numbers, require
from convscope.resizing import Resize

DEFAULT_CROP = 0.875


def load_timm(name: str) -> Classifier:
    """A pretrained classifier of timm with the resizing, mean and std of its ``pretrained_cfg``.

    Raises:
        UsageError: timm is missing or broken, or has no network of that name.
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    library = require("timm", "timm:", extra="pip install timm")
    choose("timm network", name.partition(".")[0], library.list_models())
    try:
        module = library.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        raise ResourceError(f"its weights cannot be fetched: {error}", where=f"timm:{name}") from (
            error
        )
    settings = module.pretrained_cfg
    channels, height, width = settings["input_size"]
    count = int(module.num_classes)
    names = settings.get("label_names") or [f"class {index}" for index in range(count)]
    return Classifier(
        module=module.eval(),
        class_names=tuple(names),
        input_shape=(channels, height, width),
        mean=numbers(list(settings["mean"]), channels, "mean"),
        std=numbers(list(settings["std"]), channels, "std"),
        source=f"timm:{name}",
        resize=_resize(settings, height, width),
    )


def _resize(settings: Mapping[str, Any], height: int, width: int) -> Resize | None:
    """What timm's evaluation transform does, where a `Resize` can say it.

    ``center`` resizes the shorter side to size / crop_pct, ``squash`` both sides; then the center
    is cut out. Other modes and sizes that are not square keep the usual way.
    """
    part = float(settings.get("crop_pct") or DEFAULT_CROP)
    resample = settings.get("interpolation", "bicubic")
    mode = settings.get("crop_mode") or "center"
    if height != width or resample not in ("bilinear", "bicubic", "nearest", "lanczos"):
        return None
    scaled = math.floor(height / part)
    sizes: dict[str, dict[str, Any]] = {
        "squash": {"size": (scaled, scaled)},
        "center": {"shortest": scaled},
    }
    if mode not in sizes:
        return None
    return Resize(**sizes[mode], crop=(height, width), resample=resample, center="round")
