"""Weights that come with the package: which there are, what is known of them, how to add some."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import CheckpointError, UsageError
from convscope.files import MODEL_CONFIG, read_bytes

if TYPE_CHECKING:
    import torch

    from convscope.models._config import ModelConfig

LIMIT = 12_000_000
"""Bytes that all of them may have together: the wheel is downloaded by people who want none."""


def weights_folder() -> Path:
    """Where ``NAME.safetensors`` and ``NAME.json`` of shipped networks lie."""
    return Path(str(files("convscope.models"))) / "weights"


def shipped() -> tuple[str, ...]:
    """Names that `load` knows weights for, sorted.

    Most are names of the registry. Others, such as ``mnist-conv2-fc-robust``, are further weights
    of an architecture, by another recipe; `shipped_config` says of which.
    """
    return tuple(sorted(path.stem for path in weights_folder().glob("*.safetensors")))


def shipped_path(name: str) -> Path:
    """The file with shipped weights."""
    return weights_folder() / f"{name}.safetensors"


def shipped_config(name: str) -> ModelConfig:
    """What is known of shipped weights: architecture, classes, a sentence, the model card.

    Args:
        name: One of `shipped`.

    Returns:
        The config; its `extra` is the model card (empty for weights of before there were any).

    Raises:
        CheckpointError: C07, C08 and others: the installation is damaged.

    Example:
        >>> shipped_config("mnist-conv2-fc").architecture
        'mnist-conv2-fc'
    """
    from convscope.models._config import parse_config

    path = shipped_path(name).with_suffix(".json")
    try:
        config, odd = parse_config(read_bytes(path, MODEL_CONFIG), path)
        if odd or not config.sha256:
            raise CheckpointError(odd or "names no SHA-256", code="C08", where=path)
    except CheckpointError as error:
        raise damaged(error) from None
    return config


def damaged(error: CheckpointError) -> CheckpointError:
    """The refusal of shipped weights that are not as they were shipped."""
    return CheckpointError(
        f"the installed convscope is damaged: {error.what}",
        code=error.code or "C08",
        where=error.where,
        hint="install it again: pip install --force-reinstall --no-deps convscope",
    )


def ship(
    run: Path | str,
    *,
    source: str,
    name: str = "",
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """For maintainers: put the network of a run among the shipped weights.

    ``benchmarks/ship_weights.py`` measures the run and calls this.

    Args:
        run: A run folder; it must load without a flag.
        source: The sentence that reports will show: recipe, data, accuracy.
        name: Its architecture by default; for further weights of an architecture its name, a dash
            and the recipe.
        extra: The model card, JSON only.
        dtype: How to store the weights; by default ``float16``, half of the file.

    Returns:
        The folder of shipped weights.

    Raises:
        CheckpointError: The run does not load, or something about it is odd.
        UsageError: U01, the name is that of another network; U12, all weights together would be
            larger than `LIMIT`.
    """
    import torch

    from convscope.models._config import parse_config
    from convscope.models._registry import MODELS
    from convscope.models._weights import load_folder, save_model

    classifier = load_folder(Path(run))
    if classifier.flags:
        raise CheckpointError(f"not shipped: {'; '.join(classifier.flags)}", where=run)
    described = Path(run) / "config.json"
    config, _ = parse_config(read_bytes(described, MODEL_CONFIG), described)
    name = name or config.architecture
    recipe = re.escape(config.architecture) + r"(-[a-z0-9]+)+"
    further = re.fullmatch(recipe, name) is not None and name not in MODELS
    if name != config.architecture and not further:
        raise UsageError(
            f"weights of {config.architecture} cannot be called {name!r}",
            code="U01",
            expected=f"{config.architecture}, or {config.architecture}-RECIPE",
        )

    def save(folder: Path) -> None:
        save_model(
            folder,
            module=classifier.module,
            architecture=config.architecture,
            class_names=config.class_names,
            input_shape=config.input_shape,
            mean=config.mean,
            std=config.std,
            source=source,
            extra=extra,
            name=name,
            dtype=torch.float16 if dtype is None else dtype,
        )

    with tempfile.TemporaryDirectory() as place:
        save(Path(place))
        new = (Path(place) / f"{name}.safetensors").stat().st_size
    folder = weights_folder()
    others = [path for path in folder.glob("*.safetensors") if path.stem != name]
    total = new + sum(path.stat().st_size for path in others)
    if total > LIMIT:
        raise UsageError(
            f"{name} has {new / 1e6:.2f} MB: with the others {total / 1e6:.2f}",
            code="U12",
            expected=f"{LIMIT / 1e6:g} MB in all, so that the wheel stays small",
            hint="half precision, or leave another one out",
        )
    save(folder)
    return folder
