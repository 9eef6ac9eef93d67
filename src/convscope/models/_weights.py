"""Save the weights of a network so that they are whole on disk or not there, and read them back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ConvscopeError, ResourceError, UsageError, choose
from convscope.files import (
    MODEL_CONFIG,
    SETTINGS,
    checked_path,
    missing_parents,
    read_bytes,
    read_toml,
    write_durably,
)
from convscope.models._architecture import Architecture, InputShape
from convscope.models._config import ModelConfig, difference, parse_config
from convscope.models._matching import (
    LIKELY,
    adopt,
    closest,
    compare_keys,
    fit,
    recognize,
    shapes_of,
    without_prefix,
)
from convscope.models._registry import MODELS, TORCH_SUFFIXES
from convscope.models._safetensors import (
    other_library,
    read_tensors,
    read_whole,
    refuse_impostors,
    replace_durably,
    write_tensors,
)
from convscope.models._torch_file import read_state_dict

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
    new = [path for path in (folder, *missing_parents(folder)) if not path.exists()]
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
        for path in new:
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


def load_folder(folder: Path, *, allow_nonfinite: bool = False) -> Classifier:
    """The network of a run folder.

    Raises:
        CheckpointError: See `convscope.models.load`.
    """
    described = folder / "config.json"
    if not described.exists():
        if (folder / "saved_model.pb").exists():
            raise other_library("a TensorFlow SavedModel", folder)
        unfinished = (folder / "checkpoints").is_dir()
        raise CheckpointError(
            "no config.json in this folder",
            code="C07",
            where=folder,
            expected="a run folder: config.json and model.safetensors",
            hint="training has not finished: convscope train --resume --out " + str(folder)
            if unfinished
            else "name the folder that `convscope train --out` wrote",
        )
    config, flags = _read_config(described)
    path = folder / config.weights
    if config.origin is not None:
        return _trained_further(path, config, flags, allow_nonfinite=allow_nonfinite)
    flags += _check_same_run(folder / "config.toml", config)
    return _assemble(path, described, config, flags, allow_nonfinite=allow_nonfinite)


def load_file(path: Path, *, allow_nonfinite: bool = False) -> Classifier:
    """The network of a weight file, described by a config beside it or by its own header.

    Raises:
        CheckpointError: See `convscope.models.load`.
    """
    for described in (path.with_suffix(".json"), path.with_name("config.json")):
        if described.exists():
            config, flags = _read_config(described)
            if config.weights == path.name and config.origin is not None:
                return _trained_further(path, config, flags, allow_nonfinite=allow_nonfinite)
            if config.weights == path.name:
                return _assemble(path, described, config, flags, allow_nonfinite=allow_nonfinite)
    return _assemble(path, None, None, (), allow_nonfinite=allow_nonfinite)


def _trained_further(
    path: Path, config: ModelConfig, flags: tuple[str, ...], *, allow_nonfinite: bool
) -> Classifier:
    """A network that is not of `MODELS`; what it needs is imported only here."""
    from convscope.models._fine_tuned import load_fine_tuned

    loaded = load_fine_tuned(path, config, allow_nonfinite=allow_nonfinite)
    return replace(loaded, flags=(*flags, *loaded.flags))


def _read_config(path: Path) -> tuple[ModelConfig, tuple[str, ...]]:
    data = read_bytes(path, MODEL_CONFIG)
    if data[:64].lstrip()[:1] != b"{":
        refuse_impostors(data, path)
    if b'"schema"' not in data and b'"model_type"' in data:
        raise CheckpointError(
            "a transformers model, not a run of convscope",
            code="C17",
            where=path,
            hint=f"load it as hf:{path.parent}",
        )
    config, odd = parse_config(data, path)
    return config, (f"{path.name} {odd}",) if odd else ()


def _check_same_run(path: Path, config: ModelConfig) -> tuple[str, ...]:
    """A config.toml that trains another network means that files of two runs were mixed."""
    if not path.exists():
        return ()
    try:
        planned = read_toml(path, SETTINGS).get("model")
    except ConvscopeError as error:
        return (f"{path.name} cannot be used ({error.what}): training settings are unknown",)
    if isinstance(planned, str) and planned in MODELS and planned != config.architecture:
        raise CheckpointError(
            f'config.toml says model = "{planned}", config.json says'
            f' architecture = "{config.architecture}"',
            code="C16",
            where=path.parent,
            hint="the folder holds files of two runs; keep one",
        )
    return ()


def _assemble(
    path: Path,
    described: Path | None,
    config: ModelConfig | None,
    flags: tuple[str, ...],
    *,
    allow_nonfinite: bool,
) -> Classifier:
    data = read_whole(path)
    digest = hashlib.sha256(data).hexdigest()
    if config is not None and described is not None:
        config = _check_digest(path, described, config, digest)
    note: dict[str, str] = {}
    if is_torch_file(data, path):
        tensors, remarks = read_state_dict(data, path)
        flags += remarks
    else:
        weights = read_tensors(data, path)
        tensors, note = weights.tensors, weights.notes
    if "convscope" in note:
        inside, remark = parse_config(note["convscope"].encode(), path)
        if config is None:
            config = inside
            flags += (f"the description in {path.name} {remark}",) if remark else ()
        elif described is not None and flags and flags[0].startswith(described.name):
            changed = difference(config, inside)
            flags = (f"{flags[0]}: {changed}" if changed else flags[0], *flags[1:])
    tensors, stripped = without_prefix(tensors)
    if stripped:
        flags += (stripped,)
    if config is None:
        config = _guess(tensors, path)
        flags += ("no description: class names and normalization are unknown",)
    if not config.sha256:
        flags += (f"no checksum: {path.name} cannot be checked for damage",)
    network = _architecture(config, tensors, path).outline(
        len(config.class_names), config.input_shape
    )
    ready, odd = fit(tensors, network, path=path, allow_nonfinite=allow_nonfinite)
    words = config.source or "weights"
    return Classifier(
        module=adopt(network, ready),
        class_names=config.class_names,
        input_shape=config.input_shape,
        mean=config.mean,
        std=config.std,
        source=f"{config.architecture}, {words} ({path}, sha256 {digest[:12]})",
        flags=(*flags, *odd),
    )


def _check_digest(path: Path, described: Path, config: ModelConfig, digest: str) -> ModelConfig:
    """The config that belongs to the bytes: `described`, or one whose renaming was cut off."""
    if config.sha256 in ("", digest):
        return config
    pending = beside(described)
    if pending.is_file():
        try:
            newer, _ = parse_config(read_bytes(pending, MODEL_CONFIG), pending)
        except ConvscopeError:
            newer = config
        if newer.sha256 == digest:
            return newer
    raise CheckpointError(
        f"damaged or from another run: its SHA-256 is {digest[:12]}...,"
        f" {described.name} says {config.sha256[:12]}...",
        code="C08",
        where=path,
        hint="copy the whole folder again; nothing was loaded",
    )


def read_weights(
    data: bytes, path: Path, *, tied: bool = False
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a weight file of either kind, and what is odd about them.

    What a file is decides its content; only a .safetensors must be what its name says.
    """
    if is_torch_file(data, path):
        return read_state_dict(data, path, tied=tied)
    return read_tensors(data, path).tensors, ()


