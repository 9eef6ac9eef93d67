"""Optimizers, parameter groups, learning-rate schedule, moving average of the parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from convscope.training._settings import TrainSettings


def lr_scale(step: int, total: int, *, schedule: str, warm_up: float) -> float:
    """The share of the maximum learning rate that step `step` (0, 1, ...) of `total` uses.

    ``"one-cycle"`` climbs in a straight line for the first `warm_up` share of the run and falls in
    a straight line to zero at its end, which is what makes runs of one or two epochs possible: the
    length must be known from the start. ``"cosine"`` climbs likewise and falls along half a cosine.
    ``"step"`` divides by ten at one half and at three quarters of the run. ``"constant"`` is always
    1.

    Args:
        step: Which update, from 0.
        total: Updates of the whole run.
        schedule: ``"one-cycle"``, ``"cosine"``, ``"step"`` or ``"constant"``.
        warm_up: Share of the run spent climbing, in [0, 1).

    Example:
        >>> shape = {"schedule": "one-cycle", "warm_up": 0.25}
        >>> [round(lr_scale(k, 8, **shape), 2) for k in range(8)]
        [0.25, 0.75, 0.92, 0.75, 0.58, 0.42, 0.25, 0.08]

    Source: L. N. Smith, "Super-convergence" (arXiv 1708.07120); the cosine is that of Loshchilov
    and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (ICLR 2017). The step is
    taken at its middle, so neither the first nor the last update is wasted on a rate of zero.
    """
    if schedule == "constant":
        return 1.0
    progress = (step + 0.5) / total
    if schedule == "step":
        return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
    if progress < warm_up:
        return progress / warm_up
    falling = (1 - progress) / (1 - warm_up)
    return (1 - math.cos(math.pi * falling)) / 2 if schedule == "cosine" else falling


EVERY = 5
"""Steps between two updates of the moving average: one pass over the parameters costs time."""


class EMA:
    """Exponential moving average of the parameters and batch-norm statistics of a network.

    The average is what a run exports: it reaches the accuracy of a decayed learning rate earlier.
    The decay starts small, as (1 + n) / (10 + n) after n updates, so the random initial parameters
    are forgotten quickly.

    Args:
        module: The network that is trained.
        decay: Share of the average kept per training step; it is applied every 5 steps as decay^5.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> ema = EMA(layer, decay=0.99)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(2.0), ema.module.weight.fill_(1.0)
        >>> ema.after_step(layer, 5)
        >>> round(ema.module.weight.item(), 4)
        1.9
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int) -> None:
        """Follow `module`, which has just taken its `step`-th step (1, 2, ...)."""
        if step % EVERY:
            return
        kept = min(self.decay**EVERY, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        slow: list[Tensor] = list(self.module.parameters())
        fast: list[Tensor] = list(module.parameters())
        for own, new in zip(self.module.buffers(), module.buffers(), strict=True):
            if own.is_floating_point():
                slow.append(own)
                fast.append(new)
            else:
                own.copy_(new)
        torch._foreach_lerp_(slow, fast, 1 - kept)


BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
_QUINTIC = (3.4445, -4.7750, 2.0315)


class Optimizer(Protocol):
    """What moves some of the parameters.

    Not `torch.optim.Optimizer`: the learning rate is an argument of a step, and the state has a
    fixed set of named tensors from the start, which checkpoints write as they are.

    Attributes:
        parameters: What is updated, in place.
        state: By quantity, one tensor per parameter.
        max_lr: Learning rate at `lr_scale` 1.
    """

    parameters: list[Tensor]
    state: dict[str, list[Tensor]]
    max_lr: float

    def step(self, lr_scale: float) -> None:
        """Update the parameters from their gradients at `lr_scale` times `max_lr`."""


class Adam:
    """Adam, with weight decay in the gradient or, decoupled from it, on the parameters (AdamW)."""

    def __init__(
        self, parameters: list[Tensor], *, lr: float, weight_decay: float, decoupled: bool
    ) -> None:
        self.parameters, self.max_lr = parameters, lr
        self.weight_decay = weight_decay
        self.kernel = adamw if decoupled else adam
        self.state = {
            "mean": _zeros_like(parameters),
            "square": _zeros_like(parameters),
            "steps": [torch.zeros((), device=p.device) for p in parameters],
        }

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Update the parameters from their gradients."""
        self.kernel(
            self.parameters,
            _gradients(self.parameters),
            self.state["mean"],
            self.state["square"],
            [],
            self.state["steps"],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.max_lr * lr_scale,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )


class SGD:
    """Gradient descent with momentum, Nesterov's unless `nesterov` is false."""

    def __init__(
        self,
        parameters: list[Tensor],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool = True,
    ) -> None:
        self.parameters, self.max_lr = parameters, lr
        self.weight_decay, self.momentum = weight_decay, momentum
        self.nesterov = nesterov and momentum > 0
        self.state = {"direction": _zeros_like(parameters)}

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Update the parameters from their gradients."""
        sgd(
            self.parameters,
            _gradients(self.parameters),
            list(self.state["direction"]),
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.max_lr * lr_scale,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )


class Muon:
    """Nesterov momentum whose update is orthogonalized, filter bank by filter bank.

    A filter bank (out, in, height, width) is taken as a matrix with one row per filter. Each
    bank is scaled to a fixed norm before its update, so the learning rate means an angle and weight
    decay would have nothing to do. Banks of one shape are orthogonalized together.
    `torch.optim.Muon` takes matrices only.

    Args:
        parameters: Filter banks.
        lr: Learning rate at `lr_scale` 1.
        momentum: Share of the direction kept per step.
        iterations: Of `orthogonalize`.
        dtype: Of its products: bfloat16 where the processor multiplies it.

    Source: Jordan and others, "Muon: An optimizer for hidden layers" (2024); the use on flattened
    filters with a fixed norm follows the training recipe described with arXiv 2404.00498.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        *,
        lr: float,
        momentum: float,
        iterations: int = 3,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.parameters, self.max_lr = parameters, lr
        self.momentum, self.iterations, self.dtype = momentum, iterations, dtype
        self.state = {"direction": _zeros_like(parameters)}
        groups: dict[tuple[int, int], list[int]] = {}
        for place, bank in enumerate(parameters):
            groups.setdefault((len(bank), bank[0].numel()), []).append(place)
        self.alike = tuple(groups.values())

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Update every filter bank from its gradient."""
        gradients, directions = _gradients(self.parameters), self.state["direction"]
        torch._foreach_mul_(directions, self.momentum)
        torch._foreach_add_(directions, gradients)
        ahead = torch._foreach_add(gradients, directions, alpha=self.momentum)
        norms = torch.stack(torch._foreach_norm(self.parameters)).clamp_min(1e-7).tolist()
        sizes = [len(bank) ** 0.5 / norm for bank, norm in zip(self.parameters, norms, strict=True)]
        torch._foreach_mul_(self.parameters, sizes)
        for places in self.alike:
            matrices = torch.stack([ahead[place].flatten(1) for place in places])
            for place, update in zip(
                places, orthogonalize(matrices, self.iterations, dtype=self.dtype), strict=True
            ):
                bank = self.parameters[place]
                bank.add_(update.view(bank.shape), alpha=-self.max_lr * lr_scale)


def orthogonalize(
    matrices: Tensor, iterations: int = 3, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Push all singular values of matrices toward one, keeping their singular vectors.

    Args:
        matrices: ``(rows, columns)``, or ``(matrix, rows, columns)`` for many at once.
        iterations: Newton-Schulz iterations; five bring any matrix near, three suffice to train.
        dtype: Of the products.

    Returns:
        The same shape. The singular values lie roughly in [0.7, 1.2], not exactly at 1: the
        polynomial is tuned for a steep start, not for convergence.

    Example:
        >>> stretched = torch.diag(torch.tensor([4.0, 1.0, 0.5]))
        >>> values = torch.linalg.svdvals(orthogonalize(stretched, iterations=5))
        >>> bool((values > 0.6).all() and (values < 1.3).all())
        True
    """
    a, b, c = _QUINTIC
    many = matrices if matrices.ndim == 3 else matrices[None]
    size = torch.linalg.matrix_norm(many, keepdim=True).clamp_min(1e-7)
    wide = many.shape[1] <= many.shape[2]
    x = (many / size if wide else (many / size).mT).to(dtype)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = (x if wide else x.mT).to(matrices.dtype).contiguous()
    return x if matrices.ndim == 3 else x[0]


def _zeros_like(parameters: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients; a parameter that the loss does not depend on has gradient zero."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


BIAS_MOMENTUM = 0.85


def build_optimizers(
    module: nn.Module,
    settings: TrainSettings,
    *,
    shares: Mapping[str, float] | None = None,
    precision: str = "fp32",
) -> list[Optimizer]:
    """The optimizers that share the parameters of `module`.

    Weight decay acts on filters and matrices only: never on biases, never on normalization.

    Args:
        module: The network.
        settings: `optimizer`, `learning_rate`, `nonfilter_lr`, `bias_lr`,
            `weight_decay`, `momentum`.
        shares: By name of a parameter, the share of the learning rate that it gets; 1 if left out.
        precision: ``"bf16"``: the products of Muon are in bfloat16, as those of the network.

    Returns:
        One optimizer for filters and matrices and one for the rest, for each share (the largest
        first); ``"muon"`` updates the filters of convolutions by Muon and everything else by SGD.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((shares or {}).get(name, 1.0), []).append(parameter)
    optimizers: list[Optimizer] = []
    for share in sorted(groups, reverse=True):
        optimizers += _optimizers_of(groups[share], settings, share, precision)
    return [optimizer for optimizer in optimizers if optimizer.parameters]


def _optimizers_of(
    trained: list[Tensor], settings: TrainSettings, share: float, precision: str
) -> list[Optimizer]:
    """The optimizers of parameters that learn at the same `share` of the learning rate."""
    decayed, biases = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
    lr, decay = share * settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        filters, dense = [p for p in decayed if p.ndim == 4], [p for p in decayed if p.ndim != 4]
        nonfilter_lr = share * settings.nonfilter_lr or lr
        bias_lr = share * settings.bias_lr or nonfilter_lr
        return [
            Muon(
                filters,
                lr=lr,
                momentum=settings.momentum,
                dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
            ),
            SGD(dense, lr=nonfilter_lr, weight_decay=decay, momentum=BIAS_MOMENTUM),
            SGD(biases, lr=bias_lr, weight_decay=0.0, momentum=BIAS_MOMENTUM),
        ]
    if settings.optimizer == "sgd":
        momentum, nesterov = settings.momentum, settings.nesterov
        return [
            SGD(decayed, lr=lr, weight_decay=decay, momentum=momentum, nesterov=nesterov),
            SGD(biases, lr=lr, weight_decay=0.0, momentum=momentum, nesterov=nesterov),
        ]
    decoupled = settings.optimizer == "adamw"
    return [
        Adam(decayed, lr=lr, weight_decay=decay, decoupled=decoupled),
        Adam(biases, lr=lr, weight_decay=0.0, decoupled=decoupled),
    ]


def state_dict(optimizers: list[Optimizer]) -> dict[str, Tensor]:
    """Everything the optimizers remember, by name ``optimizer.quantity.parameter``."""
    return {
        f"{i}.{quantity}.{j}": value
        for i, optimizer in enumerate(optimizers)
        for quantity, values in optimizer.state.items()
        for j, value in enumerate(values)
    }


def load_state_dict(optimizers: list[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put back what `state_dict` gave.

    Raises:
        KeyError: Something is missing.
        ValueError: Something has another shape.
    """
    for name, value in state_dict(optimizers).items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}")
        value.copy_(tensors[name])
