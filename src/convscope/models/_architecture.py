"""What a network is called, how it is built, and with which weights it starts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, nn

from convscope.errors import UsageError
from convscope.models._initialization import initialize

InputShape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One entry of `MODELS`: a network without its weights.

    Attributes:
        name: What it is called on the command line and in ``config.json``.
        network: ``network(num_classes, input_shape)`` lays out the modules.
        input_shape: Channels, height and width it was made for; others work too.
        smallest: Least height and width, in pixels, from which something is left at the end.
        description: One sentence for ``convscope models list``.
    """

    name: str
    network: Callable[[int, InputShape], nn.Module]
    input_shape: InputShape
    smallest: int
    description: str

    def build(
        self,
        num_classes: int = 10,
        input_shape: InputShape | None = None,
        *,
        generator: Generator | None = None,
    ) -> nn.Module:
        """The network with fresh weights, in training mode, on the CPU.

        Args:
            num_classes: Number of logits.
            input_shape: Channels, height, width in pixels; the architecture's own by default.
            generator: Source of the weights. The same seed gives the same weights, whatever was
                drawn from torch's global generator before; ``None`` draws from the global one.

        Returns:
            A module from ``(batch, *input_shape)`` to ``(batch, num_classes)``.

        Raises:
            UsageError: The images are too small for the layers, or a number is not positive.
        """
        shape = self.check(num_classes, input_shape)
        # Layers draw weights when they are made; ours replace them, so rewind the global stream.
        with torch.random.fork_rng(devices=[]):
            module = self.network(num_classes, shape)
        initialize(module, generator=generator)
        return module

    def outline(self, num_classes: int = 10, input_shape: InputShape | None = None) -> nn.Module:
        """The network on torch's meta device: names and shapes, no memory, no random numbers.

        Raises:
            UsageError: As for `build`.
        """
        shape = self.check(num_classes, input_shape)
        with torch.device("meta"):
            return self.network(num_classes, shape)

    def check(self, num_classes: int, input_shape: InputShape | None) -> InputShape:
        """The shape to build for, if this network can have it.

        Raises:
            UsageError: As for `build`.
        """
        shape = self.input_shape if input_shape is None else input_shape
        if num_classes < 1 or len(shape) != 3 or min(shape) < 1:
            raise UsageError(
                f"{self.name} cannot have {num_classes} classes and images of {shape}",
                expected="at least one class, one channel, one row and one column",
            )
        if min(shape[1:]) < self.smallest:
            raise UsageError(
                f"{self.name} cannot take images of {shape[1]}x{shape[2]} pixels: nothing is left"
                " after its convolutions and poolings",
                expected=f"at least {self.smallest}x{self.smallest} pixels",
                hint="enlarge the images or choose a network with fewer poolings",
            )
        return shape
