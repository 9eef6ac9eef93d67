"""Training a network of this package, and asking it for classes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from convscope._readable import readable
from convscope.errors import NumericalError, UsageError
from convscope.scratch._geometry import Array, need_dimensions, need_shape
from convscope.scratch._layers._layer import Layer
from convscope.scratch._optimizers import Optimizer
from convscope.scratch._softmax import cross_entropy, cross_entropy_gradient

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
