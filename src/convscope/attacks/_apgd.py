"""Auto-PGD: projected gradient ascent with momentum and an adaptive step size."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_steps
from convscope._random import source
from convscope.ascent import Point, l2_norm
from convscope.attacks._base import Expectation, Task, attack_by_ascent
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._criteria import Criterion, direction_of, objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._transforms import RandomTransform
from convscope.classifier import Classifier
from convscope.probe import Cost
from convscope.types import Images, Labels, Norm, ObjectiveName

PULL = 0.75
"""Weight of the new point against the last move (alpha in the paper)."""

RISING = 0.75
"""Share of steps that must improve for the step size to stay (rho)."""


@checked
@streamed
def apgd(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 100,
    objective: ObjectiveName = "cross-entropy",
    restarts: int = 1,
    random_start: bool = False,
    transforms: RandomTransform | None = None,
    eot_samples: int = 8,
    generator: Generator | None = None,
) -> AttackResult:
    """PGD with an adaptive step size: the reference attack for evaluation.

    Starts with steps of two epsilon. At checkpoints that come ever closer, a row whose objective
    rose too rarely halves its step and goes on from its best point. A row leaves at success.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units, one or one per image.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Number of steps per start, at most.
        objective: ``"cross-entropy"``, ``"dlr"`` (invariant to the scale of logits),
            ``"margin"``, ``"logit"`` or ``"probability"``.
        restarts: Starts; all but the first from random points, each for rows not yet adversarial.
        random_start: Begin the first start at a random point, too.
        transforms: Draws transforms that the result has to survive, such as
            ``random_rotations(30)``; on the command line names with commas: flip, crop, rotation,
            grayscale, noise.
        eot_samples: How many transforms are drawn per step (expectation over transformation).
        generator: Source of randomness; by default one with seed 0.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03, U05, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.full((1, 1, 2, 2), 0.5)
        >>> label = classifier.predict(images, top=1).labels[:, 0]
        >>> apgd(classifier, images, label, epsilon=0.1, steps=5).distance("linf") <= 0.1
        tensor([True])

    Source:
        Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-free Attacks", ICML 2020, algorithm 1. Rows leave at success; the first start is
        the image itself.
    """
    task = Task.of(classifier, images, labels, targets, epsilon, norm)
    check_count("restarts", restarts)
    check_count("eot_samples", eot_samples)
    check_steps(steps)
    generator = source(generator)
    averaged = {} if transforms is None else {"eot_samples": eot_samples}

    def from_start(rows: Tensor, number: int) -> AttackResult:
        part = task.part(rows)
        random = random_start or number > 0
        return attack_by_ascent(
            classifier,
            part.images,
            part.criterion,
            method="apgd",
            objective=(direction_of if transforms is None else objective_of)(
                objective, part.criterion
            ),
            step=AdaptiveStep(part, steps),
            steps=steps,
            budget=part.budget,
            start=part.random_start(generator) if random else None,
            keep="first" if transforms is None else "best",
            expectation=Expectation.over(transforms, eot_samples, generator),
            settings={"steps": steps, "objective": objective} | averaged,
        )

    return in_turns(images, [partial(from_start, number=n) for n in range(restarts)])


@checked
@streamed
def apgd_targeted(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 100,
    classes: int = 9,
) -> AttackResult:
    """APGD toward each of the likeliest wrong classes in turn; any wrong class counts.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, only these classes, which then have to be reached.
        epsilon: Radius in pixel units.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Steps per class, at most.
        classes: How many wrong classes, likeliest first. Starts are the images themselves.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03, U05, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> apgd_targeted(classifier, images, labels, epsilon=0.1, steps=3).method
        'apgd-targeted'

    Source:
        Croce and Hein, ICML 2020, section 4: the targeted difference-of-logits ratio.
    """
    task = Task.of(classifier, images, labels, targets, epsilon, norm)
    count = check_count("classes", classes)
    check_steps(steps)
    order, order_cost = candidates(classifier, images, task.criterion, count)

    def toward(rows: Tensor, number: int) -> AttackResult:
        part = task.part(rows)
        aim = Criterion(labels=part.criterion.labels, targets=order[rows, number])
        return attack_by_ascent(
            classifier,
            part.images,
            part.criterion,
            method="apgd-targeted",
            objective=objective_of("dlr", aim),
            step=AdaptiveStep(part, steps),
            steps=steps,
            budget=part.budget,
            settings={"steps": steps, "objective": "dlr"},
        )

    result = in_turns(images, [partial(toward, number=n) for n in range(order.shape[1])])
    return replace(result, cost=order_cost + result.cost)


def candidates(
    classifier: Classifier, images: Tensor, criterion: Criterion, count: int
) -> tuple[Tensor, Cost]:
    """Classes to try, ``(batch, count)``, and what it cost to find them.

    They are the targets, or the likeliest wrong classes in order.
    """
    if criterion.targets is not None:
        return criterion.targets[:, None], Cost(forwards=0, backwards=0, seconds=0.0)
    with classifier.probe() as probe:
        logits = probe.logits(images)
        cost = probe.cost()
    others = logits.scatter(1, criterion.labels[:, None], -torch.inf)
    return others.argsort(dim=1, descending=True)[:, : min(count, logits.shape[1] - 1)], cost


def checkpoints(steps: int) -> frozenset[int]:
    """Steps at which step sizes are judged: 22 % of the way, then ever closer, at least 6 %.

    Example:
        >>> sorted(checkpoints(100))[:4]
        [22, 41, 57, 70]
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return frozenset(math.ceil(share * steps - 1e-9) for share in shares[1:] if share <= 1)


