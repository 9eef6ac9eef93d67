"""Read the weights of a network from a run folder or a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ConvscopeError
from convscope.files import MODEL_CONFIG, SETTINGS, read_bytes, read_toml
from convscope.models._architecture import Architecture
from convscope.models._config import ModelConfig, difference, parse_config
from convscope.models._matching import LIKELY, adopt, closest, fit, recognize, without_prefix
from convscope.models._registry import MODELS, TORCH_SUFFIXES
from convscope.models._safetensors import other_library, read_tensors, read_whole, refuse_impostors
from convscope.models._saving import beside
from convscope.models._torch_file import read_state_dict

if TYPE_CHECKING:
    from convscope.classifier import Classifier


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
    flags += _check_same_run(folder / "config.toml", config)
    path = folder / config.weights
    return _assemble(path, described, config, flags, allow_nonfinite=allow_nonfinite)


def load_file(path: Path, *, allow_nonfinite: bool = False) -> Classifier:
    """The network of a weight file, described by a config beside it or by its own header.

    Raises:
        CheckpointError: See `convscope.models.load`.
    """
    for described in (path.with_suffix(".json"), path.with_name("config.json")):
        if described.exists():
            config, flags = _read_config(described)
            if config.weights == path.name:
                return _assemble(path, described, config, flags, allow_nonfinite=allow_nonfinite)
    return _assemble(path, None, None, (), allow_nonfinite=allow_nonfinite)


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
    if isinstance(planned, str) and planned != config.architecture:
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
