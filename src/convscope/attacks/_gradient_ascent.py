"""Plain gradient ascent on a class, as it is written in courses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_positive, check_steps
from convscope._random import source
from convscope.ascent import Stop, adam_step, l2_step, plain_step
from convscope.attacks._base import Task, attack_by_ascent
from convscope.attacks._blocks import streamed
from convscope.attacks._criteria import Criterion, measured_entropy, objective_of, success_criterion
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.types import Images, Labels, ObjectiveName, StepRule


def confident(targets: Tensor, confidence: float) -> Stop:
    """True where the target is the class, with at least this probability.

    Raises:
        UsageError: U06 if `confidence` is not in [0, 1).
    """
    if not 0 <= confidence < 1:
        raise UsageError(f"confidence must be in [0, 1), got {confidence}", code="U06")

    def stop(logits: Tensor, rows: Tensor) -> Tensor:
        probabilities = logits.softmax(dim=1)
        of_target = probabilities.gather(1, targets[rows][:, None])[:, 0]
        return (probabilities.argmax(dim=1) == targets[rows]) & (of_target >= confidence)

    return stop


def gaussian_images(images: Tensor, mean: float, std: float, generator: Generator | None) -> Tensor:
    """Images of Gaussian pixels, one drawing for all rows, clamped to [0, 1]."""
    noise = torch.randn(
        (1, *images.shape[1:]), generator=source(generator), dtype=torch.float32
    ).to(images)
    return (mean + std * noise).clamp(0, 1).expand(len(images), -1, -1, -1).clone()


@checked
@streamed
def l2_gradient_ascent(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    steps: int = 100,
    step_size: float = 0.1,
) -> AttackResult:
    """Ascend the target's logit by L2-normalized gradients until the image is adversarial.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: lower the label's lead until
            another class wins.
        steps: Number of steps, at most.
        step_size: L2 length of a step in pixel units.

    Returns:
        Images before and after; `steps` says how many each image took.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.full((1, 1, 2, 2), 0.5)
        >>> label = classifier.predict(images, top=1).labels[:, 0]
        >>> found = l2_gradient_ascent(classifier, images, label, targets=1 - label)
        >>> bool(found.already_misclassified)
        False

    Source:
        S. Kim, "Assignment 2 (CNN part)", Data Science Laboratory, Seoul National University, 2018:
        gradient ascent on the target's score, dX = rate * g / ||g||. Its rate of 1 belongs to
        pixels scaled by their deviation; 0.1 suits [0, 1].
    """
    criterion = success_criterion(classifier, images, labels, targets)
    return attack_by_ascent(
        classifier,
        images,
        criterion,
        method="l2-gradient-ascent",
        objective=objective_of("margin" if targets is None else "logit", criterion),
        step=l2_step(check_positive("step_size", step_size)),
        steps=check_steps(steps),
        settings={"steps": steps, "step_size": step_size},
    )


@checked
@streamed
def linf_gradient_ascent(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    steps: int = 100,
    step_size: float | None = None,
    objective: ObjectiveName = "cross-entropy",
) -> AttackResult:
    """Repeat ``x <- clip(x + lambda * gradient)`` to ``image +- epsilon``, intersected with [0, 1].

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units.
        steps: Number of steps, at most; a row leaves when it is adversarial.
        step_size: Factor of the gradient (lambda). By default the radius.
        objective: ``"probability"`` is what the homework prints: its gradient vanishes where the
            network is sure, and then nothing moves (the result counts such rows). The default is
            the logarithm of it; ``"margin"`` and ``"logit"`` also work.

    Returns:
        Images before and after; `zero_gradients` says where the gradient vanished.

    Raises:
        UsageError: U03, U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> linf_gradient_ascent(classifier, images, labels, epsilon=0.1).distance("linf") <= 0.1
        tensor([True])

    Source:
        "CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019: X' = X' + lambda * dP/dX',
        clipped to the ball but not to [0, 1]. Ours always stays in [0, 1].
    """
    task = Task.of(classifier, images, labels, targets, epsilon, "linf")
    size = task.radii if step_size is None else torch.tensor(check_positive("step_size", step_size))
    return attack_by_ascent(
        classifier,
        images,
        task.criterion,
        method="linf-gradient-ascent",
        objective=objective_of(objective, task.criterion),
        step=plain_step(size),
        steps=check_steps(steps),
        budget=task.budget,
        fallback=objective != "probability",
        settings={
            "steps": steps,
            "step_size": float(size.max()) if size.numel() else 0.0,
            "objective": objective,
        },
    )


@checked
@streamed
def added_noise(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    steps: int = 500,
    step_size: float = 0.05,
    confidence: float = 0.9,
) -> AttackResult:
    """Ascend ``log p(target | image + noise)`` in the noise, which starts at zero.

    The noise is `AttackResult.perturbations`; `apply_noise` adds it to other images.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach.
        steps: Number of steps, at most.
        step_size: Factor of the gradient.
        confidence: Probability of the target at which an image is done.

    Returns:
        Images before and after; ``image + noise`` stays in [0, 1].

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.zeros(1, 1, 2, 2), torch.tensor([0])
        >>> added_noise(classifier, images, labels, targets=1 - labels, steps=3).method
        'added-noise'

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, and
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    return attack_by_ascent(
        classifier,
        images,
        criterion,
        method="added-noise",
        objective=objective_of("cross-entropy", criterion),
        step=plain_step(check_positive("step_size", step_size)),
        steps=check_steps(steps),
        stop=confident(criterion.target_or_label, confidence),
        settings={"steps": steps, "step_size": step_size, "confidence": confidence},
    )


