"""Muon: momentum steps with all singular values set to about one, for convolution filters."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 3) -> Tensor:
    """Push all singular values of a matrix towards one, keeping its singular vectors.

    Args:
        matrices: (rows, columns).
        steps: Newton-Schulz iterations; five bring any matrix near, three are enough to train.

    Returns:
        (rows, columns), float32. The singular values lie roughly in [0.7, 1.2], not exactly at 1:
        the polynomial is tuned for a steep start, not for convergence.

    Example:
        >>> stretched = torch.diag(torch.tensor([4.0, 1.0, 0.5]))
        >>> values = torch.linalg.svdvals(orthogonalize(stretched, steps=5))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True

    Source: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks" (2024),
    coefficients 3.4445, -4.7750, 2.0315.
    """
    a, b, c = _QUINTIC
    x: Tensor = matrices / matrices.norm().clamp_min(1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update is orthogonalised, filter bank by filter bank.

    A filter bank (out, in, height, width) is read as a matrix with one row per filter. Each bank is
    scaled to a fixed norm before its update, so the learning rate means an angle and weight decay
    has nothing to do.

    Args:
        params: Filter banks; every tensor needs two dimensions or more.
        lr: Learning rate; 0.12 at a batch of 500.
        momentum: Share of the old direction that is kept.
        steps: Newton-Schulz iterations.

    Source: as `orthogonalize`; the use on flattened filters with a fixed norm follows the training
    recipe described with arXiv 2404.00498. `torch.optim.Muon` takes matrices only.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.6,
        steps: int = 3,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "steps": steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every filter bank once."""
        for group in self.param_groups:
            for bank in group["params"]:
                if bank.grad is None:
                    continue
                state = self.state[bank]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(bank)
                direction = state["momentum_buffer"]
                direction.mul_(group["momentum"]).add_(bank.grad)
                ahead = bank.grad.add(direction, alpha=group["momentum"])
                update = orthogonalize(ahead.flatten(1), group["steps"]).view_as(ahead)
                bank.mul_(len(bank) ** 0.5 / bank.norm().clamp_min(1e-7))
                bank.add_(update, alpha=-group["lr"])
