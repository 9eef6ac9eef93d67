"""Square attack: random squares, kept where the margin improves. No gradients."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from convscope.ascent import linf_ball
from convscope.attacks._goal import goal_of
from convscope.attacks._result import AttackResult, conclude
from convscope.attacks._settings import check_count, check_radius
from convscope.classifier import Classifier
from convscope.types import Images, Labels

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the area of the square halves."""


def square(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    queries: int = 1000,
    share: float = 0.8,
    generator: Generator | None = None,
) -> AttackResult:
    """Fool without gradients: a check on defenses that only hide theirs.

    Starts with vertical stripes of plus or minus epsilon; each query sets a random square to plus
    or minus epsilon per channel and is kept if the margin improves. All images see the same
    draws, so that none depends on its neighbors. A row leaves when it fools.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: L-infinity radius in pixel units, one or one per image.
        queries: Forward passes per image, at most.
        share: Area of the first squares, as a share of the image.
        generator: Source of randomness.

    Returns:
        Images before and after; `steps` counts queries.

    Raises:
        UsageError: U03, U05, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> square(classifier, images, labels, epsilon=0.1, queries=5).cost.backwards
        0

    Source:
        Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via
        random search", ECCV 2020, algorithms 1 and 2 (L-infinity).
    """
    goal = goal_of(classifier, images, labels, targets)
    radii = check_radius(epsilon, "linf", images).to(images.device)
    check_count("queries", queries)
    region = linf_ball(images, radii)
    wide = radii.to(images).expand(len(images)).view(-1, 1, 1, 1)
    channels, height, width = images.shape[1:]
    everyone = torch.arange(len(images), device=images.device)
    taken = torch.zeros_like(everyone)
    with classifier.probe() as probe:
        before = probe.logits(images)
        best, after, x = goal.margin(before, everyone), before.clone(), images.clone()
        rows = everyone[~goal.reached(before, everyone)]
        for query in range(queries):
            if len(rows) == 0:
                break
            center, radius = images[rows], wide[rows]
            if query == 0:
                signs = _signs((1, channels, 1, width), generator).to(images)
                trial = region.project(center + radius * signs, rows)
            else:
                side = _side(query, queries, share, height, width)
                top, left = _whole(height - side, generator), _whole(width - side, generator)
                signs = _signs((1, channels, 1, 1), generator).to(images)
                area = (..., slice(top, top + side), slice(left, left + side))
                trial = x[rows]
                trial[area] = center[area] + radius * signs
                trial = region.project(trial, rows)
            logits = probe.logits(trial)
            margin = goal.margin(logits, rows)
            better = (margin > best[rows]) | (query == 0) & margin.isfinite()
            chosen = rows[better]
            x[chosen], best[chosen], after[chosen] = trial[better], margin[better], logits[better]
            taken[rows] = query + 1
            rows = rows[~goal.reached(after[rows], rows)]
        return conclude(
            probe,
            images,
            x,
            goal,
            method="square",
            settings={"queries": queries, "share": share},
            region=region,
            norm="linf",
            epsilon=float(radii.max()) if radii.numel() else 0.0,
            logits_before=before,
            logits_after=after,
            steps=taken,
            gradients=False,
        )


def _side(query: int, queries: int, share: float, height: int, width: int) -> int:
    """Side of the square in pixels: its area halves on the schedule of the paper."""
    passed = 10_000 * query / queries
    area = share / 2 ** sum(passed > limit for limit in HALVINGS)
    side = round((area * height * width) ** 0.5)
    return max(1, min(side, height, width))


def _signs(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def _whole(most: int, generator: Generator | None) -> int:
    return int(torch.randint(0, most + 1, (), generator=generator))
