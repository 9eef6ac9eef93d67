"""Push the target's score up until it wins, then stop."""

from __future__ import annotations

from convscope._arguments import checked
from convscope.ascent import box, l2_step
from convscope.attacks._blocks import streamed
from convscope.attacks._by_ascent import attack_by_ascent
from convscope.attacks._goal import goal_of
from convscope.attacks._objectives import objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._settings import check_positive, check_steps
from convscope.classifier import Classifier
from convscope.types import Images, Labels


@checked
@streamed
def until_fooled(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    steps: int = 100,
    step_size: float = 0.1,
) -> AttackResult:
    """Ascend the target's logit with L2-normalized gradients; each image stops when it fools.

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
        >>> bool(until_fooled(classifier, images, label, targets=1 - label).trivial)
        False

    Source:
        The exercise "adversarial examples" of a course on deep learning: gradient ascent on the
        target's score, dX = rate * g / ||g||. Its rate of 1 belongs to ImageNet pixels scaled by
        their deviation; 0.1 suits [0, 1].
    """
    goal = goal_of(classifier, images, labels, targets)
    return attack_by_ascent(
        classifier,
        images,
        goal,
        method="until-fooled",
        objective=objective_of("margin" if targets is None else "logit", goal),
        step=l2_step(check_positive("step_size", step_size)),
        steps=check_steps(steps),
        region=box(),
        settings={"steps": steps, "step_size": step_size},
    )
