"""Your own network: a factory function and a file of weights."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, UsageError, choose
from convscope.models._description import Description, need_shape
from convscope.models._matching import compare_keys, fit_all, shapes_of
from convscope.models._safetensors import read_whole
from convscope.models._weights import read_weights

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


NOTHING = Description()


def load_factory(
    spec: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """Import ``package.module`` and call ``factory()``.

    This runs code that the user names on the command line; it is trusted as the user's own.
    Nothing that a *file* names is ever imported. The current folder is searched too.

    Args:
        spec: ``"package.module:factory"``. The factory takes no arguments and returns a
            `Classifier`, or a module. `about` says what the module does not say by attributes
            ``input_shape``, ``class_names``, ``mean`` and ``std``.
        about: Weights and description from outside; they win over the module's own.
        allow_nonfinite: Let NaN and infinity pass in the weights of `about`.

    Raises:
        UsageError: The module or the factory cannot be found.
        ModelContractError: The factory fails, or returns something else.
        CheckpointError: The weights are not those of the network.
    """
    attribute = spec.partition(":")[2]
    with current_folder_first():
        factory = named_callable(spec)
        try:
            returned = factory()
        except Exception as error:
            raise _failed(spec, f"{attribute}()", error) from error
    if isinstance(returned, Classifier):
        return _described_again(returned, about, spec, allow_nonfinite=allow_nonfinite)
    if not isinstance(returned, nn.Module):
        raise ModelContractError(
            f"{attribute}() returned a {type(returned).__name__}",
            code="M22",
            where=spec,
            expected="a torch.nn.Module, or a convscope Classifier",
            hint="return the network: def factory(): return Net()",
        )
    return classifier_of(
        returned, about, spec, name=f"{attribute}()", allow_nonfinite=allow_nonfinite
    )


def classifier_of(
    module: nn.Module,
    about: Description,
    source: str,
    *,
    name: str,
    allow_nonfinite: bool = False,
) -> Classifier:
    """A classifier around a network that says what it can about itself.

    Args:
        module: May have ``input_shape``, ``class_names``, ``mean`` and ``std``, which are lists or
            tuples; tensors of these names are taken for parts of the network.
        about: Wins over the module's attributes.
        source: For `Classifier.source`.
        name: What made the module, for error texts.
        allow_nonfinite: Let NaN and infinity pass in the weights of `about`.
    """
    own = {name: _listed(module, name) for name in ("input_shape", "class_names", "mean", "std")}
    shape = about.input_shape or own["input_shape"]
    if shape is None:
        raise need_shape(name, module, source)
    flags: tuple[str, ...] = ()
    if about.weights is not None:
        flags = load_into(
            module, about.weights, input_shape=about.input_shape, allow_nonfinite=allow_nonfinite
        )
        module.eval()
        source = f"{source}, weights {about.weights.name}"
    try:
        wanted = Description.of(
            input_shape=shape,
            class_names=about.class_names or own["class_names"],
            mean=own["mean"] if about.mean is None else about.mean,
            std=own["std"] if about.std is None else about.std,
        )
    except UsageError as error:
        error.where = source
        raise
    assert wanted.input_shape is not None
    classifier = Classifier.wrap(
        module,
        input_shape=wanted.input_shape,
        class_names=wanted.class_names,
        mean=wanted.mean,
        std=wanted.std,
        source=source,
    )
    return replace(classifier, flags=(*classifier.flags, *flags))


def with_log_probabilities(classifier: Classifier) -> Classifier:
    """A classifier that takes logarithms, if its network was seen to end in a softmax."""
    if "softmax-output" not in classifier.flags:
        return classifier
    flags = tuple(flag for flag in classifier.flags if flag != "softmax-output")
    return replace(classifier, probabilities=True, flags=flags)


def _listed(module: nn.Module, name: str) -> Any:
    value = getattr(module, name, None)
    return value if isinstance(value, list | tuple) else None


def _described_again(
    classifier: Classifier, about: Description, spec: str, *, allow_nonfinite: bool
) -> Classifier:
    """A classifier of the user's, with other weights or another description."""
    flags = classifier.flags
    if about.weights is not None:
        flags += load_into(
            classifier.module,
            about.weights,
            input_shape=about.input_shape or classifier.input_shape,
            allow_nonfinite=allow_nonfinite,
        )
        classifier.module.eval()
    names = about.class_names or classifier.class_names
    if len(names) != classifier.num_classes:
        raise ModelContractError(
            f"the network has {classifier.num_classes} classes, {len(names)} are named",
            code="M21",
            where=spec,
            hint="give one name per logit, in order",
        )
    return replace(
        classifier,
        class_names=names,
        input_shape=about.input_shape or classifier.input_shape,
        mean=classifier.mean if about.mean is None else about.mean,
        std=classifier.std if about.std is None else about.std,
        flags=flags,
    )


def named_callable(spec: str, kind: str = "factory") -> Callable[..., Any]:
    """What ``"package.module:name"`` names; the module is imported, which runs it.

    Args:
        spec: As users write it.
        kind: What it is called in errors: ``"factory"`` or ``"function"``.

    Raises:
        UsageError: The module cannot be found, or has nothing of that name to call.
        ModelContractError: M18, importing it fails.
    """
    module_name, _, attribute = spec.partition(":")
    try:
        library = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"cannot import {error.name}",
            where=spec,
            expected=f"package.module:{kind}, importable from this folder",
        ) from error
    except Exception as error:
        raise _failed(spec, f"importing {module_name}", error) from error
    choose(f"{kind} in {module_name}", attribute, _callables(library))
    found: Callable[..., Any] = getattr(library, attribute)
    return found


def _failed(spec: str, what: str, error: Exception) -> ModelContractError:
    return ModelContractError(
        f"{what} raised {type(error).__name__}: {error}",
        code="M18",
        where=spec,
        hint="add --debug to see where",
    )


def _callables(library: object) -> list[str]:
    return [
        name
        for name, value in vars(library).items()
        if callable(value) and not name.startswith("_")
    ]


@contextmanager
def current_folder_first() -> Iterator[None]:
    """Within this context, modules are looked for in the current folder first."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
