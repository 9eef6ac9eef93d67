"""Weights from and to files: a network trained by the torch engine runs here, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from convscope.errors import CheckpointError, printable
from convscope.files import (
    MODEL_CONFIG,
    TENSORS,
    check_tensor_file,
    checked_path,
    read_bytes,
    read_json_table,
    usable_path,
    write_whole,
)
from convscope.scratch._layers import Layer
from convscope.scratch._networks import Sequential, build_network

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
    data = read_bytes(path, TENSORS)
    check_tensor_file(data, len(data), where=path)
    try:
        arrays = parse(data)
    except Exception as error:  # the parser raises many kinds; bfloat16 is a KeyError
        raise CheckpointError(
            f"cannot be read: {printable(str(error))}",
            where=path,
            expected="a safetensors file of types that NumPy has",
        ) from error
    arrays = {name: array for name, array in arrays.items() if not name.endswith(_UNUSED)}
    wanted = network.parameters | network.constants
    if arrays.keys() != wanted.keys():
        missing, unknown = sorted(wanted.keys() - arrays), sorted(arrays.keys() - wanted)
        raise CheckpointError(
            f"missing {missing or 'nothing'}, unknown {unknown or 'nothing'}",
            where=path,
            expected=f"exactly the names {', '.join(wanted)}",
            hint="build the architecture that the file was trained with",
        )
    for name, array in arrays.items():
        if array.shape != wanted[name].shape:
            raise CheckpointError(
                f"{name} has shape {array.shape}", where=path, expected=f"{wanted[name].shape}"
            )
        if not np.issubdtype(array.dtype, np.floating):
            raise CheckpointError(
                f"{name} holds {array.dtype}", code="C14", where=path, expected="floating point"
            )
    for name, array in arrays.items():
        wanted[name][...] = array


def save_weights(network: Layer, path: Path | str) -> None:
    """Write a network's parameters and constants as a safetensors file.

    Args:
        network: The network.
        path: The file, overwritten if it exists.

    Raises:
        ResourceError: The disk is full or says no.
    """
    arrays = network.parameters | network.constants
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_whole(checked_path(path), serialize(whole))


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
    file = usable_path(folder, CheckpointError) / "config.json"
    config = read_json_table(file, MODEL_CONFIG)
    classes, shape = config.get("num_classes"), config.get("input_shape")
    sizes: list[Any] = shape if isinstance(shape, list) and len(shape) == 3 else [None]
    if not all(type(size) is int and 1 <= size <= 16384 for size in (*sizes, classes)):
        raise CheckpointError(
            f"num_classes is {str(classes)[:40]}, input_shape {str(shape)[:60]}",
            code="C17",
            where=file,
            expected="a config.json with architecture, input_shape and num_classes",
        )
    name = config.get("architecture")
    if not isinstance(name, str):
        raise CheckpointError(f"architecture is {str(name)[:40]}", code="C17", where=file)
    mean, std = (_numbers(config.get(key), key, sizes[0], file) for key in ("mean", "std"))
    network = build_network(
        name,
        generator=np.random.default_rng(0),
        num_classes=int(str(classes)),
        input_shape=(sizes[0], sizes[1], sizes[2]),
        mean=mean,
        std=std,
        dtype=dtype,
    )
    load_weights(network, Path(folder) / "model.safetensors")
    return network


def _numbers(value: object, what: str, channels: int, where: Path) -> tuple[float, ...] | None:
    if value is None:
        return None
    right = isinstance(value, list) and len(value) in (1, channels)
    least = -1e6 if what == "mean" else 0.0
    if not right or not all(
        type(number) in (int, float) and least < number < 1e6
        for number in value  # type: ignore[attr-defined]
    ):
        raise CheckpointError(f"{what} is {str(value)[:60]}", code="C17", where=where)
    return tuple(float(number) for number in value)  # type: ignore[attr-defined]
