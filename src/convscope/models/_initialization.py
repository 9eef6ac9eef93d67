"""First weights, from a generator and nothing else."""

import math

import torch
from torch import Generator, nn


@torch.no_grad()
def initialize(module: nn.Module, *, generator: Generator | None = None) -> None:
    """Fill `module` with He's first weights, in place.

    Convolutions and dense layers draw from a normal distribution of variance ``2 / fan_in``, so
    that a ReLU, which loses half of the power, keeps the size of the signal from layer to layer.
    The last dense layer is not followed by a ReLU and gets ``1 / fan_in``. Biases start at zero,
    batch normalization at the identity.

    Args:
        module: The network; every convolution, dense and normalization layer of it is written.
        generator: Where the weights come from; ``None`` is torch's global generator.

    Example:
        >>> layer = nn.Linear(4, 2)
        >>> initialize(layer, generator=torch.Generator().manual_seed(0))
        >>> layer.bias.tolist()
        [0.0, 0.0]

    Source:
        He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        power = 1.0 if layer is layers[-1] else 2.0
        layer.weight.normal_(0.0, math.sqrt(power / layer.weight[0].numel()), generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.weight.fill_(1.0)
            norm.bias.zero_()
