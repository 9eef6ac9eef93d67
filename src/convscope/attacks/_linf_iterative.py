"""Plain gradient steps inside an L-infinity ball, as a course document prints them."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope.ascent import linf_ball, plain_step
from convscope.attacks._blocks import streamed
from convscope.attacks._by_ascent import attack_by_ascent
from convscope.attacks._goal import goal_of
from convscope.attacks._objectives import objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._settings import check_positive, check_radius, check_steps
from convscope.classifier import Classifier
from convscope.types import Images, Labels, ObjectiveName


@checked
@streamed
def linf_iterative(
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
        steps: At most so many; a row leaves when it fools.
        step_size: Factor of the gradient (lambda). By default the radius.
        objective: ``"probability"`` is what the document prints: its gradient vanishes where the
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
        >>> linf_iterative(classifier, images, labels, epsilon=0.1).distance("linf") <= 0.1
        tensor([True])

    Source:
        A course assignment on fooling ImageNet networks: X' = X' + lambda * dP/dX', clipped to
        the ball but not to [0, 1]. Ours always stays in [0, 1].
    """
    goal = goal_of(classifier, images, labels, targets)
    radii = check_radius(epsilon, "linf", images).to(images.device)
    size = radii if step_size is None else torch.tensor(check_positive("step_size", step_size))
    return attack_by_ascent(
        classifier,
        images,
        goal,
        method="linf-iterative",
        objective=objective_of(objective, goal),
        step=plain_step(size),
        steps=check_steps(steps),
        region=linf_ball(images, radii),
        norm="linf",
        epsilon=radii,
        fallback=objective != "probability",
        settings={
            "steps": steps,
            "step_size": float(size.max()) if size.numel() else 0.0,
            "objective": objective,
        },
    )
