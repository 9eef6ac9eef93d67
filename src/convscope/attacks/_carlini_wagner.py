"""Carlini and Wagner's L2 attack: distance plus weighted margin, weight found by bisection."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_positive, check_steps
from convscope.ascent import adam_step, ascend, unconstrained
from convscope.attacks._base import Trajectory, build_result, unlimited
from convscope.attacks._blocks import streamed
from convscope.attacks._criteria import is_finite, odd_scale, success_criterion
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.progress import stage
from convscope.types import Images, Labels

EDGE = 1e-6
"""Pixels of exactly 0 or 1 are moved in by so much before atanh, which is infinite there."""


@checked
@streamed
def carlini_wagner(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    steps: int = 100,
    search_steps: int = 9,
    step_size: float = 0.1,
    first_weight: float = 1.0,
    confidence: float = 0.0,
) -> AttackResult:
    """Minimize squared distance plus c times the missing margin, over ``x = (tanh(w) + 1) / 2``.

    Kept because courses name it: `ddn` finds nearer images at a tenth of the cost.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        steps: Adam steps per weight.
        search_steps: How many weights c are tried per image: tenfold up until one fools, then
            bisection.
        step_size: Step of Adam, in w. Pixels of exactly 0 lie at w = -7.25: with the usual 0.01
            they cannot move in a hundred steps.
        first_weight: The first weight c of the margin.
        confidence: By how much the margin is to be exceeded (kappa).

    Returns:
        Images before and after; rows that never fooled are left as they were.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.full((1, 1, 2, 2), 0.5)
        >>> label = classifier.predict(images, top=1).labels[:, 0]
        >>> carlini_wagner(classifier, images, label, steps=5, search_steps=2).method
        'carlini-wagner'

    Source:
        Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017,
        sections V and VI. The best other logit is taken over the others only, so that it is
        right for logits of any sign. Logits of an odd range are
        brought to a usual one first (`odd_scale`): the search for c then ends where it should.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    check_steps(steps)
    check_count("search_steps", search_steps)
    check_positive("step_size", step_size)
    check_positive("first_weight", first_weight)
    everyone = torch.arange(len(images), device=images.device)
    weight = images.new_full((len(images),), first_weight)
    low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
    nearest, best = images.clone(), torch.full_like(weight, torch.inf)
    start = torch.atanh((2 * images - 1).clamp(-1 + EDGE, 1 - EDGE))
    trajectory = Trajectory.start(images)
    trajectory.steps[:] = steps * search_steps

    def distance(x: Tensor, rows: Tensor) -> Tensor:
        return (x - images[rows]).square().flatten(1).sum(dim=1)

    with classifier.probe() as probe:
        before = probe.logits(images)
        scale = odd_scale(before)
        best[criterion.is_adversarial(before, everyone)] = 0.0
        trajectory.nonfinite[:] = ~is_finite(before)
        rows = everyone[best > 0]

        # In both, `part` are positions in `rows`.
        def objective(w: Tensor, logits: Tensor, part: Tensor) -> Tensor:
            tried = rows[part]
            missing = (confidence - criterion.margin(logits, tried)).clamp_min(0) * scale[tried]
            return -(distance(_pixels(w), tried) + weight[tried] * missing)

        def nearness(w: Tensor, values: Tensor, logits: Tensor, part: Tensor) -> Tensor:
            tried = rows[part]
            enough = criterion.is_adversarial(logits, tried) & (
                criterion.margin(logits, tried) >= confidence
            )
            return torch.where(enough, -distance(_pixels(w), tried), -torch.inf)

        for turn in range(search_steps if len(rows) else 0):
            with stage(turn / search_steps, (turn + 1) / search_steps):
                ascent = ascend(
                    start[rows],
                    probe,
                    objective,
                    step=adam_step(step_size),
                    region=unconstrained(),
                    steps=steps,
                    keep=nearness,
                    decode=lambda w, k, part: _pixels(w),
                )
            x = _pixels(ascent.images)
            hit = criterion.is_adversarial(ascent.outputs, rows)
            moved = distance(x, rows)
            closer = hit & (moved < best[rows])
            nearest[rows[closer]], best[rows[closer]] = x[closer], moved[closer]
            trajectory.zero_gradients[rows] += ascent.zero_gradients
            trajectory.nonfinite[rows] |= ascent.unreadable
            c = weight[rows]
            high[rows] = torch.where(hit, torch.minimum(high[rows], c), high[rows])
            low[rows] = torch.where(hit, low[rows], torch.maximum(low[rows], c))
            middle = (low[rows] + high[rows]) / 2
            weight[rows] = torch.where(high[rows].isfinite(), middle, 10 * c)
        return build_result(
            probe,
            images,
            nearest,
            criterion,
            method="carlini-wagner",
            settings={
                "steps": steps,
                "search_steps": search_steps,
                "step_size": step_size,
                "first_weight": first_weight,
                "confidence": confidence,
            },
            budget=unlimited(),
            logits_before=before,
            trajectory=trajectory,
        )


def _pixels(w: Tensor) -> Tensor:
    return (torch.tanh(w) + 1) / 2
