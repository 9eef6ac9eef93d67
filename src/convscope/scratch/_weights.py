"""Weights from and to files: a network trained by the torch engine runs here, and back."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from convscope.errors import CheckpointError
from convscope.scratch._layers._layer import Layer
from convscope.scratch._layers._sequential import Sequential
from convscope.scratch._networks import build_network

# Counts the batches that torch's running averages have seen; nothing is computed from it.
_UNUSED = "num_batches_tracked"


def load_weights(network: Layer, path: Path | str) -> None:
    """Copy the arrays of a safetensors file into a network's parameters and constants.

    Args:
        network: The network; its arrays are overwritten in place, in their own type.
        path: The file. Names are those of the network, such as ``conv1.weight``.

    Raises:
        CheckpointError: An unreadable file, missing or unknown names, other shapes.

    Example:
        >>> import tempfile
        >>> from convscope.scratch import build_network, save_weights
        >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> trained = build_network("mnist-conv1", generator=np.random.default_rng(1))
        >>> save_weights(trained, file)
        >>> network = build_network("mnist-conv1", generator=np.random.default_rng(2))
        >>> load_weights(network, file)
        >>> bool((network.parameters["fc1.weight"] == trained.parameters["fc1.weight"]).all())
        True
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"cannot be read: {error}", where=path, expected="a safetensors file"
        ) from error
    found = {name: array for name, array in found.items() if not name.endswith(_UNUSED)}
    wanted = network.parameters | network.constants
    if found.keys() != wanted.keys():
        missing, unknown = sorted(wanted.keys() - found), sorted(found.keys() - wanted)
        raise CheckpointError(
            f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}",
            where=path,
            expected=f"exactly the names {', '.join(wanted)}",
            hint="build the architecture that the file was trained with",
        )
    for name, array in found.items():
        if array.shape != wanted[name].shape:
            raise CheckpointError(
                f"{name} has shape {array.shape}", where=path, expected=f"{wanted[name].shape}"
            )
    for name, array in found.items():
        wanted[name][...] = array


def save_weights(network: Layer, path: Path | str) -> None:
    """Write a network's parameters and constants as a safetensors file.

    Args:
        network: The network.
        path: The file, overwritten if it exists.
    """
    arrays = network.parameters | network.constants
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def load_network(folder: Path | str, *, dtype: type[np.floating] = np.float32) -> Sequential:
    """The network of a run folder that the torch engine wrote, in NumPy.

    Args:
        folder: Holds ``config.json`` (architecture, classes, shape, mean, std) and
            ``model.safetensors``.
        dtype: Type of the parameters.

    Returns:
        A network from images (N, C, H, W) with pixels in [0, 1] to logits.

    Raises:
        CheckpointError: A file is missing or damaged, or the weights belong to another network.
        UsageError: An architecture that is not one of `NETWORKS`.
    """
    file = Path(folder) / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        name, shape = (
            str(config["architecture"]),
            tuple(int(size) for size in config["input_shape"]),
        )
        classes, mean, std = int(config["num_classes"]), config.get("mean"), config.get("std")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{type(error).__name__}: {error}",
            where=file,
            expected="a config.json with architecture, input_shape and num_classes",
        ) from error
    network = build_network(
        name,
        generator=np.random.default_rng(0),
        num_classes=classes,
        input_shape=(shape[0], shape[1], shape[2]),
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        dtype=dtype,
    )
    load_weights(network, Path(folder) / "model.safetensors")
    return network
