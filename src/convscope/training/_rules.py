"""Update rules: a list of parameters, what is remembered about each, and how they move.

They are not `torch.optim.Optimizer`s, which import torch's compiler before their first step (more
than a second) and hide their memory in nested dictionaries. The fused kernels underneath are the
same.

Sources: D. P. Kingma, J. Ba, "Adam" (arXiv 1412.6980); I. Loshchilov, F. Hutter, "Decoupled weight
decay regularization" (arXiv 1711.05101); K. Jordan and others, "Muon: an optimizer for hidden
layers in neural networks" (2024).
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Rule(Protocol):
    """How some parameters move.

    Attributes:
        parameters: What moves.
        memory: By quantity, one tensor per parameter.
        peak: Largest learning rate.
    """

    parameters: list[Tensor]
    memory: dict[str, list[Tensor]]
    peak: float

    def step(self, factor: float) -> None:
        """Move along the gradients with `factor` times the peak learning rate."""


class Adam:
    """Adam, with weight decay in the gradient or, decoupled from it, on the weights (AdamW)."""

    def __init__(
        self, parameters: list[Tensor], *, rate: float, decay: float, decoupled: bool
    ) -> None:
        self.parameters, self.peak, self.decay = parameters, rate, decay
        self.kernel = adamw if decoupled else adam
        self.memory = {
            "mean": _zeros_like(parameters),
            "square": _zeros_like(parameters),
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move once."""
        self.kernel(
            self.parameters,
            _gradients(self.parameters),
            self.memory["mean"],
            self.memory["square"],
            [],
            self.memory["steps"],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.peak * factor,
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
        )


class Sgd:
    """Gradient descent with Nesterov momentum."""

    def __init__(
        self, parameters: list[Tensor], *, rate: float, decay: float, momentum: float
    ) -> None:
        self.parameters, self.peak = parameters, rate
        self.decay, self.momentum = decay, momentum
        self.memory = {"direction": _zeros_like(parameters)}

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move once."""
        sgd(
            self.parameters,
            _gradients(self.parameters),
            list(self.memory["direction"]),
            fused=True,
            weight_decay=self.decay,
            momentum=self.momentum,
            lr=self.peak * factor,
            dampening=0.0,
            nesterov=self.momentum > 0,
            maximize=False,
        )


class Muon:
    """Nesterov momentum whose update is orthogonalized, filter bank by filter bank.

    A filter bank (out, in, height, width) is read as a matrix with one row per filter. Each bank is
    scaled to a fixed norm before its update, so the learning rate means an angle and weight decay
    would have nothing to do. `torch.optim.Muon` takes matrices only.

    Source: as above; the use on flattened filters with a fixed norm follows the training recipe
    described with arXiv 2404.00498.
    """

    def __init__(
        self, parameters: list[Tensor], *, rate: float, momentum: float, iterations: int = 3
    ) -> None:
        self.parameters, self.peak = parameters, rate
        self.momentum, self.iterations = momentum, iterations
        self.memory = {"direction": _zeros_like(parameters)}

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move once."""
        gradients = _gradients(self.parameters)
        for bank, gradient, direction in zip(
            self.parameters, gradients, self.memory["direction"], strict=True
        ):
            direction.mul_(self.momentum).add_(gradient)
            ahead = gradient.add(direction, alpha=self.momentum)
            update = orthogonalize(ahead.flatten(1), self.iterations).view(ahead.shape)
            bank.mul_(len(bank) ** 0.5 / bank.norm().clamp_min(1e-7))
            bank.add_(update, alpha=-self.peak * factor)


def orthogonalize(matrix: Tensor, iterations: int = 3) -> Tensor:
    """Push all singular values of a matrix towards one, keeping its singular vectors.

    Args:
        matrix: (rows, columns).
        iterations: Newton-Schulz iterations; five bring any matrix near, three suffice to train.

    Returns:
        (rows, columns). The singular values lie roughly in [0.7, 1.2], not exactly at 1: the
        polynomial is tuned for a steep start, not for convergence.

    Example:
        >>> stretched = torch.diag(torch.tensor([4.0, 1.0, 0.5]))
        >>> values = torch.linalg.svdvals(orthogonalize(stretched, iterations=5))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = _QUINTIC
    x: Tensor = matrix / matrix.norm().clamp_min(1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).contiguous()


def _zeros_like(parameters: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients; a parameter that the loss does not depend on has gradient zero."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
