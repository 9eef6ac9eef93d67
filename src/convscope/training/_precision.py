"""Where training happens and in which arithmetic; evaluation and all that follows is float32."""

import os
from contextlib import AbstractContextManager

import torch

from convscope.errors import ResourceError


def resolve_device(wanted: str) -> torch.device:
    """``"auto"`` becomes the GPU where there is one; under ``torchrun`` each process has its own.

    Raises:
        ResourceError: ``"cuda"`` was asked for and there is none.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ResourceError(
            "there is no GPU that this torch can use", code="T11", hint="device = 'cpu'"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def resolve_precision(wanted: str, device: torch.device) -> str:
    """``"auto"`` becomes ``"bf16"`` where the processor has instructions for it, else ``"fp32"``.

    Example:
        >>> resolve_precision("fp32", torch.device("cpu"))
        'fp32'
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if _cpu_multiplies_bfloat16() else "fp32"


def _cpu_multiplies_bfloat16() -> bool:
    # Private names of torch.cpu: absent in other versions, in which case float32 is always right.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a training step's forward pass."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
