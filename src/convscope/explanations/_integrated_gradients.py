"""Integrated gradients: along the straight line from an uninformative image."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations._result import Explanation, Targets, known_targets, picked, targets_of
from convscope.explanations._streamed import (
    Fill,
    blank,
    check_fill,
    index_chunks,
    part_of,
    streamed,
)
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.types import Images


@checked
def integrated_gradients(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    baseline: Fill = "mean",
    steps: int = 16,
    tolerance: float | None = 0.02,
    most_steps: int = 128,
) -> Explanation:
    """Divide the change of a logit between two images among the pixels.

    The maps should add up to ``logit(image) - logit(baseline)``. Where they miss it by more than
    `tolerance`, the integral is computed again with twice the steps, for those only.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        baseline: Where the line starts: each image's ``"mean"`` color (a black image is nearly
            useless: insertion minus deletion 0.03 against 0.24 on CIFAR-10), ``"blur"``, a gray
            level, or images.
        steps: Points of the Gauss-Legendre quadrature to begin with.
        tolerance: Largest accepted relative error of the sum; ``None``: whatever it is.
        most_steps: Where doubling ends.

    Returns:
        Signed maps ``(batch, target, height, width)`` in logits. ``evidence`` holds
        ``"completeness"``, the error of each sum ``(batch, target)`` as a share of the largest
        change of any of the image's logits, and ``"steps"`` ``(batch, target)``.

    Raises:
        UsageError: If `steps` is below 1.
        ModelContractError: M10 if the network is not differentiable.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> shares = integrated_gradients(classifier, images, "all", baseline=0.0)
        >>> torch.allclose(shares.maps.sum(dim=(2, 3)), net(images), atol=1e-5)
        True

    Source:
        Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", 2017.
    """
    if steps < 1:
        raise UsageError(f"steps is {steps}", code="U05", expected="at least 1")
    known = known_targets(classifier, images, targets)
    check_fill(baseline, images, "baseline")

    def explain(some: Images, targets: Tensor | None, rows: slice) -> Explanation:
        start = part_of(baseline, rows, len(images))
        return _explain(classifier, some, targets, start, steps, tolerance, most_steps)

    return streamed(images, known, explain)


def _explain(
    classifier: Classifier,
    images: Images,
    known: Tensor | None,
    baseline: Fill,
    steps: int,
    tolerance: float | None,
    most_steps: int,
) -> Explanation:
    """One block of images."""
    start, words = blank(baseline, images, "baseline")
    origin = start.expand_as(images)
    with classifier.probe() as probe:
        logits = probe.logits(images)
        classes = targets_of(known, logits)
        changes = logits - probe.logits(origin)
        size = changes.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
        change = picked(changes, classes)
        last = most_steps if tolerance is not None else 0
        done, rest = 0, len(images) * _points_at_most(steps, last)
        with stage(0.0, len(images) * steps / max(rest, 1)):
            maps = _integral(probe, images, origin, classes, steps)
        done += len(images) * steps
        error = (maps.sum(dim=(2, 3)) - change).abs() / size
        used, points = torch.full_like(classes, steps), 2 * steps
        while tolerance is not None and points <= most_steps:
            poor = error > tolerance
            rows = poor.any(dim=1).nonzero()[:, 0]
            if len(rows) == 0:
                break
            rest = len(rows) * _points_at_most(points, last)
            with stage(done / (done + rest), (done + len(rows) * points) / (done + rest)):
                again = _integral(probe, images[rows], origin[rows], classes[rows], points)
            done += len(rows) * points
            # Only what was poor is replaced, so that a map does not depend on the other targets.
            redo = poor[rows]
            maps[rows] = torch.where(redo[..., None, None], again, maps[rows])
            used[rows] = torch.where(redo, points, used[rows])
            error = (maps.sum(dim=(2, 3)) - change).abs() / size
            points *= 2
    announce(1.0)
    return Explanation(
        images=images,
        maps=maps,
        targets=classes,
        method="integrated-gradients",
        signed=True,
        class_names=classifier.class_names,
        logits=logits,
        settings={"baseline": words, "steps": steps},
        evidence={"completeness": error, "steps": used},
        cost=probe.cost(),
    )


def _points_at_most(points: int, last: int) -> int:
    """Points of the quadratures with `points`, twice as many, and so on up to `last`."""
    return points + (_points_at_most(2 * points, last) if 2 * points <= last else 0)


def _integral(probe: Probe, images: Images, origin: Images, targets: Tensor, steps: int) -> Tensor:
    """Gauss-Legendre: exact for polynomials of degree ``2 steps - 1`` along the line."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    where = torch.from_numpy((nodes + 1) / 2).to(images)
    share = torch.from_numpy(weights / 2).to(images)
    offset = images - origin
    total = images.new_zeros(*targets.shape, *images.shape[2:])
    for numbers in index_chunks(probe, len(images) * steps):
        rows = (numbers // steps).to(images.device)
        step = (numbers % steps).to(images.device)
        moved = offset[rows]
        points = origin[rows] + where[step, None, None, None] * moved
        moved *= share[step, None, None, None]
        along = partial(_along, moved)
        parts, _ = probe.class_gradients(points, targets[rows], reduce=along)
        total.index_add_(0, rows, parts)
    return total


def _along(way: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    return (gradient * way).sum(dim=1)
