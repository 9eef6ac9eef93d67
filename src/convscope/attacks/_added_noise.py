"""Noise added to an image until the image is read as a class."""

from __future__ import annotations

from convscope._arguments import checked
from convscope.ascent import box, plain_step
from convscope.attacks._blocks import streamed
from convscope.attacks._by_ascent import attack_by_ascent
from convscope.attacks._documents import confident
from convscope.attacks._goal import goal_of
from convscope.attacks._objectives import objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._settings import check_positive, check_steps
from convscope.classifier import Classifier
from convscope.types import Images, Labels


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
        "Adding noise" in two course reports on MNIST.
    """
    goal = goal_of(classifier, images, labels, targets)
    return attack_by_ascent(
        classifier,
        images,
        goal,
        method="added-noise",
        objective=objective_of("cross-entropy", goal),
        step=plain_step(check_positive("step_size", step_size)),
        steps=check_steps(steps),
        region=box(),
        stop=confident(goal.aims, confidence),
        settings={"steps": steps, "step_size": step_size, "confidence": confidence},
    )
