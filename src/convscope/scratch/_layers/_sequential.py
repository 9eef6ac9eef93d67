"""A network as a row of named layers."""

from collections.abc import Mapping

from convscope.errors import UsageError
from convscope.scratch._geometry import Array
from convscope.scratch._layers._layer import Layer


class Sequential(Layer):
    """Layers one after the other. Backwards they run in the opposite order: the chain rule.

    The names of the layers become the first part of the names of their parameters:
    ``conv1.weight``. A `Sequential` is itself a layer.

    Args:
        layers: The layers by name, in order.

    Raises:
        UsageError: No layers.

    Example:
        >>> import numpy as np
        >>> from convscope.scratch import Dense, ReLU
        >>> generator = np.random.default_rng(0)
        >>> network = Sequential({"fc1": Dense(4, 3, generator=generator), "relu1": ReLU()})
        >>> network.forward(np.ones((2, 4), np.float32)).shape
        (2, 3)
        >>> list(network.parameters)
        ['fc1.weight', 'fc1.bias']
        >>> network.parameter_count
        15
    """

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        if not layers:
            raise UsageError("a network without layers", expected="at least one")
        self.layers = dict(layers)
        self.parameters = join({name: layer.parameters for name, layer in layers.items()})
        self.constants = join({name: layer.constants for name, layer in layers.items()})

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """The last layer's outputs."""
        self._remember(inputs)
        for layer in self.layers.values():
            inputs = layer.forward(inputs, training=training)
        return inputs

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the inputs."""
        for layer in reversed(self.layers.values()):
            output_gradient = layer.backward(output_gradient)
        self._collect()
        return output_gradient

    def backward_to_parameters(self, output_gradient: Array) -> None:
        """Fill `gradients`, and stop at the first layer that has parameters."""
        layers = list(self.layers.values())
        first = next((i for i, layer in enumerate(layers) if layer.parameters), 0)
        for layer in layers[:first:-1]:
            output_gradient = layer.backward(output_gradient)
        layers[first].backward_to_parameters(output_gradient)
        self._collect()

    def _collect(self) -> None:
        self.gradients = join({name: layer.gradients for name, layer in self.layers.items()})


def join(parts: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """{"conv1": {"weight": w}} as {"conv1.weight": w}."""
    return {
        f"{layer}.{name}": array for layer, part in parts.items() for name, array in part.items()
    }
