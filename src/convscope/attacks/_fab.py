"""FAB: minimal-norm adversarial examples by steps along linearized decision boundaries."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_norm, check_radius, check_steps
from convscope.ascent import ball
from convscope.attacks._apgd import candidates
from convscope.attacks._base import Budget, Trajectory, build_result, of_rows, unlimited, within
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._criteria import Criterion, is_finite, success_criterion
from convscope.attacks._deepfool import onto_plane
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.probe import Objective
from convscope.progress import at_step
from convscope.types import Images, Labels, Norm

NEAR_ORIGINAL = 0.1
"""Largest weight of the point next to the original (alpha_max)."""

OVERSHOOT = 1.05
"""How far each projection is walked (eta)."""

BACKWARD = 0.9
"""Share of the way kept after a success (beta)."""


@checked
@streamed
def fab(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor | None = None,
    norm: Norm = "linf",
    steps: int = 100,
    classes: int = 9,
) -> AttackResult:
    """Find minimal-norm adversarial examples by projecting onto linearized boundaries.

    One wrong class after the other.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Stop at the first adversarial within this radius. ``None``: look for the
            nearest, with all steps.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Steps per class, at most.
        classes: How many wrong classes are tried, likeliest first; a row leaves at success.

    Returns:
        Images before and after; rows without an adversarial within epsilon are as they were.

    Raises:
        UsageError: U03, U05, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.full((1, 1, 2, 2), 0.5)
        >>> label = classifier.predict(images, top=1).labels[:, 0]
        >>> fab(classifier, images, label, steps=5).method
        'fab'

    Source:
        Croce and Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack", ICML 2020, algorithm 1, in its targeted form (one boundary per turn). Each
        iterate is forwarded once; its gradient and its class come from the same pass.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    norm = check_norm(norm)
    radii = None if epsilon is None else check_radius(epsilon, norm, images)
    check_steps(steps)
    order, order_cost = candidates(classifier, images, criterion, check_count("classes", classes))

    def toward(rows: Tensor, number: int) -> AttackResult:
        x = images[rows]
        budget = unlimited() if radii is None else within(x, of_rows(radii, rows), norm)
        rivals = order[rows, number]
        return _toward(classifier, x, criterion.of(rows), rivals, budget, norm, steps=steps)

    result = in_turns(images, [partial(toward, number=n) for n in range(order.shape[1])])
    return replace(result, cost=order_cost + result.cost)


def _toward(
    classifier: Classifier,
    images: Tensor,
    criterion: Criterion,
    rivals: Tensor,
    budget: Budget,
    norm: Norm,
    *,
    steps: int,
) -> AttackResult:
    """Adversarial examples of the classes `rivals`, inside the budget if it has radii."""
    aim = Criterion(labels=criterion.labels, targets=rivals)
    nearest, iterates = images.clone(), images.clone()
    best = images.new_full((len(images),), torch.inf)
    rows = torch.arange(len(images), device=images.device)
    trajectory = Trajectory.start(images)
    with classifier.probe() as probe:
        before = None
        for k in range(steps + 1):
            if len(rows) == 0:
                break
            at_step(k, steps + 1)
            original, x = images[rows], iterates[rows]
            boundary = (_lead if criterion.targets is None else _over_all)(aim.of(rows))
            at_x = probe.gradient(x, boundary)
            before = at_x.outputs if before is None else before
            trajectory.nonfinite[rows] |= ~is_finite(at_x.outputs)
            hit = criterion.is_adversarial(at_x.outputs, rows)
            distance = _size(x - original, norm)
            closer = hit & (distance < best[rows])
            nearest[rows[closer]], best[rows[closer]] = x[closer], distance[closer]
            trajectory.steps[rows[closer]] = k
            if k == steps:
                break
            normal, gap = at_x.gradients, -at_x.values
            dead = (normal.flatten(1) == 0).all(1) | ~normal.flatten(1).isfinite().all(1)
            trajectory.zero_gradients[rows] += dead.long()
            from_x = onto_plane(x, normal, gap, norm)
            # From the original, <w, d> has to make up for the way to the iterate, too.
            across = (normal * (x - original)).flatten(1).sum(1) + gap
            from_original = onto_plane(original, normal, across, norm)
            a, b = _size(from_x, norm), _size(from_original, norm)
            alpha = (a / (a + b).clamp_min(1e-30)).clamp(0, NEAR_ORIGINAL).view(-1, 1, 1, 1)
            ahead = (1 - alpha) * (x + OVERSHOOT * from_x) + alpha * (
                original + OVERSHOOT * from_original
            )
            back = original + BACKWARD * (x - original)
            iterates[rows] = torch.where(hit.view(-1, 1, 1, 1), back, ahead).clamp(0, 1)
            going = ~dead
            if budget.radii is not None:
                going &= ~(hit & ball(original, of_rows(budget.radii, rows), norm).contains(x))
            elif k == 0:
                going &= ~hit
            rows = rows[going]
        inside = best.isfinite() & budget.region.contains(nearest)
        nearest = torch.where(inside.view(-1, 1, 1, 1), nearest, images)
        return build_result(
            probe,
            images,
            nearest,
            criterion,
            method="fab",
            settings={"steps": steps},
            budget=budget,
            logits_before=before,
            trajectory=trajectory,
        )


def _lead(aim: Criterion) -> Objective:
    """The rival's logit minus the label's: zero on the boundary, positive beyond."""

    def objective(x: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        rival = logits.gather(1, aim.target_or_label[rows][:, None])[:, 0]
        return rival - logits.gather(1, aim.labels[rows][:, None])[:, 0]

    return objective


def _over_all(aim: Criterion) -> Objective:
    """The target's logit minus the best other."""
    return lambda x, logits, rows: aim.margin(logits, rows)


def _size(move: Tensor, norm: str) -> Tensor:
    order = torch.inf if norm == "linf" else 2
    return torch.linalg.vector_norm(move.flatten(1), ord=order, dim=1)
