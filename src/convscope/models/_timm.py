"""timm:NAME, for those who have timm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, choose
from convscope.models._description import Description, naming_classes
from convscope.models._factory import load_into
from convscope.models._libraries import fetching, numbers, require
from convscope.resizing import Resize

NOTHING = Description()
DEFAULT_CROP = 0.875
FEATURES = "no-classes"
"""Flag: the outputs are features, not scores of classes."""


def load_timm(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier of timm with the resizing, mean and std of its ``pretrained_cfg``.

    Class names are those that timm knows for the data the network was trained on.

    Args:
        name: As in ``timm.list_models()``, with or without a tag: ``resnet18.a1_in1k``.
        about: Weights of one's own instead of the pretrained ones, size, names, mean, std.
        allow_nonfinite: Let NaN and infinity pass in the weights of `about`.

    Raises:
        UsageError: timm is missing or broken, or has no network of that name.
        ModelContractError: M02, the network has no head: it returns features.
        CheckpointError: The weights of `about` do not fit.
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    library = require("timm")
    choose("timm network", name.partition(".")[0], library.list_models())
    where = f"timm:{name}"
    flags: tuple[str, ...] = ()
    if about.weights is None:
        known = library.get_pretrained_cfg(name, allow_unregistered=False)
        if known is None or not known.has_weights:
            # timm itself would go on with random weights and a line in a log.
            raise CheckpointError(
                "timm has no trained weights of this name",
                code="C11",
                where=where,
                hint=f"timm:{name} --weights FILE takes your own; timm.list_pretrained() lists all",
            )
        if known.num_classes == 0:
            raise _headless(where)
        with fetching(where, _hint(name)):
            module = library.create_model(name, pretrained=True)
        source = where
    else:
        classes = {"num_classes": len(about.class_names)} if about.class_names else {}
        module = library.create_model(name, pretrained=False, **classes)
        with naming_classes(about):
            flags = load_into(module, about.weights, allow_nonfinite=allow_nonfinite)
        source = f"{where}, weights {about.weights.name}"
    settings = module.pretrained_cfg
    count = int(module.num_classes)
    if count < 1:
        raise _headless(where)
    names = about.class_names or class_names_of(library, settings, count)
    if not names:
        flags += (
            f"{FEATURES}: its {count} outputs have no names"
            + (" and come from a network trained on image and text" if _is_tower(settings) else "")
            + "; they may be features and not scores of classes",
        )
        names = tuple(f"class {index}" for index in range(count))
    channels, height, width = about.input_shape or settings["input_size"]
    mean, std = about.mean or settings.get("mean"), about.std or settings.get("std")
    return Classifier(
        module=module.eval(),
        class_names=tuple(names),
        input_shape=(int(channels), int(height), int(width)),
        mean=numbers(None if mean is None else list(mean), channels, "mean"),
        std=numbers(None if std is None else list(std), channels, "std"),
        source=source,
        flags=flags,
        resize=_resize(settings, int(height), int(width)),
    )


def _headless(where: str) -> ModelContractError:
    return ModelContractError(
        "this network has no head: it returns features, not scores of classes",
        code="M02",
        where=where,
        expected="a classifier, such as timm:resnet18.a1_in1k",
        hint="put a trained head on it in a function of your own: package.module:factory",
    )


def class_names_of(library: Any, settings: Any, count: int) -> tuple[str, ...]:
    """What timm knows of the classes: ``label_names``, else its ImageNet tables; else nothing."""
    listed = settings.get("label_names")
    if isinstance(listed, list | tuple) and len(listed) == count:
        return tuple(map(str, listed))
    try:
        subset = library.data.infer_imagenet_subset(settings)
        if not subset and count == 1000 and not _is_tower(settings):
            subset = "imagenet-1k"
        if not subset:
            return ()
        info = library.data.ImageNetInfo(subset)
        names = tuple(str(info.index_to_description(index)) for index in range(count))
        return names if info.num_classes() == count else ()
    except (AttributeError, KeyError, IndexError, AssertionError, OSError, ValueError):
        return ()


def _is_tower(settings: Any) -> bool:
    """Half of a network for images and texts, whose outputs are coordinates."""
    words = " ".join(
        str(settings.get(key) or "") for key in ("tag", "architecture", "hf_hub_id", "classifier")
    ).lower()
    paired = any(word in words for word in ("clip", "siglip", "openai", "laion", "metaclip", "dfn"))
    tuned = any(word in words for word in ("in1k", "in12k", "in22k"))
    return paired and not tuned


def _hint(name: str) -> str:
    return (
        "on a connected machine: timm.create_model(NAME, pretrained=True), save its state_dict "
        f"with safetensors; here: timm:{name} --weights FILE"
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
