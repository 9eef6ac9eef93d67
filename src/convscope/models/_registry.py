"""Every network that can be built by name.

The dictionary lives here, not in the package's ``__init__``, because saving and loading look
networks up in it. To add one: a file with its layers, a line here.
"""

from torch import Generator, nn

from convscope.errors import choose
from convscope.models._architecture import Architecture, InputShape
from convscope.models._cifar_11x11 import (
    cifar_11x11,
    cifar_11x11_bn,
    cifar_11x11_same,
    cifar_11x11_same_bn,
)
from convscope.models._mnist import (
    mnist_conv1,
    mnist_conv1_bn,
    mnist_conv2,
    mnist_conv2_bn,
    mnist_conv2_fc,
    mnist_conv2_fc_bn,
)
from convscope.models._resnet import cifar_resnet20
from convscope.models._vgg import cifar_vgg

MODELS: dict[str, Architecture] = {
    "mnist-conv1": mnist_conv1,
    "mnist-conv1-bn": mnist_conv1_bn,
    "mnist-conv2": mnist_conv2,
    "mnist-conv2-bn": mnist_conv2_bn,
    "mnist-conv2-fc": mnist_conv2_fc,
    "mnist-conv2-fc-bn": mnist_conv2_fc_bn,
    "cifar-11x11": cifar_11x11,
    "cifar-11x11-bn": cifar_11x11_bn,
    "cifar-11x11-same": cifar_11x11_same,
    "cifar-11x11-same-bn": cifar_11x11_same_bn,
    "cifar-resnet20": cifar_resnet20,
    "cifar-vgg": cifar_vgg,
}


def build(
    name: str,
    *,
    num_classes: int = 10,
    input_shape: InputShape | None = None,
    generator: Generator | None = None,
) -> nn.Module:
    """A network of the registry with fresh weights.

    Args:
        name: A key of `MODELS`.
        num_classes: Number of logits.
        input_shape: Channels, height, width of the images; the architecture's own by default.
        generator: Source of the weights: the same seed gives the same weights. ``None`` is torch's
            global generator.

    Returns:
        A module in training mode, ``(batch, *input_shape)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: Unknown name, or images too small for the network.

    Example:
        >>> import torch
        >>> net = build("mnist-conv2-fc", generator=torch.Generator().manual_seed(0))
        >>> sum(p.numel() for p in net.parameters())
        799078
        >>> [name for name, _ in net.named_children()][:4]
        ['conv1', 'relu1', 'pool1', 'conv2']
    """
    architecture = MODELS[choose("network", name, MODELS)]
    return architecture.build(num_classes, input_shape, generator=generator)
