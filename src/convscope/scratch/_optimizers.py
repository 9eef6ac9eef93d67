"""Rules that turn gradients into steps."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from convscope.errors import UsageError
from convscope.scratch._geometry import Array


class Optimizer(Protocol):
    """Anything that can move parameters along their gradients."""

    learning_rate: float

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Change the parameters in place."""


class SGD:
    """Gradient descent with momentum: v = mu v + g, then w = w - eta v.

    Args:
        learning_rate: eta, per unit of gradient.
        momentum: mu, the share of the velocity that stays; 0 is plain descent.
        weight_decay: lambda: g + lambda w takes the place of g for weights (arrays with more than
            one axis), not for biases.

    Raises:
        UsageError: A negative number, or a momentum of 1 or more.

    Example:
        >>> w, g = {"w": np.array([1.0])}, {"w": np.array([2.0])}
        >>> descent = SGD(0.1, momentum=0.5)
        >>> for _ in range(2):  # v = 2, then 0.5 * 2 + 2 = 3
        ...     descent.step(w, g)
        >>> w["w"].round(3)
        array([0.5])

    Source:
        Sutskever et al., "On the importance of initialization and momentum" (2013), classical
        momentum with the velocity in gradient units, as in PyTorch.
    """

    def __init__(
        self, learning_rate: float, *, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        _need_fractions(momentum=momentum)
        _need_positive(learning_rate=learning_rate, weight_decay=weight_decay)
        self.learning_rate, self.momentum = learning_rate, momentum
        self.weight_decay = weight_decay
        self._velocity: dict[str, Array] = {}

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Change the parameters in place."""
        for name, weights in parameters.items():
            gradient = gradients[name]
            if self.weight_decay and weights.ndim > 1:
                gradient = gradient + self.weight_decay * weights
            velocity = self._velocity.setdefault(name, np.zeros_like(weights))
            velocity *= self.momentum
            velocity += gradient
            weights -= self.learning_rate * velocity


class Adam:
    """Adam: the mean gradient divided by the root of the mean squared gradient.

        m = b1 m + (1 - b1) g            v = b2 v + (1 - b2) g^2
        w = w - eta (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)

    The two divisions by 1 - b^t undo that m and v start at zero.

    Args:
        learning_rate: eta, about the size of a step of each weight.
        betas: b1 and b2.
        epsilon: Keeps the root away from zero.
        weight_decay: lambda: weights (arrays with more than one axis) also shrink by the share
            eta lambda in each step, as in AdamW.

    Raises:
        UsageError: A negative number, or a beta of 1 or more.

    Example:
        >>> w, g = {"w": np.array([1.0])}, {"w": np.array([20.0])}
        >>> Adam(0.1).step(w, g)  # the first step has the size of the learning rate
        >>> w["w"].round(3)
        array([0.9])

    Source:
        Kingma and Ba, "Adam" (2015), algorithm 1; decay as in Loshchilov and Hutter, "Decoupled
        weight decay regularization" (2019).
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        _need_fractions(beta1=betas[0], beta2=betas[1])
        _need_positive(learning_rate=learning_rate, weight_decay=weight_decay, epsilon=epsilon)
        self.learning_rate, self.betas, self.epsilon = learning_rate, betas, epsilon
        self.weight_decay = weight_decay
        self._mean: dict[str, Array] = {}
        self._square: dict[str, Array] = {}
        self._steps = 0

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array]) -> None:
        """Change the parameters in place."""
        b1, b2 = self.betas
        self._steps += 1
        unbias1, unbias2 = 1 - b1**self._steps, 1 - b2**self._steps
        for name, weights in parameters.items():
            gradient = gradients[name]
            mean = self._mean.setdefault(name, np.zeros_like(weights))
            square = self._square.setdefault(name, np.zeros_like(weights))
            mean += (1 - b1) * (gradient - mean)
            square += (1 - b2) * (gradient * gradient - square)
            if self.weight_decay and weights.ndim > 1:
                weights *= 1 - self.learning_rate * self.weight_decay
            root = np.sqrt(square / unbias2) + self.epsilon
            weights -= self.learning_rate / unbias1 * mean / root


def _need_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < np.inf:
            raise UsageError(f"{name} is {number}", code="U03", expected="a number from 0 on")


def _need_fractions(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise UsageError(f"{name} is {number}", code="U03", expected="a number in [0, 1)")
