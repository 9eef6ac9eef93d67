"""Weights from a file for a network that somebody else's code made: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.errors import CheckpointError, ModelContractError
from convscope.models._files import read_whole
from convscope.models._loading import read_weights
from convscope.models._matching import compare_keys, fit_all, shapes_of

# Counts batches that running averages have seen; nothing is computed from it, old files lack it.
_COUNTER = "num_batches_tracked"
# What wrappers put before every name: DataParallel, torch.compile, Lightning, timm, one's own.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")


def load_into(
    module: nn.Module,
    path: Path,
    *,
    input_shape: tuple[int, int, int] | None = None,
    allow_nonfinite: bool = False,
) -> tuple[str, ...]:
    """Give a network the weights of a file; names and shapes must be exactly its own.

    Args:
        module: The network; its weights are replaced.
        path: A .safetensors file, or a .pt with a state_dict, also inside a training checkpoint
            (``state_dict``, ``model``, ``ema``...); ``module.`` and the like before every name
            are removed. Weights that were saved on a GPU come to the CPU.
        input_shape: To run a network with lazy layers once, which have no shapes before.
        allow_nonfinite: Let NaN and infinity pass.

    Returns:
        What is odd about them, for the flags of the classifier.

    Raises:
        CheckpointError: C10, names or shapes differ; the text lists them. C01 to C19 as for `load`.
        NumericalError: C13.
    """
    tensors, remarks = read_weights(read_whole(path), path, tied=True)
    _materialize(module, input_shape)
    wanted = module.state_dict()
    tensors, removed = _renamed(tensors, wanted)
    missing = [name for name in wanted if name not in tensors and name.endswith(_COUNTER)]
    known = {name: value for name, value in wanted.items() if name not in missing}
    table = compare_keys(shapes_of(tensors), shapes_of(known))
    if table:
        error = CheckpointError(
            f"not the weights of this {type(module).__name__}: {table.sentence()}",
            code="C10",
            where=path,
            expected=f"{len(wanted)} tensors such as {', '.join(list(wanted)[:3])}",
            hint="make the network with the settings that it was trained with (--debug lists all)",
        )
        error.add_note(str(table))
        raise error
    ready, odd = fit_all(tensors, known, path=path, allow_nonfinite=allow_nonfinite)
    with torch.no_grad():
        module.load_state_dict(ready, strict=not missing)
    return (*remarks, *removed, *odd)


def _renamed(
    tensors: dict[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors under the network's names: prefixes taken off, or one put before them."""
    removed = ""
    for _ in range(3):
        if tensors.keys() <= wanted.keys() or not tensors:
            break
        prefix = next((p for p in _PREFIXES if all(n.startswith(p) for n in tensors)), "")
        if not prefix:
            break
        removed += prefix
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    if removed:
        return tensors, (f"the prefix {removed!r} of every weight was removed",)
    for prefix in _PREFIXES:
        if tensors and all(prefix + name in wanted for name in tensors):
            named = {prefix + name: value for name, value in tensors.items()}
            return named, (f"the prefix {prefix!r} was put before every weight",)
    return tensors, ()


def _materialize(module: nn.Module, input_shape: tuple[int, int, int] | None) -> None:
    """Let lazy layers find out their shapes."""
    if not any(is_lazy(value) for value in (*module.parameters(), *module.buffers())):
        return
    if input_shape is None:
        raise ModelContractError(
            "the network has lazy layers, whose shapes depend on the images",
            code="M22",
            hint="add --input-shape CHANNELS,HEIGHT,WIDTH",
        )
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape))
    except Exception as error:
        shape = "x".join(map(str, input_shape))
        raise ModelContractError(
            f"the network cannot run on a {shape} image: {error}", code="M14"
        ) from error
    finally:
        module.train(training)
