"""From noise to an image that looks like one class and is read as another."""

from __future__ import annotations

from torch import Generator, Tensor

from convscope._arguments import checked
from convscope.ascent import adam_step, box, plain_step
from convscope.attacks._blocks import streamed
from convscope.attacks._by_ascent import attack_by_ascent
from convscope.attacks._documents import gaussian_images
from convscope.attacks._goal import goal_of
from convscope.attacks._objectives import measured_entropy
from convscope.attacks._result import AttackResult
from convscope.attacks._settings import check_positive, check_steps
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.types import Images, Labels, StepRule


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
    sd: float = 0.05,
    generator: Generator | None = None,
) -> AttackResult:
    """Ascend ``log p(target | x) - pull * mse(x, image)`` from Gaussian noise.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, what the result shall look like.
        labels: ``(batch,)``, their classes.
        targets: ``(batch,)``, what it shall be read as.
        pull: Weight of the mean squared difference to the image; the documents use 1 and 1000.
        steps: How many; all are taken.
        step_size: Adam's step in pixel units, or the factor of plain gradients.
        step: ``"adam"``, or ``"plain"`` as in the documents (then small sizes, such as 0.2).
        mean: Mean of the first pixels, in pixel units.
        sd: Standard deviation of the first pixels, in pixel units.
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
        "Targeted" images of two course reports on MNIST, with beta for `pull`. Adam instead of
        plain gradients, which at a pull of 1000 need steps below 0.8 / pull per pixel count.
    """
    goal = goal_of(classifier, images, labels, targets)
    if not 0 <= pull < float("inf"):
        raise UsageError(f"pull must be at least 0 and finite, got {pull}", code="U06")
    size = check_positive("step_size", step_size)
    choose("step", step, ("plain", "adam"))

    def objective(x: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        difference = (x - images[rows]).square().flatten(1).mean(dim=1)
        return measured_entropy(goal, logits, rows) - pull * difference

    return attack_by_ascent(
        classifier,
        images,
        goal,
        method="toward-image",
        objective=objective,
        start=gaussian_images(images, mean, check_positive("sd", sd), generator),
        step=adam_step(size) if step == "adam" else plain_step(size),
        steps=check_steps(steps),
        region=box(),
        keep="best",
        stop=False,
        settings={
            "pull": pull,
            "steps": steps,
            "step_size": step_size,
            "step": step,
            "mean": mean,
            "sd": sd,
        },
    )
