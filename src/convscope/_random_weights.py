"""The same network with random weights: the control of every claim about learned weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from convscope._network.black_box import refuse_black_box
from convscope._network.execution import execution_of, fingerprint, remember
from convscope._network.frozen_copy import frozen_copy
from convscope._random import source
from convscope.classifier import Classifier


def weighted_layers(module: nn.Module) -> tuple[str, ...]:
    """Names of the modules that hold parameters themselves, in order of definition."""
    return tuple(
        name
        for name, child in module.named_modules()
        if any(True for _ in child.parameters(recurse=False))
    )


def with_random_weights(
    classifier: Classifier,
    *,
    layers: Sequence[str] | None = None,
    generator: Generator | None = None,
) -> Classifier:
    """A copy of `classifier` whose layers have fresh random weights.

    Weights are normal with variance 2 / fan-in (He et al. 2015), biases zero, and normalization
    layers as they are born; nothing is drawn from the global random state.

    Args:
        classifier: Left as it is.
        layers: Which modules to randomize, by name; by default all that have parameters.
        generator: Source of the draws; by default one with seed 0.

    Raises:
        ModelContractError: M26 for a black box.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> other = with_random_weights(classifier, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(other.module[1].weight, net[1].weight)
        False
    """
    refuse_black_box(classifier.module, "weights")
    module = frozen_copy(classifier.module)
    chosen = weighted_layers(module) if layers is None else layers
    modules = dict(module.named_modules())
    generator = source(generator)
    with torch.no_grad():
        for name in chosen:
            _randomize(modules[name], generator)
    random = replace(classifier, module=module, source=f"{classifier.source}, random weights")
    # The same structure runs on the same path: nothing has to be tried again.
    remember(random._executions, fingerprint(module), execution_of(classifier))
    return random


def _randomize(child: nn.Module, generator: Generator | None) -> None:
    normalizes = isinstance(child, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm)
    for name, parameter in child.named_parameters(recurse=False):
        if parameter.ndim >= 2:
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            parameter.copy_(draw * math.sqrt(2 / max(1, _fan_in(parameter))))
        else:
            parameter.fill_(1.0 if normalizes and name == "weight" else 0.0)
    reset = getattr(child, "reset_running_stats", None)
    if normalizes and callable(reset):
        reset()


def _fan_in(weight: Tensor) -> int:
    return weight[0].numel()
