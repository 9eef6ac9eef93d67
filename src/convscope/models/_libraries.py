"""Optional libraries: import on demand, and the connection to the Hub."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from convscope.errors import CheckpointError, ConvscopeError, ResourceError, UsageError
from convscope.models._registry import ADAPTERS

HUB = "huggingface.co"
PATIENCE = 3.0
"""Seconds to wait for an answer of the Hub before going on with what is on this machine."""


def require(prefix: str, library: str = "") -> ModuleType:
    """Import the library of an adapter, or say how to get it.

    Args:
        prefix: Name of the adapter in `ADAPTERS`, such as ``"hf"``.
        library: What to import, if it is not the library of the record but comes with it.

    Raises:
        UsageError: It is not installed, or it is broken (torchvision beside another torch is).
    """
    spec = ADAPTERS.spec(prefix)
    library = library or spec.library
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise _broken(library, prefix, error) from error
        raise UsageError(
            f"{prefix}:... needs {library}, which is not installed", code="M22", hint=spec.install
        ) from error
    except Exception as error:
        raise _broken(library, prefix, error) from error


def _broken(library: str, prefix: str, error: Exception) -> UsageError:
    return UsageError(
        f"{prefix}:... needs {library}, which is installed but cannot be imported: {error}",
        code="M22",
        hint=f"install the {library} that was built for this torch, or uninstall it",
    )


def numbers(values: object, channels: int, what: str) -> tuple[float, ...] | None:
    """A mean or standard deviation from the settings of another library.

    Raises:
        CheckpointError: It is not one number, or one per channel.
    """
    if values is None:
        return None
    row: list[Any] = list(values) if isinstance(values, list | tuple) else [values]
    if len(row) not in (1, channels) or not all(isinstance(v, int | float) for v in row):
        raise CheckpointError(f"{what} is {values!r}", expected=f"{channels} numbers", code="C17")
    return tuple(float(value) for value in row)


@contextmanager
def fetching(where: str, hint: str) -> Iterator[None]:
    """Let a library fetch weights from the Hub: without a connection, quickly and quietly not.

    The library itself would try each file six times, half a minute long. Without a connection it
    is told so, and takes what its cache has.

    Raises:
        ResourceError: The weights are not on this machine and cannot be fetched.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    connected = is_connected()
    try:
        with _offline_hub(not connected):
            yield
    except ConvscopeError:
        raise
    except Exception as error:
        reason = "the Hub cannot be reached" if not connected else " ".join(str(error).split())
        raise ResourceError(
            f"its weights are not on this machine and cannot be fetched: {reason}",
            where=where,
            hint=hint,
        ) from error
    finally:
        logger.setLevel(level)


def is_connected(host: str = HUB) -> bool:
    """Whether `host` answers; taken for granted where a proxy or another endpoint is named."""
    ways = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_ENDPOINT")
    if any(os.environ.get(name) for name in ways):
        return True
    try:
        with socket.create_connection((host, 443), timeout=PATIENCE):
            return True
    except OSError:
        return False


@contextmanager
def _offline_hub(offline: bool) -> Iterator[None]:
    try:
        constants: Any = importlib.import_module("huggingface_hub.constants")
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
