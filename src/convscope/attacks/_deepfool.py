"""DeepFool, and projections onto linearized decision boundaries."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_norm, check_positive, check_steps
from convscope.attacks._base import Trajectory, build_result
from convscope.attacks._blocks import streamed
from convscope.attacks._criteria import Criterion, is_finite, success_criterion
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.probe import Probe
from convscope.progress import at_step
from convscope.types import Images, Labels, Norm


def onto_plane(x: Tensor, weight: Tensor, offset: Tensor, norm: str) -> Tensor:
    """The move from `x` to the nearest point of a plane that keeps pixels in [0, 1].

    Solves ``min ||d||`` subject to ``<w, d> = offset`` and ``0 <= x + d <= 1`` for each row. Every
    pixel moves with the sign of ``offset * w`` by ``min(t * r, cap)``, with r = 1 for ``"linf"``
    and r = |w| for ``"l2"``; t follows from sorting the values at which pixels hit their caps.

    Args:
        x: ``(batch, ...)`` in [0, 1].
        weight: Normals, shaped as `x`.
        offset: ``(batch,)``, what ``<w, d>`` has to be.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.

    Returns:
        Moves, shaped as `x`. Where the plane does not meet the box: as far as the box allows.

    Example:
        >>> x, w = torch.tensor([[0.5, 0.9]]), torch.tensor([[1.0, 1.0]])
        >>> onto_plane(x, w, torch.tensor([0.4]), "linf")
        tensor([[0.3000, 0.1000]])

    Source:
        Croce and Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary
        Attack", ICML 2020, section 2.
    """
    shape = x.shape
    point, normal = x.flatten(1).double(), weight.flatten(1).double()
    side = torch.sign(normal * offset.double()[:, None])
    caps = torch.where(side > 0, 1 - point, point) * (side != 0)
    steep = normal.abs()
    rate = torch.ones_like(steep) if norm == "linf" else steep
    gain = steep * rate
    full = torch.where(rate > 0, caps / rate.clamp_min(1e-300), torch.inf)
    order = full.argsort(dim=1)
    full_sorted = full.gather(1, order)
    gain_sorted = gain.gather(1, order)
    done = (steep * caps).gather(1, order).cumsum(1)
    left = gain_sorted.flip(1).cumsum(1).flip(1)
    # Total change of <w, d> when t reaches the cap of the i-th pixel: those before are at theirs.
    before = torch.cat([torch.zeros_like(done[:, :1]), done[:, :-1]], dim=1)
    reach = before + full_sorted.nan_to_num(posinf=0.0) * left
    active = offset.double().abs()[:, None]
    first = torch.searchsorted(reach.cummax(1).values.contiguous(), active)
    place = first.clamp_max(reach.shape[1] - 1)
    rest = (active - before.gather(1, place)).clamp_min(0)
    t = rest / left.gather(1, place).clamp_min(1e-300)
    t = torch.where(first >= reach.shape[1], torch.inf, t)
    return (side * torch.minimum(t * rate, caps).nan_to_num(0.0)).to(x.dtype).view(shape)


SAFE = 1e-4
"""Margin to be reached, as a share of the range of an image's logits: so that neither their scale
nor a constant added to all of them makes a difference. The paper stops on the boundary itself,
where another machine's rounding decides; float32 logits agree to about 1e-6 of their range between
machines, so 1e-4 is safe, and costs 1e-4 / 2 % = half a percent of the paper's overshoot."""


