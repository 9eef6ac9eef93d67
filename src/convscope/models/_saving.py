"""Writing a network so that it is whole on disk or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.errors import ResourceError, UsageError, choose
from convscope.files import checked_path, missing_parents, write_durably
from convscope.models._architecture import InputShape
from convscope.models._config import ModelConfig
from convscope.models._matching import compare_keys, shapes_of
from convscope.models._registry import MODELS
from convscope.models._safetensors import replace_durably, write_tensors

NEW = ".new"


def save_model(
    folder: Path | str,
    *,
    module: nn.Module,
    architecture: str,
    class_names: Sequence[str],
    input_shape: InputShape,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    source: str = "",
    extra: Mapping[str, Any] | None = None,
    name: str = "model",
    dtype: torch.dtype | None = None,
) -> Path:
    """Write ``model.safetensors`` and ``config.json`` into `folder`.

    Both are first written beside their places, flushed to the disk and then renamed, the weights
    before the config. Whenever the machine stops, the folder loads: as it was before, or as it is
    after (`load` finishes a change that stopped between the two renames in its head). The same
    network gives the same bytes.

    Args:
        folder: Made if it is not there.
        module: A network of the registry, in any mode; it is only read.
        architecture: Its key in `MODELS`.
        class_names: One per logit.
        input_shape: Channels, height, width.
        mean: Per-channel mean that is subtracted from pixels in [0, 1].
        std: Per-channel divisor.
        source: A sentence on how the weights came about; reports show it.
        extra: Anything else worth keeping; JSON only.
        name: Stem of the weight file. Any other than ``"model"`` names the config likewise:
            ``NAME.safetensors`` and ``NAME.json``.
        dtype: Store weights as ``torch.float16`` to halve the file; loading gives float32 back.

    Returns:
        The folder.

    Raises:
        UsageError: The module is not the network that `architecture` names.
        ResourceError: Disk full or no permission; what was there is untouched.
    """
    choose("network", architecture, MODELS)
    folder = checked_path(folder)
    state = module.state_dict()
    outline = MODELS[architecture].outline(len(class_names), input_shape)
    table = compare_keys(shapes_of(state), shapes_of(outline.state_dict()))
    if table:
        raise UsageError(
            f"the module is not {architecture} with {len(class_names)} classes: {table.sentence()}",
            code="C10",
        )
    if dtype is not None:
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    config = ModelConfig(
        architecture=architecture,
        class_names=tuple(class_names),
        input_shape=input_shape,
        mean=None if mean is None else tuple(float(value) for value in mean),
        std=None if std is None else tuple(float(value) for value in std),
        weights=f"{name}.safetensors",
        source=source,
        extra=extra or {},
    )
    # The file itself also says what it is, for the day when it travels alone.
    data = write_tensors(state, {"convscope": config.to_json()})
    config = config.with_checksum(hashlib.sha256(data).hexdigest())
    weights = folder / config.weights
    described = folder / ("config.json" if name == "model" else f"{name}.json")
    made = [path for path in (folder, *missing_parents(folder)) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(beside(weights), data)
        write_durably(beside(described), config.to_json().encode())
        replace_durably(beside(weights), weights)
        replace_durably(beside(described), described)
    except (OSError, ResourceError) as error:
        for draft in (beside(weights), beside(described)):
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
        if isinstance(error, ResourceError):
            raise
        raise ResourceError(
            f"cannot be made: {error.strerror}", code="T04", where=folder
        ) from error
    return folder


def beside(path: Path) -> Path:
    """Where `path` is written before it is renamed."""
    return path.with_name(path.name + NEW)