class AdaptiveStep:
    """The update of APGD; state per row."""

    def __init__(self, task: Task, steps: int) -> None:
        self.task = task
        self.checkpoints = checkpoints(steps)

    def start(self, x: Tensor) -> None:
        """Step sizes are two epsilon; nothing has been evaluated."""
        shape = (len(x),)
        self.size = 2 * self.task.radii.to(x).expand(shape).clone()
        self.best_x, self.best_gradient = x.clone(), torch.zeros_like(x)
        self.best_value = x.new_full(shape, -torch.inf)
        self.checkpoint_value = self.best_value.clone()
        self.last_value = self.best_value.clone()
        self.evaluated, self.current, self.previous = x.clone(), x.clone(), x.clone()
        self.direction = torch.zeros_like(x)
        self.rises = x.new_zeros(shape)
        self.halved = torch.zeros(shape, dtype=torch.bool, device=x.device)
        self.last_checkpoint = 0

    def observe(self, point: Point) -> None:
        """Keep the best point; at checkpoints, halve steps and go back to it."""
        k, rows, x, gradient = point.k, point.rows, point.x, point.gradients
        self.previous[rows] = self.current[rows] if k else x
        self.current[rows] = self.evaluated[rows] = x
        self.rises[rows] += (point.values > self.last_value[rows]).to(x) if k else 0.0
        self.last_value[rows] = point.values
        higher = point.values > self.best_value[rows]
        better = rows[higher]
        self.best_value[better] = point.values[higher]
        self.best_x[better], self.best_gradient[better] = x[higher], gradient[higher]
        self.direction[rows] = gradient
        if k in self.checkpoints:
            self._judge(k, rows)

    def _judge(self, k: int, rows: Tensor) -> None:
        rare = self.rises[rows] < RISING * (k - self.last_checkpoint)
        stuck = ~self.halved[rows] & (self.best_value[rows] <= self.checkpoint_value[rows])
        failed = rare | stuck
        back = rows[failed]
        self.size[back] /= 2
        self.current[back] = self.best_x[back]
        self.direction[back] = self.best_gradient[back]
        self.halved[rows] = failed
        self.checkpoint_value[rows] = self.best_value[rows]
        self.rises[rows] = 0
        self.last_checkpoint = k

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """From the point evaluated (which a checkpoint may have replaced) to the next."""
        here, direction = self.current[rows], self.direction[rows]
        if self.task.norm == "linf":
            direction = direction.sign()
        else:
            direction = direction / l2_norm(direction).clamp_min(1e-30)
        size = self.size[rows].view(-1, 1, 1, 1)
        ahead = self.task.budget.region.project(here + size * direction, rows)
        if k > 0:
            ahead = here + PULL * (ahead - here) + (1 - PULL) * (here - self.previous[rows])
        return ahead - self.evaluated[rows]
