"""Weights that come with the package."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.errors import CheckpointError
from convscope.files import MODEL_CONFIG, read_bytes

if TYPE_CHECKING:
    import torch

    from convscope.classifier import Classifier


def weights_folder() -> Path:
    """Where ``NAME.safetensors`` and ``NAME.json`` of shipped networks lie."""
    return Path(str(files("convscope.models"))) / "weights"


def shipped() -> tuple[str, ...]:
    """Names of the registry that `load` knows weights for, sorted."""
    return tuple(sorted(path.stem for path in weights_folder().glob("*.safetensors")))


def check_shipped(name: str) -> None:
    """Refuse a network of the registry whose weights do not come with the package.

    Raises:
        CheckpointError: C11; the text says how to train it.
    """
    if name not in shipped():
        known = shipped()
        raise CheckpointError(
            f"{name} is a network without shipped weights",
            code="C11",
            expected=f"one of {', '.join(known)}" if known else "no weights are shipped yet",
            hint=f"train it: convscope train {name} --data digits --out runs/{name}",
        )


def load_shipped(name: str, *, allow_nonfinite: bool = False) -> Classifier:
    """The network `name` with the weights of this package.

    Raises:
        CheckpointError: There are none; the text says how to train it.
    """
    check_shipped(name)
    from convscope.models._weights import load_file

    path = weights_folder() / f"{name}.safetensors"
    loaded = load_file(path, allow_nonfinite=allow_nonfinite)
    # Where the package is installed says nothing about the network.
    return replace(loaded, source=loaded.source.replace(f"({path}, ", "(shipped, "))


def ship(run: Path | str, *, source: str, dtype: torch.dtype | None = None) -> Path:
    """For maintainers: put the network of a run among the shipped weights, under its own name.

    Args:
        run: A run folder; it must load without a flag.
        source: The sentence that reports will show: recipe, data, accuracy.
        dtype: How to store the weights; by default ``float16``, half of the file.

    Returns:
        The folder of shipped weights.

    Raises:
        CheckpointError: The run does not load, or something about it is odd.
    """
    import torch

    from convscope.models._config import parse_config
    from convscope.models._saving import save_model
    from convscope.models._weights import load_folder

    classifier = load_folder(Path(run))
    if classifier.flags:
        raise CheckpointError(f"not shipped: {'; '.join(classifier.flags)}", where=run)
    described = Path(run) / "config.json"
    config, _ = parse_config(read_bytes(described, MODEL_CONFIG), described)
    return save_model(
        weights_folder(),
        module=classifier.module,
        architecture=config.architecture,
        class_names=config.class_names,
        input_shape=config.input_shape,
        mean=config.mean,
        std=config.std,
        source=source,
        name=config.architecture,
        dtype=torch.float16 if dtype is None else dtype,
    )
