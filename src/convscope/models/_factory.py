"""package.module:factory: a network that the user's own code makes."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError, choose


def load_factory(spec: str) -> Classifier:
    """Import ``package.module`` and call ``factory()``.

    This runs code that the user names on the command line; it is trusted as the user's own.
    Nothing that a *file* names is ever imported. The current folder is searched too.

    Args:
        spec: ``"package.module:factory"``. The factory takes no arguments and returns a
            `Classifier`, or a module with an attribute ``input_shape`` (and, if it has them,
            ``class_names``, ``mean`` and ``std``).

    Raises:
        UsageError: The module or the factory cannot be found.
        ModelContractError: The factory fails, or returns something else.
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
        return made
    shape = getattr(made, "input_shape", None)
    if not isinstance(made, nn.Module) or not isinstance(shape, tuple | list) or len(shape) != 3:
        raise ModelContractError(
            f"{attribute}() returned a {type(made).__name__}"
            + (" without input_shape" if isinstance(made, nn.Module) else ""),
            code="M22",
            where=spec,
            expected="a convscope Classifier, or a module with input_shape = (C, H, W)",
            hint="return Classifier.wrap(module, input_shape=(1, 28, 28), class_names=[...])",
        )
    return Classifier.wrap(
        made,
        input_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        class_names=getattr(made, "class_names", None),
        mean=getattr(made, "mean", None),
        std=getattr(made, "std", None),
        source=spec,
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
