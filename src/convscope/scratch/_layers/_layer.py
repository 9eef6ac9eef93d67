"""What every layer has in common."""

from abc import ABC, abstractmethod

from convscope.errors import UsageError
from convscope.scratch._geometry import Array


class Layer(ABC):
    """A function with parameters that can be run forwards and then backwards.

    `forward` keeps what the backward pass needs. `backward` takes the gradient of a loss with
    respect to the layer's outputs, fills `gradients`, and returns the gradient of the inputs.

    Attributes:
        parameters: What is learned, by name. Optimizers change these arrays in place.
        gradients: The gradient of each parameter, by the same names, after a backward pass.
        constants: What belongs to the layer but is not learned, such as running averages.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}
        self._seen: Array | None = None

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(array.size for array in self.parameters.values())

    @abstractmethod
    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """The layer's outputs; `training` matters to layers that behave otherwise then."""

    @abstractmethod
    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` and return the gradient of the inputs of the last forward pass."""

    def backward_to_parameters(self, output_gradient: Array) -> None:
        """Fill `gradients` only: all that training needs of a network's first layer."""
        self.backward(output_gradient)

    def _remember(self, inputs: Array) -> None:
        self._seen = inputs

    @property
    def _inputs(self) -> Array:
        """The inputs of the last forward pass."""
        if self._seen is None:
            raise UsageError(
                f"backward pass of {type(self).__name__} before any forward pass",
                hint="call forward(images) first",
            )
        return self._seen
