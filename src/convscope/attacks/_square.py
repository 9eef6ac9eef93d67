"""Square attack: a score-based black-box attack; detects gradient masking."""

from __future__ import annotations

import math
from dataclasses import replace
from types import EllipsisType

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count
from convscope._random import source
from convscope.ascent import Region
from convscope.attacks._base import Task, Trajectory, build_result
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._criteria import Criterion, is_finite
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import Probe
from convscope.progress import at_step
from convscope.types import Images, Labels, Norm

Window = tuple[EllipsisType, slice, slice]
"""The last two axes of a square."""

TILES = 5
"""Bumps per side that the L2 attack starts with (algorithm 3 of the paper)."""


class LinfMoves:
    """Stripes, then squares, of plus or minus the radius.

    Source:
        Andriushchenko et al., ECCV 2020, algorithm 2.
    """

    def __init__(self, radii: Tensor) -> None:
        self.radii = radii

    def start(self, center: Tensor, rows: Tensor, generator: Generator | None) -> Tensor:
        """Vertical stripes, one pixel wide."""
        signs = _signs((1, center.shape[1], 1, center.shape[3]), generator).to(center)
        return center + self._radius(rows) * signs

    def change(
        self, x: Tensor, center: Tensor, rows: Tensor, area: float, generator: Generator | None
    ) -> Tensor:
        """One square, one sign per channel."""
        height, width = x.shape[2:]
        side = max(1, min(round(math.sqrt(area * height * width)), height, width))
        window = _window(side, height, width, generator)
        signs = _signs((1, x.shape[1], 1, 1), generator).to(x)
        out = x.clone()
        out[window] = center[window] + self._radius(rows) * signs
        return out

    def _radius(self, rows: Tensor) -> Tensor:
        return _column(self.radii, rows)


