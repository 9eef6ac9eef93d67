"""The gradient of convolutions that see few channels, as one matrix product.

A network's first convolution sees one or three channels. Its gradient with respect to the image
is what every method here wants, and the library routine is slow at it: a matrix product and one
shifted sum per kernel position gives the same numbers several times faster on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

MOST_CHANNELS = 4
LARGEST_KERNEL = 7


def is_narrow(layer: nn.Module) -> bool:
    """Whether `layer` is a convolution whose gradient `narrow_convolution` computes faster."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.in_channels <= MOST_CHANNELS
        and max(layer.kernel_size) <= LARGEST_KERNEL
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and isinstance(layer.padding, tuple)
        and layer.padding_mode == "zeros"
        and layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
    )


def narrow_convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """What ``layer(x)`` computes, with the fast gradient where one is asked for.

    Args:
        x: ``(batch, channel, height, width)``.
        layer: A convolution for which `is_narrow` is true, with a frozen weight.
    """
    assert isinstance(layer.padding, tuple)
    down, right = layer.padding
    weight, bias = layer.weight, layer.bias
    fits = x.requires_grad and torch.is_grad_enabled() and x.ndim == 4 and x.dtype == weight.dtype
    if not fits or weight.requires_grad or (bias is not None and bias.requires_grad):
        return torch.conv2d(x, weight, bias, 1, (down, right))
    return _Narrow.apply(x, weight, bias, down, right)  # type: ignore[no-untyped-call]


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