@checked
@streamed
def deepfool(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    norm: Norm = "l2",
    steps: int = 50,
    overshoot: float = 0.02,
    classes: int = 10,
) -> AttackResult:
    """Find a minimal-norm adversarial example by iteratively linearizing the boundaries.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach: then only the boundary between the target
            and the class of the largest other logit counts. ``None``: any wrong class.
        norm: What shall be small, ``"l2"`` or ``"linf"``.
        steps: Number of steps, at most.
        overshoot: The accumulated perturbation is scaled by 1 + overshoot, to cross the boundary.
        classes: How many of the likeliest classes are considered, the true one included.

    Returns:
        Images before and after.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.full((1, 1, 2, 2), 0.5)
        >>> label = classifier.predict(images, top=1).labels[:, 0]
        >>> deepfool(classifier, images, label).steps.item() <= 50
        True

    Source:
        Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: a simple and accurate method to fool deep
        neural networks", CVPR 2016, algorithm 2. Overshoot applies to the whole way, as there;
        iterates are clamped to [0, 1], and in the second half of the steps the move itself is
        the shortest that stays in [0, 1]; all class gradients of a step come from one forward pass.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    check_norm(norm)
    check_steps(steps)
    further = 1 + check_positive("overshoot", overshoot)
    everyone = torch.arange(len(images), device=images.device)
    trajectory = Trajectory.start(images)
    x, way = images.clone(), torch.zeros_like(images)
    with classifier.probe() as probe:
        before = probe.logits(images)
        rivals = _rivals(before, criterion, check_count("classes", classes, least=2))
        after = before.clone()
        trajectory.nonfinite[:] = ~is_finite(before)
        rows = everyone[~criterion.is_adversarial(before, everyone)]
        for k in range(steps):
            if len(rows) == 0:
                break
            at_step(k, steps)
            held = k >= steps // 2  # Only rows that the pixel range holds back take so long.
            if criterion.targets is not None:
                rivals[rows] = _leader_and_target(after[rows], criterion.targets[rows])
            move, dead = _toward_boundary(probe, x[rows], rivals[rows], norm, held)
            if held:
                x[rows] = (x[rows] + further * move).clamp(0, 1)
            else:
                way[rows] += move
                x[rows] = (images[rows] + further * way[rows]).clamp(0, 1)
            after[rows] = logits = probe.logits(x[rows])
            trajectory.steps[rows] = k + 1
            trajectory.zero_gradients[rows] += dead.long()
            trajectory.nonfinite[rows] |= ~is_finite(logits)
            # A margin of a rounding error would be lost on another machine.
            short = ~(criterion.margin(logits, rows) > _safe_margin(logits))
            rows = rows[short & is_finite(logits) & ~dead]
        return build_result(
            probe,
            images,
            x,
            criterion,
            method="deepfool",
            settings={"steps": steps, "overshoot": overshoot, "classes": classes, "norm": norm},
            logits_before=before,
            logits_after=after,
            trajectory=trajectory,
        )


def _safe_margin(logits: Tensor) -> Tensor:
    return SAFE * (logits.amax(dim=1) - logits.amin(dim=1))


def _rivals(logits: Tensor, criterion: Criterion, classes: int) -> Tensor:
    """The label first, then the likeliest other classes, ``(batch, classes)``."""
    if criterion.targets is not None:
        return _leader_and_target(logits, criterion.targets)
    others = logits.scatter(1, criterion.labels[:, None], -torch.inf)
    best = others.argsort(dim=1, descending=True)[:, : min(classes, logits.shape[1]) - 1]
    return torch.cat([criterion.labels[:, None], best], dim=1)


def _leader_and_target(logits: Tensor, targets: Tensor) -> Tensor:
    """The best class but the target, and the target, ``(batch, 2)``."""
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return torch.stack([others.argmax(dim=1), targets], dim=1)


def _toward_boundary(
    probe: Probe, x: Tensor, rivals: Tensor, norm: str, boxed: bool
) -> tuple[Tensor, Tensor]:
    """The shortest move to a linearized boundary, and rows without any gradient."""
    gradients, logits = probe.class_gradients(x, rivals)
    normals = (gradients[:, 1:] - gradients[:, :1]).flatten(2)
    scores = logits.gather(1, rivals)
    gaps = (scores[:, :1] - scores[:, 1:]).clamp_min(0) + _safe_margin(logits)[:, None]
    order = 2 if norm == "l2" else 1
    sizes = torch.linalg.vector_norm(normals, ord=order, dim=2)
    distances = torch.where(sizes > 0, gaps / sizes.clamp_min(1e-30), torch.inf)
    nearest = distances.argmin(dim=1)
    each = torch.arange(len(x), device=x.device)
    normal, size, gap = normals[each, nearest], sizes[each, nearest], gaps[each, nearest]
    dead = ~(size > 0) | ~normal.isfinite().all(dim=1)
    length = torch.where(dead, 0.0, gap / size.clamp_min(1e-30))[:, None]
    if boxed:
        return onto_plane(x, normal.nan_to_num(0.0).view_as(x), gap, norm), dead
    if norm == "l2":
        move = length * normal / size.clamp_min(1e-30)[:, None]
    else:
        move = length * normal.sign()
    return move.nan_to_num(0.0).view_as(x), dead
