"""A small plain network for 32x32 images, as a second opinion beside the residual one."""

from collections import OrderedDict

from torch import nn

from convscope.models._architecture import Architecture, InputShape
from convscope.models._chain import Chain

WIDTHS = (64, 128, 256)


def plain_network(num_classes: int, shape: InputShape) -> nn.Module:
    """Three blocks of two 3x3 convolutions, global max-pooling, one dense layer.

    In each block a 2x2 max-pooling follows the first convolution, where it saves three quarters
    of the second one's work. Batch normalization stands after every convolution.

    Args:
        num_classes: Number of logits.
        shape: Channels, height and width of the images; at least 8x8.

    Source:
        3x3 filters and doubling widths: Simonyan and Zisserman, "Very Deep Convolutional
        Networks", ICLR 2015. Pooling inside the block and the maximum at the end: the CIFAR
        speed runs of Page ("How to train your ResNet", 2018) and Jordan (arXiv 2404.00498).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = shape[0]
    for block, width in enumerate(WIDTHS):
        for position in (1, 2):
            number = 2 * block + position
            layers[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            if position == 1:
                layers[f"pool{block + 1}"] = nn.MaxPool2d(2)
            layers[f"bn{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU()
            channels = width
    layers["pool4"] = nn.AdaptiveMaxPool2d(1)
    layers["fc1"] = nn.Linear(channels, num_classes)
    return Chain(layers)


cifar_vgg = Architecture(
    name="cifar-vgg",
    network=plain_network,
    input_shape=(3, 32, 32),
    smallest=8,
    description="3 blocks of two 3x3 convolutions with 64, 128, 256 filters, global maximum",
)
