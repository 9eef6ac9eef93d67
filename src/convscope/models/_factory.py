"""package.module:factory: a network that the user's own code makes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError, choose
from convscope.models._description import Description, need_shape
from convscope.models._own_weights import load_into

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
    module_name, _, attribute = spec.partition(":")
    with _current_folder_first():
        try:
            library = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"cannot import {error.name}",
                where=spec,
                expected="package.module:factory, importable from this folder",
            ) from error
        except Exception as error:
            raise _failed(spec, f"importing {module_name}", error) from error
        choose(f"factory in {module_name}", attribute, _callables(library))
        try:
            made = getattr(library, attribute)()
        except Exception as error:
            raise _failed(spec, f"{attribute}()", error) from error
    if isinstance(made, Classifier):
        return _described_again(made, about, spec, allow_nonfinite=allow_nonfinite)
    if not isinstance(made, nn.Module):
        raise ModelContractError(
            f"{attribute}() returned a {type(made).__name__}",
            code="M22",
            where=spec,
            expected="a torch.nn.Module, or a convscope Classifier",
            hint="return the network: def factory(): return Net()",
        )
    return classifier_of(made, about, spec, name=f"{attribute}()", allow_nonfinite=allow_nonfinite)


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
    made = Classifier.wrap(
        module,
        input_shape=wanted.input_shape,
        class_names=wanted.class_names,
        mean=wanted.mean,
        std=wanted.std,
        source=source,
    )
    return replace(made, flags=(*made.flags, *flags))


def _listed(module: nn.Module, name: str) -> Any:
    value = getattr(module, name, None)
    return value if isinstance(value, list | tuple) else None


def _described_again(
    made: Classifier, about: Description, spec: str, *, allow_nonfinite: bool
) -> Classifier:
    """A classifier of the user's, with other weights or another description."""
    flags = made.flags
    if about.weights is not None:
        flags += load_into(
            made.module,
            about.weights,
            input_shape=about.input_shape or made.input_shape,
            allow_nonfinite=allow_nonfinite,
        )
        made.module.eval()
    names = about.class_names or made.class_names
    if len(names) != made.num_classes:
        raise ModelContractError(
            f"the network has {made.num_classes} classes, {len(names)} are named",
            code="M21",
            where=spec,
            hint="give one name per logit, in order",
        )
    return replace(
        made,
        class_names=names,
        input_shape=about.input_shape or made.input_shape,
        mean=made.mean if about.mean is None else about.mean,
        std=made.std if about.std is None else about.std,
        flags=flags,
    )


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
def _current_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
