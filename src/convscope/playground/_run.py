"""The operations of a page's engine in torch, to compare a traced network with the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.playground._nodes import Node


@torch.no_grad()
def run(nodes: Sequence[Node], images: Tensor) -> Tensor:
    """The value of the last node.

    Args:
        nodes: As `_trace.trace` makes them.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].

    Returns:
        Logits ``(batch, class)``.
    """
    return values_until(nodes, images, len(nodes) - 1)


@torch.no_grad()
def values_until(nodes: Sequence[Node], images: Tensor, last: int) -> Tensor:
    """As `run`, the value of node `last`; what comes after it is not computed."""
    return all_values(nodes, images, last)[last]


def all_values(nodes: Sequence[Node], images: Tensor, last: int) -> list[Tensor]:
    """The values of all nodes up to `last`, with gradients where they are on."""
    values: list[Tensor] = [images]
    for node in nodes[1 : last + 1]:
        inputs = [values[k] for k in node.sources]
        values.append(_OPERATIONS[node.op](node, *inputs).reshape(len(images), *node.shape))
    return values


def _per_channel(numbers: Tensor, x: Tensor) -> Tensor:
    return numbers.view(1, -1, *[1] * (x.ndim - 2))


def _conv2d(node: Node, x: Tensor) -> Tensor:
    s = node.settings
    weight = node.tensors["weight"]
    assert weight is not None
    return F.conv2d(
        x, weight, node.tensors["bias"], s["stride"], s["padding"], s["dilation"], s["groups"]
    )


def _linear(node: Node, x: Tensor) -> Tensor:
    weight = node.tensors["weight"]
    assert weight is not None
    return F.linear(x, weight, node.tensors["bias"])


def _affine(node: Node, x: Tensor) -> Tensor:
    scale, shift = node.tensors["scale"], node.tensors["shift"]
    assert scale is not None and shift is not None
    return x * _per_channel(scale, x) + _per_channel(shift, x)


def _span(node: Node, x: Tensor, axis: int) -> list[range]:
    """Rows (axis 0) or columns that each output looks at; some may lie in the padding."""
    size, count, s = x.shape[2 + axis], node.shape[1 + axis], node.settings
    if s.get("adaptive"):
        return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    dilation = s.get("dilation", [1, 1])[axis]
    starts = [i * s["stride"][axis] - s["padding"][axis] for i in range(count)]
    return [range(at, at + (s["kernel"][axis] - 1) * dilation + 1, dilation) for at in starts]


def _max_pool(node: Node, x: Tensor) -> Tensor:
    for axis in (0, 1):
        size = x.shape[2 + axis]
        parts = [
            x.index_select(2 + axis, torch.tensor([k for k in span if 0 <= k < size])).amax(
                2 + axis, keepdim=True
            )
            for span in _span(node, x, axis)
        ]
        x = torch.cat(parts, dim=2 + axis)
    return x


def _average_pool(node: Node, x: Tensor) -> Tensor:
    s, counts = node.settings, []
    for axis in (0, 1):
        size, spans = x.shape[2 + axis], _span(node, x, axis)
        parts = [
            x.index_select(2 + axis, torch.tensor([k for k in span if 0 <= k < size])).sum(
                2 + axis, keepdim=True
            )
            for span in spans
        ]
        most = size + s["padding"][axis] if s.get("countPadding") else size
        least = -size if s.get("countPadding") else 0
        counts.append(torch.tensor([float(sum(least <= k < most for k in span)) for span in spans]))
        x = torch.cat(parts, dim=2 + axis)
    if s.get("divisor"):
        return x / s["divisor"]
    return x / (counts[0][:, None] * counts[1][None, :])


def _spread(x: Tensor, other: Tensor) -> Tensor:
    return x.expand_as(other) if x[0].numel() < other[0].numel() else x


def _slice(node: Node, x: Tensor) -> Tensor:
    parts = [
        slice(start, start + step * (count - 1) + 1, step)
        for start, step, count in zip(
            node.settings["start"], node.settings["step"], node.shape, strict=True
        )
    ]
    return x[:, parts[0], parts[1], parts[2]]


def _pad(node: Node, x: Tensor) -> Tensor:
    before = node.settings["before"]
    after = [n - b - old for n, b, old in zip(node.shape, before, x.shape[1:], strict=True)]
    pairs = [side for axis in (2, 1, 0) for side in (before[axis], after[axis])]
    return F.pad(x, pairs, value=node.settings["value"])


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "affine": _affine,
    "scale": lambda node, x: x * node.settings["factor"] + node.settings["offset"],
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "add": lambda node, a, b: _spread(a, b) + _spread(b, a),
    "multiply": lambda node, a, b: _spread(a, b) * _spread(b, a),
    "concatenate": lambda node, *parts: torch.cat(parts, dim=1),
    "slice": _slice,
    "pad": _pad,
    "reshape": lambda node, x: x,
    "relu": lambda node, x: x.relu(),
    "leaky_relu": lambda node, x: F.leaky_relu(x, node.settings["slope"]),
    "elu": lambda node, x: F.elu(x, node.settings["alpha"]),
    "clamp": lambda node, x: x.clamp(node.settings["min"], node.settings["max"]),
    "gelu": lambda node, x: F.gelu(x),
    "gelu_tanh": lambda node, x: F.gelu(x, approximate="tanh"),
    "silu": lambda node, x: F.silu(x),
    "sigmoid": lambda node, x: x.sigmoid(),
    "tanh": lambda node, x: x.tanh(),
    "hardsigmoid": lambda node, x: F.hardsigmoid(x),
    "hardswish": lambda node, x: F.hardswish(x),
    "softmax": lambda node, x: x.softmax(dim=1),
    "log_softmax": lambda node, x: x.log_softmax(dim=1),
    "log": lambda node, x: x.clamp_min(torch.finfo(torch.float32).tiny).log(),
}

OPERATIONS = tuple(_OPERATIONS)
"""Names of all operations; ``nn.js`` has the same, and ``input``."""
