"""Networks of other libraries, none of which is imported before it is asked for."""

import importlib
from types import ModuleType
from typing import Any

from convscope.errors import CheckpointError, UsageError


def require(library: str, prefix: str, *, extra: str) -> ModuleType:
    """Import an optional library, or say how to get it.

    Args:
        library: What to import.
        prefix: The kind of MODEL that needs it, such as ``"hf:"``.
        extra: What to type to install it.

    Raises:
        UsageError: It is not installed, or it is broken (torchvision beside another torch is).
    """
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise _broken(library, prefix, error) from error
        raise UsageError(
            f"{prefix}... needs {library}, which is not installed", code="M22", hint=extra
        ) from error
    except Exception as error:
        raise _broken(library, prefix, error) from error


def _broken(library: str, prefix: str, error: Exception) -> UsageError:
    return UsageError(
        f"{prefix}... needs {library}, which is installed but cannot be imported: {error}",
        code="M22",
        hint=f"install the {library} that was built for this torch, or uninstall it",
    )


def numbers(values: object, channels: int, what: str) -> tuple[float, ...] | None:
    """A mean or standard deviation from somebody else's settings.

    Raises:
        CheckpointError: It is not one number, or one per channel.
    """
    if values is None:
        return None
    row: list[Any] = list(values) if isinstance(values, list | tuple) else [values]
    if len(row) not in (1, channels) or not all(isinstance(v, int | float) for v in row):
        raise CheckpointError(f"{what} is {values!r}", expected=f"{channels} numbers", code="C17")
    return tuple(float(value) for value in row)
