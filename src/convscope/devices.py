"""Which device a network runs on: names as users write them, and the devices that are there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from convscope.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch

FORMS = ("auto", "cpu", "cuda", "cuda:1", "mps")
"""How devices are written; any number may follow ``cuda:``."""

WITHOUT_STORAGE = ("meta", "lazy", "xla")
"""Kinds of devices whose tensors are values, without a memory that two of them could share."""

_NAME = re.compile(r"auto|cpu|mps(:0)?|cuda(:(0|[1-9][0-9]{0,2}))?")


def check_device_name(name: str) -> str:
    """Refuse what names no device; whether it is there is not looked at, and torch not imported.

    Args:
        name: Such as ``"cuda:1"``.

    Returns:
        The name.

    Raises:
        UsageError: U01.

    Example:
        >>> check_device_name("cuda:1")
        'cuda:1'
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        words = f"{', '.join(FORMS[:-1])} or {FORMS[-1]}"
        raise UsageError(f"{name!r:.40} is no device: {words}", code="U01")
    return name


def devices_here() -> tuple[str, ...]:
    """The devices that this torch can use: the processor first.

    Example:
        >>> devices_here()[0]
        'cpu'
    """
    import torch

    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return tuple(found)


def resolve_device(wanted: str | torch.device = "auto") -> torch.device:
    """The device of this process.

    Args:
        wanted: ``"cpu"``; ``"cuda"``: a GPU by CUDA, under ``torchrun`` the one that belongs to
            the process (its ``LOCAL_RANK``, counted around if there are fewer); ``"cuda:1"``: this
            one; ``"mps"``: Apple's GPU; ``"auto"``: as ``"cuda"`` where there is one, else the
            processor. A `torch.device` of another kind is taken as it is.

    Returns:
        The device; a GPU with its number.

    Raises:
        UsageError: U01 for a name of no device.
        ResourceError: T27 for a device that is not there, with those that are.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    import torch

    if isinstance(wanted, torch.device) and wanted.type not in ("cuda", "mps"):
        return wanted
    name = check_device_name(str(wanted) if isinstance(wanted, torch.device) else wanted)
    here = devices_here()
    gpus = [device for device in here if device.startswith("cuda")]
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if name in ("auto", "cuda") and gpus:
        return torch.device(gpus[_local_rank() % len(gpus)])
    if name.startswith("mps") and "mps" in here:
        return torch.device("mps", 0)
    if name in here:
        return torch.device(name)
    without = name.startswith("cuda") and torch.version.cuda is None and torch.version.hip is None
    raise ResourceError(
        f"there is no device {name!r}",
        code="T27",
        expected=f"one that is here: {', '.join(here)}",
        hint=f"{'this torch is built without CUDA (see pytorch.org); ' if without else ''}"
        "--device cpu",
    )


def _local_rank() -> int:
    """Which process of this machine it is, as ``torchrun`` says."""
    text = os.environ.get("LOCAL_RANK", "0")
    return int(text) if text.isascii() and text.isdigit() else 0
