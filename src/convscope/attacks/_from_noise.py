"""Noise that is read as a class with high confidence."""

from __future__ import annotations

from torch import Generator

from convscope._arguments import checked
from convscope.ascent import adam_step, box, plain_step
from convscope.attacks._blocks import streamed
from convscope.attacks._by_ascent import attack_by_ascent
from convscope.attacks._documents import confident, gaussian_images
from convscope.attacks._goal import Goal, goal_of
from convscope.attacks._objectives import objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._settings import check_positive, check_steps
from convscope.classifier import Classifier
from convscope.errors import choose
from convscope.types import Images, Labels, StepRule


@checked
@streamed
def from_noise(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    mean: float = 0.5,
    sd: float = 0.05,
    steps: int = 500,
    step_size: float = 0.1,
    step: StepRule = "plain",
    confidence: float = 0.99,
    generator: Generator | None = None,
) -> AttackResult:
    """From Gaussian noise to an image that is read as the target, and means nothing to us.

    Ascends ``log p(target | x)`` from N(mean, sd) until the target has the wanted probability.

    Args:
        classifier: The network to fool.
        images: Only their number and size matter.
        labels: One per image; the result has what the noise was read as at first.
        targets: ``(batch,)``, the classes to reach.
        mean: Mean of the first pixels, in pixel units.
        sd: Standard deviation of the first pixels, in pixel units.
        steps: Number of steps, at most.
        step_size: Factor of the gradient, or Adam's step in pixel units.
        step: ``"plain"``: gradient times `step_size`, as in the documents; ``"adam"``.
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
        "Non-targeted" images of two course reports on MNIST, which start from N(0.5, 0.05).
        Compare Nguyen, Yosinski, Clune, "Deep Neural Networks are Easily Fooled", CVPR 2015.
    """
    goal = goal_of(classifier, images, labels, targets)
    start = gaussian_images(images, mean, check_positive("sd", sd), generator)
    with classifier.probe() as probe:
        read = probe.logits(start).argmax(dim=1)
    aim = Goal(labels=read, targets=goal.targets)
    size = check_positive("step_size", step_size)
    choose("step", step, ("plain", "adam"))
    return attack_by_ascent(
        classifier,
        start,
        aim,
        method="from-noise",
        objective=objective_of("cross-entropy", aim),
        step=plain_step(size) if step == "plain" else adam_step(size),
        steps=check_steps(steps),
        region=box(),
        stop=confident(aim.aims, confidence),
        settings={
            "mean": mean,
            "sd": sd,
            "steps": steps,
            "step_size": step_size,
            "step": step,
            "confidence": confidence,
        },
    )
