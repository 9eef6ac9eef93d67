"""The gradient of convolutions that see few channels, as one matrix product.

A network's first convolution reads one or three channels. Its gradient with respect to the image
is what every method here wants, and the library routine is slow at it: a matrix product and one
shifted sum per kernel position gives the same numbers several times faster on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

MOST_CHANNELS = 4
LARGEST_KERNEL = 7


class NarrowConvolutions(TorchFunctionMode):
    """Within this context, convolutions of few channels have the fast gradient."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Step in for ``conv2d`` where it helps."""
        if func is torch.conv2d and not kwargs and len(args) == 7 and _fits(*args):
            return _Narrow.apply(*args[:3], args[4][0], args[4][1])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _fits(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> bool:
    return (
        type(x) is Tensor
        and x.ndim == 4
        and x.requires_grad
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and weight.dtype == torch.float32
        and not weight.requires_grad
        and (bias is None or not bias.requires_grad)
        and groups == 1
        and weight.shape[1] <= MOST_CHANNELS
        and max(weight.shape[2:]) <= LARGEST_KERNEL
        and tuple(stride) == (1, 1)
        and tuple(dilation) == (1, 1)
        and isinstance(padding, tuple)
    )


class _Narrow(torch.autograd.Function):
    """``conv2d`` with stride 1 and a constant weight."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, down: int, right: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.place = (down, right, *x.shape[2:])  # type: ignore[attr-defined]
        return torch.conv2d(x, weight, bias, 1, (down, right))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        down, right, height, width = ctx.place
        out_channels, channels, tall, wide = weight.shape
        count, _, rows, columns = gradient.shape
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, out_channels)
        parts = torch.mm(weight.reshape(out_channels, -1).t(), flat.t())
        parts = parts.view(channels, tall, wide, count, rows, columns)
        total = gradient.new_zeros(channels, count, rows + tall - 1, columns + wide - 1)
        for i in range(tall):
            for j in range(wide):
                total[:, :, i : i + rows, j : j + columns] += parts[:, i, j]
        inside = total[:, :, down : down + height, right : right + width]
        return inside.transpose(0, 1), None, None, None, None
