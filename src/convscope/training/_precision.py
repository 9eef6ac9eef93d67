"""Which arithmetic training uses; evaluation and everything downstream is float32."""

from contextlib import AbstractContextManager

import torch


def resolve_precision(wanted: str) -> str:
    """``"auto"`` becomes ``"bf16"`` where the processor has instructions for it, else ``"fp32"``.

    Example:
        >>> resolve_precision("fp32")
        'fp32'
    """
    if wanted != "auto":
        return wanted
    return "bf16" if _multiplies_bfloat16() else "fp32"


def _multiplies_bfloat16() -> bool:
    # Private names of torch.cpu: absent in other versions, in which case float32 is always right.
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        supported = getattr(torch.cpu, name, None)
        if supported is not None and supported():
            return True
    return False


def arithmetic(precision: str) -> AbstractContextManager[object]:
    """The context of a training step's forward pass."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
