"""Networks for short CIFAR-10 runs: frozen patch whitening, then three blocks of 3x3 filters."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from convscope.models._architecture import Architecture, Chain, InputShape

PATCH = 2
MOMENTUM = 0.4
"""Of the statistics of normalization, which have to forget quickly: runs are short."""

REST = 0.01
"""Share of the drawn weights that `near_identity` leaves."""

HEAD_SCALE = 0.25
"""Factor in front of the dense layer: see `Scale`."""


class Scale(nn.Module):
    """Multiplies by a constant, which sets how fast the layer behind it learns.

    Gradient descent moves the product of a matrix and a scale `s` at `s` squared times the rate,
    so one learning rate serves biases and this head.

    Example:
        >>> Scale(0.25)(torch.tensor([8.0]))
        tensor([2.])
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def extra_repr(self) -> str:
        """The factor, as printed networks show it."""
        return f"{self.factor:g}"

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * self.factor


def whitened_network(
    num_classes: int,
    shape: InputShape,
    *,
    widths: tuple[int, ...],
    activation: type[nn.Module] = nn.GELU,
) -> nn.Module:
    """A frozen 2x2 whitening convolution, blocks of two 3x3 convolutions, a scaled dense layer.

    The whitening convolution has two filters per value of a 2x2 patch, a direction and its
    opposite, a bias that learns, and no padding. Each block is convolution, 2x2 max-pooling,
    normalization, activation, convolution, normalization, activation. Filters of 3x3 begin as
    `near_identity` leaves them. A run trains neither the whitening filters nor the scales of the
    normalization.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; at least 9x9.
        widths: Filters of each block's convolutions.
        activation: Class of the activations. ReLU costs a sixth less time per step than GELU, and
            is as accurate after one epoch.

    Source:
        Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), sections 3.1
        to 3.3; whitening of patches by a convolution: Page, "How to train your ResNet" (2018). We
        differ in the whitening bias (it learns to the end), the maximum over the whole last map,
        and the scale in front of the head in place of behind it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 2 * PATCH**2 * shape[0]
    layers["conv1"] = nn.Conv2d(shape[0], channels, PATCH)
    activated = activation.__name__.lower()
    layers[f"{activated}1"] = activation()
    for block, width in enumerate(widths, start=1):
        for number in (2 * block, 2 * block + 1):
            layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            if number == 2 * block:
                layers[f"pool{block}"] = nn.MaxPool2d(2)
            layers[f"bn{number}"] = nn.BatchNorm2d(width, momentum=MOMENTUM)
            layers[f"{activated}{number}"] = activation()
            channels = width
    layers[f"pool{len(widths) + 1}"] = nn.AdaptiveMaxPool2d(1)
    layers["scale"] = Scale(HEAD_SCALE)
    layers["fc1"] = nn.Linear(channels, num_classes, bias=False)
    return Chain(layers)


@torch.no_grad()
def near_identity(module: nn.Module) -> None:
    """Let the first filters of each 3x3 convolution pass their input on, nearly, in place.

    A hundredth of what was drawn for them stays: a filter that passes a ReLU's output on exactly
    would have nothing for the next ReLU to do.

    Source: Jordan (arXiv 2404.00498), section 3.2, without the hundredth.

    Example:
        >>> layer = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        >>> near_identity(layer)
        >>> images = torch.rand(1, 2, 5, 5)
        >>> bool((layer(images)[:, :2] - images).abs().max() < 0.1)
        True
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            first = layer.weight[: layer.in_channels]
            first.copy_(nn.init.dirac_(torch.empty_like(first)) + REST * first)


def _architecture(name: str, widths: tuple[int, ...], activation: type[nn.Module]) -> Architecture:
    return Architecture(
        name=name,
        network=partial(whitened_network, widths=widths, activation=activation),
        input_shape=(3, 32, 32),
        smallest=9,
        description="patch whitening, 3 blocks of two 3x3 convolutions with "
        f"{', '.join(map(str, widths))} filters, {activation.__name__}, global maximum",
        first_weights=near_identity,
        first_weights_about="the first 3x3 filters of each convolution pass their input on",
        whitening="conv1",
        frozen=("conv1.weight", "bn*.weight"),
    )


cifar_best = _architecture("cifar-best", (64, 248, 256), nn.GELU)
cifar_best_quick = _architecture("cifar-best-quick", (64, 128, 128), nn.ReLU)
