"""AutoAttack: four complementary attacks, each on examples not yet broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_norm, check_radius
from convscope._random import source
from convscope.attacks._apgd import apgd, apgd_targeted
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._budget import of_rows
from convscope.attacks._criteria import success_criterion
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
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> auto_attack(classifier, images, labels, steps=2, queries=2).method
        'auto-attack'

    Source:
        Croce and Hein, ICML 2020, section 5. The members are the standard ones; FAB comes last
        because it is the most expensive and rarely adds anything. APGD starts at the images.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    radii = check_radius(epsilon, check_norm(norm), images)
    generator = source(generator)

    def member(
        attack: Callable[..., AttackResult], **settings: object
    ) -> Callable[..., AttackResult]:
        def run(rows: Tensor) -> AttackResult:
            part = criterion.of(rows)
            return attack(
                classifier,
                images[rows],
                part.labels,
                targets=part.targets,
                epsilon=of_rows(radii, rows),
                **settings,
            )

        return run

    turns = [
        member(apgd, norm=norm, steps=steps, generator=generator),
        member(apgd_targeted, norm=norm, steps=steps, classes=classes),
        member(square, norm=norm, queries=queries, generator=generator),
        member(fab, norm=norm, steps=steps, classes=classes),
    ]
    everyone = torch.arange(len(images), device=images.device)
    result = in_turns(everyone, turns)
    return replace(
        result,
        method="auto-attack",
        settings={"steps": steps, "queries": queries, "classes": classes},
    )
