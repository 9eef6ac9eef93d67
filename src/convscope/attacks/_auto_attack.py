"""AutoAttack: four complementary attacks, each on examples not yet broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope.attacks._apgd import apgd, apgd_targeted
from convscope.attacks._base import Task
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._fab import fab
from convscope.attacks._result import AttackResult
from convscope.attacks._square import square
from convscope.classifier import Classifier
from convscope.types import Images, Labels, Norm


@checked
@streamed
def auto_attack(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 100,
    queries: int = 5000,
    classes: int = 9,
    generator: Generator | None = None,
) -> AttackResult:
    """APGD-CE, targeted APGD-DLR, Square and targeted FAB, each on images not yet broken.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units, one or one per image.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Steps of the gradient attacks, per start and class.
        queries: Moves that Square tries per image, at most.
        classes: How many wrong classes the targeted attacks try.
        generator: Source of randomness; by default one with seed 0.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03, U05, U08.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> auto_attack(classifier, images, labels, steps=2, queries=2).method
        'auto-attack'

    Source:
        Croce and Hein, ICML 2020, section 5. The members are the standard ones; FAB comes last
        because it is the most expensive and rarely adds anything. APGD starts at the images.
    """
    task = Task.of(classifier, images, labels, targets, epsilon, norm)
    generator = source(generator)

    def member(
        attack: Callable[..., AttackResult], **settings: object
    ) -> Callable[[Tensor], AttackResult]:
        def run(rows: Tensor) -> AttackResult:
            part = task.part(rows)
            return attack(
                classifier,
                part.images,
                part.criterion.labels,
                targets=part.criterion.targets,
                epsilon=part.radii,
                norm=norm,
                **settings,
            )

        return run

    members = [
        member(apgd, steps=steps, generator=generator),
        member(apgd_targeted, steps=steps, classes=classes),
        member(square, queries=queries, generator=generator),
        member(fab, steps=steps, classes=classes),
    ]
    return replace(
        in_turns(images, members),
        method="auto-attack",
        settings={"steps": steps, "queries": queries, "classes": classes},
    )