class L2Moves:
    """Bumps that take over the length of others: the perturbation keeps its norm.

    Source:
        Andriushchenko et al., ECCV 2020, section 4.3 and algorithm 3.
    """

    def __init__(self, radii: Tensor) -> None:
        self.radii = radii

    def start(self, center: Tensor, rows: Tensor, generator: Generator | None) -> Tensor:
        """A grid of five by five bumps, one sign each per channel, as long as the radius."""
        channels, height, width = center.shape[1:]
        tall, wide = max(1, height // TILES), max(1, width // TILES)
        down, across = min(TILES, height // tall), min(TILES, width // wide)
        signs = _signs((channels, down, across), generator)
        grid = torch.kron(signs, bump(tall, wide)[None])
        offset = torch.zeros(1, channels, height, width)
        top, left = (height - down * tall) // 2, (width - across * wide) // 2
        offset[0, :, top : top + down * tall, left : left + across * wide] = grid
        offset = (offset / torch.linalg.vector_norm(offset)).to(center)
        return center + _column(self.radii, rows) * offset

    def change(
        self, x: Tensor, center: Tensor, rows: Tensor, area: float, generator: Generator | None
    ) -> Tensor:
        """Empty one square; another gets a pair of bumps and all the length that is then free."""
        channels, height, width = x.shape[1:]
        side = _odd(math.sqrt(area * height * width), min(height, width))
        here = _window(side, height, width, generator)
        there = _window(side, height, width, generator)
        signs = _signs((1, channels, 1, 1), generator).to(x)
        pair = two_bumps(side)
        if float(_signs((1,), generator)) > 0:
            pair = pair.T
        pair = (pair / torch.linalg.vector_norm(pair)).to(x)
        offset = x - center
        both = torch.zeros((height, width), dtype=torch.bool, device=x.device)
        both[here] = both[there] = True
        square = offset.square()
        radius = _column(self.radii, rows)
        unused = (radius.square() - square.sum(dim=(1, 2, 3), keepdim=True)).clamp_min(0)
        free = ((square * both).sum(dim=(2, 3), keepdim=True) + unused / channels).sqrt()
        old = offset[here]
        new = signs * pair + old / _length(old)
        offset[there] = 0
        offset[here] = new / _length(new) * free
        return center + offset


def bump(height: int, width: int) -> Tensor:
    """A pyramid that rises ever faster to its middle, ``(height, width)``.

    Example:
        >>> bump(3, 3)[0, 0] == 0.25, bump(3, 3)[1, 1] == 1.25
        (tensor(True), tensor(True))
    """
    half = max(height, width) // 2
    down = (torch.arange(height) - height // 2).abs()[:, None]
    across = (torch.arange(width) - width // 2).abs()[None, :]
    steps = half - torch.maximum(down, across)
    levels = (1 / (half + 1 - torch.arange(half + 1)).double().square()).cumsum(0)
    return levels[steps].float()


def two_bumps(side: int) -> Tensor:
    """Two bumps of opposite signs that together fill a square."""
    left = side // 2
    return torch.cat([bump(side, left), -bump(side, side - left)], dim=1)


def _window(side: int, height: int, width: int, generator: Generator | None) -> Window:
    top, left = _whole(height - side, generator), _whole(width - side, generator)
    return (..., slice(top, top + side), slice(left, left + side))


def _odd(side: float, most: int) -> int:
    """The nearest odd number that fits."""
    odd = 2 * round((side - 1) / 2) + 1
    return max(1, min(odd, most if most % 2 else most - 1))


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True).clamp_min(1e-12)


def _column(radii: Tensor, rows: Tensor) -> Tensor:
    radius = radii.expand(len(rows)) if radii.ndim == 0 else radii[rows]
    return radius.view(-1, 1, 1, 1)


def _signs(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def _whole(most: int, generator: Generator | None) -> int:
    return int(torch.randint(0, most + 1, (), generator=generator))


HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which the area of the square halves."""

SHARES = {"linf": 0.8, "l2": 0.1}
"""Area of the first squares."""


@checked
@streamed
def square(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    queries: int = 1000,
    share: float | None = None,
    restarts: int = 1,
    generator: Generator | None = None,
) -> AttackResult:
    """Score-based black-box attack by random search; detects gradient masking.

    L-infinity: starts with vertical stripes of plus or minus epsilon; each query sets a random
    square to plus or minus epsilon per channel. L2: starts with a grid of bumps; each query moves
    the perturbation of one random square into another, as two bumps of opposite signs. A query is
    kept if the margin improves. All images see the same draws, so that none depends on its
    neighbors. A row leaves when it is adversarial, also as 8 bits.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units, one or one per image.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        queries: Moves that are tried per image, at most.
        share: Area of the first squares, as a share of the image; by default what the paper
            takes: 0.8 for ``"linf"``, 0.1 for ``"l2"``.
        restarts: Searches, each only for rows not yet adversarial, with other draws.
        generator: Source of randomness; by default one with seed 0.

    Returns:
        Images before and after; `steps` counts queries.

    Raises:
        UsageError: U03, U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> square(classifier, images, labels, epsilon=0.1, queries=5).cost.backwards
        0

    Source:
        Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via
        random search", ECCV 2020, algorithms 1, 2 (L-infinity) and 3 (L2).
    """
    task = Task.of(classifier, images, labels, targets, epsilon, norm)
    check_count("queries", queries)
    area = SHARES[norm] if share is None else share
    if not 0 < area <= 1:
        raise UsageError(f"share must be in (0, 1], got {area}", code="U06")
    check_count("restarts", restarts)
    generator = source(generator)

    def search(rows: Tensor) -> AttackResult:
        return _search(classifier, task.part(rows), queries=queries, area=area, generator=generator)

    result = in_turns(images, [search] * restarts)
    return replace(result, originals=images)


def _search(
    classifier: Classifier, task: Task, *, queries: int, area: float, generator: Generator
) -> AttackResult:
    """One random search for all rows."""
    images, criterion, region = task.images, task.criterion, task.budget.region
    radii = task.radii.to(images)
    moves: LinfMoves | L2Moves = LinfMoves(radii) if task.norm == "linf" else L2Moves(radii)
    everyone = torch.arange(len(images), device=images.device)
    trajectory = Trajectory.start(images)
    with classifier.probe() as probe:
        before = probe.logits(images)
        best, after, x = criterion.margin(before, everyone), before.clone(), images.clone()
        rows = everyone[~criterion.is_adversarial(before, everyone)]
        for query in range(queries):
            if len(rows) == 0:
                break
            at_step(query, queries)
            if query == 0:
                trial = moves.start(images[rows], rows, generator)
            else:
                now = area_at(query, queries, area)
                trial = moves.change(x[rows], images[rows], rows, now, generator)
            trial = region.project(trial, rows)
            logits = probe.logits(trial)
            trajectory.nonfinite[rows] |= ~is_finite(logits)
            trajectory.steps[rows] = query + 1
            margin = criterion.margin(logits, rows)
            better = (margin > best[rows]) | (query == 0) & margin.isfinite()
            chosen = rows[better]
            x[chosen], best[chosen], after[chosen] = trial[better], margin[better], logits[better]
            hit = better & criterion.is_adversarial(after[rows], rows)
            rows = rows[~_done(probe, criterion, region, x, rows, hit)]
        return build_result(
            probe,
            images,
            x,
            criterion,
            method="square",
            settings={"queries": queries, "share": area},
            budget=task.budget,
            logits_before=before,
            logits_after=after,
            trajectory=trajectory,
            gradients=False,
        )


def area_at(query: int, queries: int, share: float) -> float:
    """Area of the square, as a share of the image: it halves on the schedule of the paper."""
    passed = 10_000 * query / queries
    return float(share / 2 ** sum(passed > limit for limit in HALVINGS))


def _done(
    probe: Probe, criterion: Criterion, region: Region, x: Tensor, rows: Tensor, hit: Tensor
) -> Tensor:
    """Rows that are adversarial, also after rounding to 8 bits if the region holds such bytes."""
    if not bool(hit.any()):
        return hit
    pixels = region.nearest_bytes(x).to(x.dtype) / 255
    here = rows[hit]
    kept = (
        criterion.is_adversarial(probe.logits(pixels[here]), here) | ~region.contains(pixels)[here]
    )
    done = hit.clone()
    done[hit] = kept
    return done
