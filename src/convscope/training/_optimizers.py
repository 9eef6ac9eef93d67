"""From settings to optimizers: what is decayed, what is not, who moves the filters."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convscope.training._muon import Muon
from convscope.training._settings import TrainSettings


def build_optimizers(module: nn.Module, settings: TrainSettings) -> list[Optimizer]:
    """The optimizers that share the parameters of `module`.

    Weight decay acts on weights only: never on biases, never on normalisation. Every group carries
    its `peak` learning rate; `set_learning_rate` scales it.

    Args:
        module: The network.
        settings: `optimizer`, `learning_rate`, `other_learning_rate`, `weight_decay`, `momentum`.

    Returns:
        One optimizer, or two for ``"muon"`` (filters by Muon, the rest by SGD).
    """
    weights: list[Tensor] = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    others: list[Tensor] = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    rate, decay = settings.learning_rate, settings.weight_decay
    built: list[Optimizer]
    if settings.optimizer == "muon":
        filters = [p for p in weights if p.ndim == 4]
        matrices = [p for p in weights if p.ndim != 4]
        built = [Muon([{"params": filters}], lr=rate, momentum=settings.momentum)]
        slow = settings.other_learning_rate or rate
        built.append(_sgd(_groups(matrices, others, decay), slow, 0.85))
    elif settings.optimizer == "sgd":
        built = [_sgd(_groups(weights, others, decay), rate, settings.momentum)]
    else:
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        built = [kind(_groups(weights, others, decay), lr=rate, fused=True)]
    for optimizer in built:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return built


def _groups(weights: list[Tensor], others: list[Tensor], decay: float) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = [
        {"params": weights, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _sgd(groups: list[dict[str, object]], rate: float, momentum: float) -> Optimizer:
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def set_learning_rate(optimizers: list[Optimizer], factor: float) -> float:
    """Scale every group to `factor` times its peak; returns the first group's learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
    return float(optimizers[0].param_groups[0]["lr"])


def optimizer_tensors(optimizers: list[Optimizer]) -> dict[str, Tensor]:
    """Everything the optimizers remember, by name ``optimizer.parameter.quantity``."""
    return {
        f"{i}.{j}.{quantity}": value
        for i, optimizer in enumerate(optimizers)
        for j, parameter in enumerate(_parameters(optimizer))
        for quantity, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizers(optimizers: list[Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, in the memory layout that a fresh run would use."""
    for i, optimizer in enumerate(optimizers):
        for j, parameter in enumerate(_parameters(optimizer)):
            memory = {
                name.split(".", 2)[2]: value
                for name, value in tensors.items()
                if name.startswith(f"{i}.{j}.")
            }
            state = optimizer.state[parameter]
            state.clear()
            for quantity, value in memory.items():
                if value.shape == parameter.shape:
                    state[quantity] = torch.empty_like(parameter, requires_grad=False).copy_(value)
                else:
                    state[quantity] = value.clone()


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
