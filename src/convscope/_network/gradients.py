"""Gradients: what is differentiated, how, what comes back and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.errors import ModelContractError, UsageError
from convscope.types import Logits

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``objective(x, outputs, rows) -> values``, one value per image of the chunk.

`rows` holds the chunk's positions in the batch given to the Probe: pick labels by ``labels[rows]``.
"""

Decode = Callable[[Tensor, Tensor], Tensor]
"""``paint(x, rows) -> images``: from what is moved to what the network sees, differentiable."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method cost.

    Attributes:
        forwards: Images run through the network (or through its part up to a layer).
        backwards: Images whose gradient was computed.
        seconds: Wall-clock time since the probe was opened.
    """

    forwards: int
    backwards: int
    seconds: float

    def __add__(self, other: Cost) -> Cost:
        """The cost of both together."""
        return Cost(
            forwards=self.forwards + other.forwards,
            backwards=self.backwards + other.backwards,
            seconds=self.seconds + other.seconds,
        )


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Gradient:
    """Values of an objective, and their gradients.

    Attributes:
        values: ``(batch,)``.
        gradients: Shaped as the input.
        outputs: What the network returned: ``(batch, class)``, or activations of a layer.
    """

    values: Tensor
    gradients: Tensor
    outputs: Tensor


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerGradient:
    """Activations of a layer and what the logits owe to them.

    Attributes:
        activations: ``(batch, ...)``, outputs of the layer.
        gradients: ``(batch, target, ...)``, d logit / d activation.
        logits: ``(batch, class)``.
    """

    activations: Tensor
    gradients: Tensor
    logits: Logits


def scores_of(logits: Logits, classes: Sequence[int] | Tensor | None) -> list[Tensor]:
    """The logits of each class that is asked for, ``(batch,)`` each.

    Args:
        logits: ``(batch, class)``.
        classes: Indices of K logits for all images, a tensor ``(batch, K)`` of each image's own,
            or ``None``: each image's largest logit (K = 1).

    Raises:
        UsageError: U08 if there are no classes.
    """
    if classes is None:
        classes = logits.detach().argmax(dim=1, keepdim=True)
    if isinstance(classes, Tensor):
        own = classes.to(logits.device)
        scores = [logits.gather(1, own[:, k : k + 1])[:, 0] for k in range(own.shape[1])]
    else:
        scores = [logits[:, int(pick)] for pick in classes]
    if not scores:
        raise UsageError("no classes given", code="U08")
    return scores


def gradient_of(
    total: Tensor, x: Tensor, *, allow_unused: bool = False, keep_graph: bool = False
) -> Tensor:
    """The gradient of one number with respect to `x`.

    Args:
        total: ``()``.
        x: What to differentiate by.
        allow_unused: Give zeros where `total` does not depend differentiably on `x`.
        keep_graph: Whether another gradient will be asked of the same graph.

    Raises:
        ModelContractError: M10 if there is no such gradient.
    """
    gradient = None
    if total.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(total, x, retain_graph=keep_graph, allow_unused=True)
        except RuntimeError as error:
            if "checkpoint" not in str(error).lower():
                raise
            raise ModelContractError(
                "the network uses reentrant checkpointing, which gives no such gradients",
                code="M10",
                expected="torch.utils.checkpoint.checkpoint(..., use_reentrant=False)",
                hint="or use a gradient-free method: occlusion, rise, square",
            ) from error
    if gradient is None:
        if allow_unused:
            return torch.zeros_like(x)
        raise ModelContractError(
            "the output does not depend differentiably on the input",
            code="M10",
            expected="a network without no_grad, detach, argmax or rounding inside",
            hint="use a gradient-free method: occlusion, rise, square",
        )
    return gradient
