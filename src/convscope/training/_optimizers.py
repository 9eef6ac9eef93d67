"""From settings to update rules: what is decayed, what is not, who moves the filters."""

from torch import Tensor, nn

from convscope.training._rules import Adam, Muon, Rule, Sgd
from convscope.training._settings import TrainSettings

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
