"""Optimizers, parameter groups, learning-rate schedule, averaged weights."""

import copy
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from convscope.training._settings import TrainSettings


def learning_rate_factor(step: int, total: int, *, schedule: str, warm_up: float) -> float:
    """The share of the peak learning rate that step `step` (0, 1, ...) of `total` uses.

    ``"one-cycle"`` climbs in a straight line for the first `warm_up` share of the run and falls in
    a straight line to zero at its end, which is what makes runs of one or two epochs possible: the
    length must be known from the start. ``"constant"`` is always 1.

    Args:
        step: Which update, from 0.
        total: Updates of the whole run.
        schedule: ``"one-cycle"`` or ``"constant"``.
        warm_up: Share of the run spent climbing, in [0, 1).

    Example:
        >>> shape = {"schedule": "one-cycle", "warm_up": 0.25}
        >>> [round(learning_rate_factor(k, 8, **shape), 2) for k in range(8)]
        [0.25, 0.75, 0.92, 0.75, 0.58, 0.42, 0.25, 0.08]

    Source: L. N. Smith, "Super-convergence" (arXiv 1708.07120). The step is taken at its middle, so
    neither the first nor the last update is wasted on a rate of zero.
    """
    if schedule == "constant":
        return 1.0
    progress = (step + 0.5) / total
    if progress < warm_up:
        return progress / warm_up
    return (1 - progress) / (1 - warm_up)


EVERY = 5


class Average:
    """A slow copy of a network, moved a little every few steps.

    The average is what a run delivers: it reaches the accuracy of a decayed learning rate earlier.
    The decay starts small, as (1 + n) / (10 + n) after n updates, so the random initial weights are
    forgotten quickly.

    Args:
        module: The network that is trained.
        decay: Share of the average kept per training step; it is applied every 5 steps as decay^5.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> average = Average(layer, decay=0.99)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(2.0), average.module.weight.fill_(1.0)
        >>> average.after_step(layer, 5)
        >>> round(average.module.weight.item(), 4)
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
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            if mine.is_floating_point():
                slow.append(mine)
                fast.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(slow, fast, 1 - kept)


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


BIAS_MOMENTUM = 0.85


def build_rules(module: nn.Module, settings: TrainSettings) -> list[Rule]:
    """The update rules that share the parameters of `module`.

    Weight decay acts on weights only: never on biases, never on normalization.

    Args:
        module: The network.
        settings: `optimizer`, `learning_rate`, `other_learning_rate`, `weight_decay`, `momentum`.

    Returns:
        One rule for weights and one for the rest; ``"muon"`` moves the convolution filters by Muon
        and everything else by SGD.
    """
    weights: list[Tensor] = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    others: list[Tensor] = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    rate, decay = settings.learning_rate, settings.weight_decay
    rules: list[Rule]
    if settings.optimizer == "muon":
        slow = settings.other_learning_rate or rate
        rules = [
            Muon([p for p in weights if p.ndim == 4], rate=rate, momentum=settings.momentum),
            Sgd(
                [p for p in weights if p.ndim != 4], rate=slow, decay=decay, momentum=BIAS_MOMENTUM
            ),
            Sgd(others, rate=slow, decay=0.0, momentum=BIAS_MOMENTUM),
        ]
    elif settings.optimizer == "sgd":
        rules = [
            Sgd(weights, rate=rate, decay=decay, momentum=settings.momentum),
            Sgd(others, rate=rate, decay=0.0, momentum=settings.momentum),
        ]
    else:
        decoupled = settings.optimizer == "adamw"
        rules = [
            Adam(weights, rate=rate, decay=decay, decoupled=decoupled),
            Adam(others, rate=rate, decay=0.0, decoupled=decoupled),
        ]
    return [rule for rule in rules if rule.parameters]


def memory_of(rules: list[Rule]) -> dict[str, Tensor]:
    """Everything the rules remember, by name ``rule.quantity.parameter``."""
    return {
        f"{i}.{quantity}.{j}": value
        for i, rule in enumerate(rules)
        for quantity, values in rule.memory.items()
        for j, value in enumerate(values)
    }


def remember(rules: list[Rule], tensors: dict[str, Tensor]) -> None:
    """Put back what `memory_of` gave.

    Raises:
        KeyError: Something is missing.
        ValueError: Something has another shape.
    """
    for name, value in memory_of(rules).items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}")
        value.copy_(tensors[name])