def is_torch_file(data: bytes, path: Path) -> bool:
    """Whether the bytes, or else the name, are those of ``torch.save`` or another archive."""
    if path.suffix.lower() == ".safetensors":
        return False
    if data[8:9] == b"{" and data[:2] != b"PK":
        return False
    return data[:4] == b"PK\x03\x04" or data[:1] == b"\x80" or _has_torch_name(path)


def _has_torch_name(path: Path) -> bool:
    return any(suffix.lower() in TORCH_SUFFIXES for suffix in path.suffixes[-2:])


def _guess(tensors: dict[str, Tensor], path: Path) -> ModelConfig:
    name, classes, shape = recognize(tensors, path)
    names = tuple(f"class {index}" for index in range(classes))
    return ModelConfig(architecture=name, class_names=names, input_shape=shape)


def _architecture(config: ModelConfig, tensors: dict[str, Tensor], path: Path) -> Architecture:
    if config.architecture in MODELS:
        return MODELS[config.architecture]
    near, share = closest(tensors)
    raise CheckpointError(
        f"unknown architecture {config.architecture!r}",
        code="C11",
        where=path,
        expected=f"one of {', '.join(MODELS)}",
        hint=f"the weights look like {near}" if share >= LIKELY else "needs a newer convscope?",
    )
