"""Optimizers and the training loop, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from convscope._readable import readable
from convscope.errors import NumericalError, UsageError
from convscope.scratch._dense import cross_entropy, cross_entropy_gradient
from convscope.scratch._geometry import Array, need_dimensions, need_shape
from convscope.scratch._layers import Layer


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


_CHUNK = 256
"""Images per forward pass where no gradient is needed."""


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """What `fit` tells its caller after every step.

    Attributes:
        epoch: From 1 on.
        step: From 1 on, over all epochs.
        steps: How many there will be in all.
        loss: Mean cross-entropy of the batch before the step, in nats.
        error: Share of the batch that was wrong before the step.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    error: float


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCurve:
    """How a training went.

    Attributes:
        losses: Mean cross-entropy of every batch before its step, in nats (steps,).
        errors: Share of every batch that was wrong before its step (steps,).
        accuracies: Share of the validation images that are right, after each epoch (epochs,);
            empty if there were none.
        steps_per_epoch: Batches in an epoch.
    """

    losses: Array
    errors: Array
    accuracies: Array
    steps_per_epoch: int


def fit(
    network: Layer,
    images: Array,
    labels: Array,
    *,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int,
    generator: np.random.Generator,
    validation: tuple[Array, Array] | None = None,
    warm_up: float | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainingCurve:
    """Train a network in place, on images in random order, a batch at a time.

    Each step is: forward, gradient of the cross-entropy, backward, optimizer.

    Args:
        network: From images (N, C, H, W) to logits (N, K).
        images: Bytes (0 to 255) or numbers in [0, 1], (N, C, H, W).
        labels: The right classes (N,).
        optimizer: What turns gradients into steps.
        epochs: How often every image is seen.
        batch_size: Images per step; a last smaller batch of an epoch is used too.
        generator: Source of the order.
        validation: Images and labels to judge after every epoch.
        warm_up: None keeps the learning rate. Otherwise it rises from zero over this share of all
            steps, and falls back to zero over the rest ("one cycle").
        on_step: Called after every step, for progress bars and logs.

    Returns:
        The loss and error of every step, and the accuracy after every epoch.

    Raises:
        UsageError: Shapes or counts that make no sense.
        NumericalError: The loss is no longer a number; the step is not taken.

    Example:
        >>> from convscope.scratch import Adam, Dense
        >>> generator = np.random.default_rng(0)
        >>> images = generator.random((200, 1, 1, 2), dtype=np.float32)
        >>> labels = (images[:, 0, 0, 0] > images[:, 0, 0, 1]).astype(np.int64)
        >>> network = Dense(2, 2, generator=generator)
        >>> curve = fit(
        ...     network, images, labels, optimizer=Adam(0.1), epochs=10, batch_size=20,
        ...     generator=generator,
        ... )
        >>> accuracy(network, images, labels) > 0.95
        True

    Source:
        One cycle: Smith and Topin, "Super-convergence" (2018), as straight lines.
    """
    need_dimensions("images", images, "(N, C, H, W)")
    need_shape("labels", labels, (len(images),))
    if min(epochs, batch_size, len(images)) < 1:
        raise UsageError(
            f"{len(images)} images, {epochs} epochs, batches of {batch_size}",
            expected="at least one of each",
        )
    peak = optimizer.learning_rate
    steps_per_epoch = -(-len(images) // batch_size)
    steps = epochs * steps_per_epoch
    losses, errors, accuracies = np.zeros(steps), np.zeros(steps), np.zeros(epochs)
    step = 0
    for epoch in range(1, epochs + 1):
        order = generator.permutation(len(images))
        for start in range(0, len(images), batch_size):
            rows = order[start : start + batch_size]
            batch, classes = pixels(images[rows]), labels[rows]
            logits = network.forward(batch, training=True)
            losses[step] = cross_entropy(logits, classes)
            errors[step] = (logits.argmax(axis=1) != classes).mean()
            if not np.isfinite(losses[step]):
                raise NumericalError(
                    f"the loss is {losses[step]} in step {step + 1}",
                    hint="use a smaller learning rate",
                )
            network.backward_to_parameters(cross_entropy_gradient(logits, classes))
            if warm_up is not None:
                optimizer.learning_rate = peak * one_cycle((step + 0.5) / steps, warm_up)
            optimizer.step(network.parameters, network.gradients)
            step += 1
            if on_step is not None:
                on_step(
                    TrainingStep(
                        epoch=epoch,
                        step=step,
                        steps=steps,
                        loss=float(losses[step - 1]),
                        error=float(errors[step - 1]),
                    )
                )
        if validation is not None:
            accuracies[epoch - 1] = accuracy(network, *validation)
    optimizer.learning_rate = peak
    return TrainingCurve(
        losses=losses,
        errors=errors,
        accuracies=accuracies if validation is not None else np.zeros(0),
        steps_per_epoch=steps_per_epoch,
    )


def one_cycle(progress: float, warm_up: float) -> float:
    """The share of the highest learning rate at a time of the training.

    Args:
        progress: 0 is the start, 1 is the end.
        warm_up: When the highest rate is reached.

    Returns:
        progress / warm_up up to then, and (1 - progress) / (1 - warm_up) from then on.

    Example:
        >>> one_cycle(0.1, 0.2), one_cycle(0.2, 0.2), one_cycle(0.6, 0.2)
        (0.5, 1.0, 0.5)
    """
    if progress < warm_up:
        return progress / warm_up
    return (1 - progress) / (1 - warm_up) if warm_up < 1 else 1.0


def predict(network: Layer, images: Array) -> Array:
    """The logits of any number of images, computed a few at a time.

    Args:
        network: From images (N, C, H, W) to logits (N, K).
        images: Bytes or numbers in [0, 1], (N, C, H, W).

    Returns:
        (N, K); the largest of each row is the network's answer.
    """
    return np.concatenate(
        [
            network.forward(pixels(images[start : start + _CHUNK]))
            for start in range(0, max(1, len(images)), _CHUNK)
        ]
    )


def accuracy(network: Layer, images: Array, labels: Array) -> float:
    """The share of images whose largest logit is the right one.

    Args:
        network: From images (N, C, H, W) to logits (N, K).
        images: Bytes or numbers in [0, 1], (N, C, H, W).
        labels: The right classes (N,).

    Returns:
        A number from 0 to 1.
    """
    return float((predict(network, images).argmax(axis=1) == labels).mean())


def pixels(images: Array) -> Array:
    """Bytes 0 to 255 as float32 in [0, 1]; anything else as it is.

    Args:
        images: Of any shape.

    Returns:
        The same shape.

    Example:
        >>> pixels(np.array([0, 255], np.uint8))
        array([0., 1.], dtype=float32)
    """
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images