@checked
@streamed
def from_noise(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    mean: float = 0.5,
    std: float = 0.05,
    steps: int = 500,
    step_size: float = 0.1,
    step: StepRule = "plain",
    confidence: float = 0.99,
    generator: Generator | None = None,
) -> AttackResult:
    """Turn Gaussian noise into an image that is predicted as the target.

    Ascends ``log p(target | x)`` from N(mean, sd) until the target has the wanted probability.

    Args:
        classifier: The network to fool.
        images: Only their number and size matter.
        labels: One per image; the result has what the noise was predicted as at first.
        targets: ``(batch,)``, the classes to reach.
        mean: Mean of the first pixels, in pixel units.
        std: Standard deviation of the first pixels, in pixel units.
        steps: Number of steps, at most.
        step_size: Factor of the gradient, or Adam's step in pixel units.
        step: ``"plain"``: gradient times `step_size`, as in the reports; ``"adam"``.
        confidence: Probability of the target at which an image is done.
        generator: Source of the noise; by default one with seed 0.

    Returns:
        `originals` is the noise, `adversarials` what became of it.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.zeros(1, 1, 2, 2), torch.tensor([0])
        >>> from_noise(classifier, images, labels, targets=labels, steps=3).method
        'from-noise'

    Source:
        Non-targeted images of
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, and
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019; the first starts from N(0.5, 0.05).
        Compare Nguyen, Yosinski, Clune, "Deep Neural Networks are Easily Fooled", CVPR 2015.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    start = gaussian_images(images, mean, check_positive("std", std), generator)
    with classifier.probe() as probe:
        predicted = probe.logits(start).argmax(dim=1)
        cost = probe.cost()
    aim = Criterion(labels=predicted, targets=criterion.targets)
    size = check_positive("step_size", step_size)
    choose("step", step, ("plain", "adam"))
    result = attack_by_ascent(
        classifier,
        start,
        aim,
        method="from-noise",
        objective=objective_of("cross-entropy", aim),
        step=plain_step(size) if step == "plain" else adam_step(size),
        steps=check_steps(steps),
        stop=confident(aim.target_or_label, confidence),
        settings={
            "mean": mean,
            "std": std,
            "steps": steps,
            "step_size": step_size,
            "step": step,
            "confidence": confidence,
        },
    )
    return replace(result, cost=cost + result.cost)


@checked
@streamed
def toward_image(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    pull: float = 1000.0,
    steps: int = 300,
    step_size: float = 0.02,
    step: StepRule = "adam",
    mean: float = 0.5,
    std: float = 0.05,
    generator: Generator | None = None,
) -> AttackResult:
    """Ascend ``log p(target | x) - pull * mse(x, image)`` from Gaussian noise.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, what the result is to look like.
        labels: ``(batch,)``, their classes.
        targets: ``(batch,)``, what it is to be predicted as.
        pull: Weight of the mean squared difference to the image; the reports use 1 and 1000.
        steps: Number of steps; all are taken.
        step_size: Adam's step in pixel units, or the factor of plain gradients.
        step: ``"adam"``, or ``"plain"`` as in the reports (then small sizes, such as 0.2).
        mean: Mean of the first pixels, in pixel units.
        std: Standard deviation of the first pixels, in pixel units.
        generator: Source of the noise; by default one with seed 0.

    Returns:
        `originals` are `images`; `adversarials` is the point of the highest objective.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.zeros(1, 1, 2, 2), torch.tensor([0])
        >>> toward_image(classifier, images, labels, targets=1 - labels, steps=3).method
        'toward-image'

    Source:
        Targeted images of
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, and
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019, with beta for `pull`. Adam instead of plain gradients, which at a pull of 1000 need
        steps below 0.8 / pull per pixel count.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    if not 0 <= pull < float("inf"):
        raise UsageError(f"pull must be at least 0 and finite, got {pull}", code="U06")
    size = check_positive("step_size", step_size)
    choose("step", step, ("plain", "adam"))

    def objective(x: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        difference = (x - images[rows]).square().flatten(1).mean(dim=1)
        return measured_entropy(criterion, logits, rows) - pull * difference

    return attack_by_ascent(
        classifier,
        images,
        criterion,
        method="toward-image",
        objective=objective,
        start=gaussian_images(images, mean, check_positive("std", std), generator),
        step=adam_step(size) if step == "adam" else plain_step(size),
        steps=check_steps(steps),
        keep="best",
        stop=False,
        settings={
            "pull": pull,
            "steps": steps,
            "step_size": step_size,
            "step": step,
            "mean": mean,
            "std": std,
        },
    )
