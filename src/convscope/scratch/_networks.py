"""The digit networks, by the names they have in `convscope.models`."""

import numpy as np

from convscope.errors import UsageError, choose
from convscope.scratch._layers._batch_norm import BatchNorm
from convscope.scratch._layers._convolution import Convolution
from convscope.scratch._layers._dense import Dense
from convscope.scratch._layers._layer import Layer
from convscope.scratch._layers._normalize import Normalize
from convscope.scratch._layers._pooling import MaxPool
from convscope.scratch._layers._relu import ReLU
from convscope.scratch._layers._sequential import Sequential

FILTERS = 32
HIDDEN = 500

NETWORKS = {
    "mnist-conv1": (1, False, False),
    "mnist-conv1-bn": (1, False, True),
    "mnist-conv2": (2, False, False),
    "mnist-conv2-bn": (2, False, True),
    "mnist-conv2-fc": (2, True, False),
    "mnist-conv2-fc-bn": (2, True, True),
}
"""Name: number of convolutions, whether there is a hidden dense layer, batch normalization."""


def build_network(
    name: str,
    *,
    generator: np.random.Generator,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    filters: int = FILTERS,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    dtype: type[np.floating] = np.float32,
) -> Sequential:
    """A digit network with first weights, its layers named as in `convscope.models`.

    Each block is 32 3x3 filters ("same" padding), perhaps batch normalization, ReLU, 2x2
    max-pool; then perhaps 500 hidden units with ReLU; then the logits.

    Args:
        name: One of `NETWORKS`, such as ``"mnist-conv2"``.
        generator: Source of the first weights.
        num_classes: Number of logits.
        input_shape: Channels, height and width of the images.
        filters: Kernels of each convolution; 32 in the networks of `convscope.models`.
        mean: Mean pixel per channel, subtracted from images in [0, 1]; None: nothing is.
        std: Standard deviation per channel, which divides after that.
        dtype: Type of the parameters.

    Returns:
        A network from images (N, C, H, W) to logits (N, num_classes).

    Raises:
        UsageError: An unknown name, or images too small to be pooled.

    Example:
        >>> network = build_network("mnist-conv2", generator=np.random.default_rng(0))
        >>> list(network.layers)
        ['conv1', 'relu1', 'pool1', 'conv2', 'relu2', 'pool2', 'fc1']
        >>> network.parameter_count
        25258
    """
    convolutions, has_hidden, normalized = NETWORKS[choose("network", name, NETWORKS)]
    channels, height, width = input_shape
    layers: dict[str, Layer] = {}
    if mean is not None and std is not None:
        layers["normalize"] = Normalize(mean, std)
    for block in range(1, convolutions + 1):
        layers[f"conv{block}"] = Convolution(
            channels, filters, 3, padding="same", generator=generator, dtype=dtype
        )
        if normalized:
            layers[f"bn{block}"] = BatchNorm(filters, dtype=dtype)
        layers[f"relu{block}"] = ReLU()
        layers[f"pool{block}"] = MaxPool(2)
        channels, height, width = filters, height // 2, width // 2
    features = channels * height * width
    if not features:
        raise UsageError(
            f"images of {input_shape[1]}x{input_shape[2]} pixels are too small for {name}",
            code="U10",
            expected=f"at least {2**convolutions}x{2**convolutions}",
        )
    if has_hidden:
        layers["fc1"] = Dense(features, HIDDEN, generator=generator, dtype=dtype)
        layers[f"relu{convolutions + 1}"] = ReLU()
        layers["fc2"] = Dense(HIDDEN, num_classes, generator=generator, dtype=dtype)
    else:
        layers["fc1"] = Dense(features, num_classes, generator=generator, dtype=dtype)
    return Sequential(layers)
