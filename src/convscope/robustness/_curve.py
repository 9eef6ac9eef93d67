"""Accuracy against epsilon, by bisection of each image's own epsilon."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_norm, check_radius
from convscope._random import source
from convscope.attacks import (
    ATTACKS,
    AttackResult,
    block_rows,
    in_blocks,
    is_finite,
    judged_rows,
    success_criterion,
)
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.files import plain_json
from convscope.flags import Flag, count_of
from convscope.progress import stage
from convscope.results import packed_result, unpacked_result
from convscope.robustness._results import RobustnessCurve
from convscope.sharding import Record
from convscope.types import Images, Labels, Norm

DEFAULT_EPSILONS = (0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.3)
"""Ten radii up to the one that published MNIST results use."""


@checked
def curve(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    epsilons: Sequence[float] = DEFAULT_EPSILONS,
    norm: Norm = "linf",
    attack: str = "pgd",
    generator: Generator | None = None,
    **settings: Any,
) -> RobustnessCurve:
    """For each image, the smallest epsilon of a grid at which the attack fools it.

    Images share batches but not radii: each is attacked at the middle of what is still open for
    it, so K epsilons take about log2(K + 1) attacks instead of K. Where an adversarial turns out
    nearer than the radius that was allowed, all larger epsilons are closed at once. The curve
    cannot rise: an image that is fooled at one epsilon is fooled at all larger ones.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        epsilons: Radii in pixel units; sorted, and 0 is added.
        norm: ``"linf"`` or ``"l2"``.
        attack: Name in `ATTACKS`; one that takes `epsilon` per image.
        generator: Source of randomness, if the attack takes one; by default one with seed 0.
        **settings: Further settings of the attack, such as ``steps=40``.

    Returns:
        Accuracies over epsilons and the smallest epsilon of each image.

    Raises:
        UsageError: U03 for an impossible epsilon, U01 for an unknown attack.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = classifier.predict(images, top=1).labels[:, 0]
        >>> result = curve(classifier, images, labels, epsilons=[0.5, 1.0], steps=4)
        >>> result.accuracies[0].item(), len(result.epsilons)
        (1.0, 3)

    Source:
        The curve itself: Carlini et al., "On Evaluating Adversarial Robustness", 2019, section
        4.3. Bisection per image: ours.
    """
    criterion = success_criterion(classifier, images, labels, None)
    run = ATTACKS.chosen("attack", attack)
    grid = _grid(epsilons, check_norm(norm), images)
    count = len(images)
    drawing = "generator" in inspect.signature(run).parameters
    draws = source(generator) if drawing else None
    if drawing:
        settings["generator"] = draws
    with classifier.probe() as probe:
        logits = probe.logits(images)
    cost = probe.cost()
    wrong = criterion.is_adversarial(
        logits, torch.arange(count, device=images.device)
    ) | ~is_finite(logits)
    # Positions in the grid: below `low` nothing fools, at `high` something does (len: unknown).
    low = torch.ones(count, dtype=torch.int64, device=images.device)
    high = torch.where(wrong, 0, len(grid)).to(low)
    distances = torch.where(wrong, 0.0, torch.inf).to(images)
    flags: set[Flag] = set()
    unreadable = ~is_finite(logits)
    zeros = 0
    rounds = max(1, len(grid).bit_length())  # As many as a bisection needs.
    for number in itertools.count():
        open_rows = torch.nonzero(low < high)[:, 0]
        if len(open_rows) == 0:
            break

        def at_middle(rows: Tensor) -> AttackResult:
            return run(
                classifier,
                images[rows],
                criterion.labels[rows],
                epsilon=grid.to(images.device)[(low[rows] + high[rows]) // 2],
                norm=norm,
                **settings,
            )

        size = block_rows(images.shape[1:])
        with stage(min(number / rounds, 1.0), min((number + 1) / rounds, 1.0)):
            for rows, result in in_blocks(open_rows, at_middle, size=size, generator=draws):
                middle = (low[rows] + high[rows]) // 2
                cost += result.cost
                flags |= {flag for flag in result.flags if flag.of == 0}
                unreadable[rows] |= result.unreadable
                zeros += count_of(result.flags, "zero-gradient")
                success, moved = result.success, result.distance(norm)
                # Rounding must not send a point at the border of one ball to the next larger one.
                place = torch.searchsorted(grid.to(images.device), moved.double() * (1 - 1e-6))
                nearer = torch.where(success, torch.minimum(middle, place), middle)
                broken = success | result.unreadable
                high[rows] = torch.where(broken, nearer, high[rows])
                low[rows] = torch.where(broken, low[rows], middle + 1)
                nearest = torch.minimum(distances[rows], moved)
                distances[rows] = torch.where(success, nearest, distances[rows])
    flags |= _nonfinite_flags(zeros, int(unreadable.sum()), count)
    last = torch.cat([grid, grid.new_tensor([torch.inf])]).to(images.device)
    smallest = last[high].to(images.dtype)
    return RobustnessCurve(
        attack=attack,
        norm=norm,
        epsilons=grid,
        accuracies=_accuracies(grid, smallest),
        smallest=smallest,
        distances=distances,
        labels=criterion.labels,
        cost=cost,
        settings={name: value for name, value in settings.items() if name != "generator"},
        flags=tuple(sorted(flags, key=str)),
        class_names=classifier.class_names,
    )


@dataclass(frozen=True, kw_only=True)
class CurveJudging:
    """The judging of `curve`, block by block: a `convscope.sharding.Judging`.

    Each image has an epsilon of its own, so blocks need not know of each other.

    Args:
        classifier: The network.
        pixels: ``pixels(rows)``: images of some rows.
        labels: Of all rows.
        epsilons: Radii in pixel units.
        attack: Name in `ATTACKS`.
        arguments: Further settings of the attack.
        seed: Of its draws, if it draws.
        norm: ``"linf"`` or ``"l2"``.
    """

    classifier: Classifier
    pixels: Callable[[slice], Tensor]
    labels: Tensor
    epsilons: Sequence[float]
    attack: str = "pgd"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    norm: Norm = "linf"
    kind: str = "curve"

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @cached_property
    def size(self) -> int:
        """Images of a block."""
        return judged_rows(self.classifier)

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        return {
            "epsilons": [float(epsilon) for epsilon in self.epsilons],
            "attack": self.attack,
            "arguments": plain_json(dict(self.arguments)),
            "seed": self.seed,
            "norm": self.norm,
            "classes": list(self.classifier.class_names),
        }

    def head(self) -> Record:
        """Nothing."""
        return Record()

    def judge(self, rows: slice, head: Record) -> Record:
        """The curve of some images."""
        found = curve(
            self.classifier,
            self.pixels(rows),
            self.labels[rows],
            epsilons=list(self.epsilons),
            norm=self.norm,
            attack=self.attack,
            generator=torch.Generator().manual_seed(self.seed),
            **self.arguments,
        )
        tree, arrays = packed_result(found)
        return Record({"result": tree}, arrays)

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Nothing: results hold the labels."""
        return {}


def curve_of(records: Sequence[Record]) -> RobustnessCurve:
    """The curve of all blocks together.

    Args:
        records: Of a `CurveJudging`, in order.
    """
    parts = [unpacked_result(RobustnessCurve, r.numbers["result"], r.arrays) for r in records]
    first, count = parts[0], sum(len(part.labels) for part in parts)
    smallest = torch.cat([part.smallest for part in parts])
    every = [flag for part in parts for flag in part.flags]
    flags = {flag for flag in every if flag.of == 0}
    flags |= _nonfinite_flags(count_of(every, "zero-gradient"), count_of(every, "nonfinite"), count)
    return replace(
        first,
        accuracies=_accuracies(first.epsilons, smallest),
        smallest=smallest,
        distances=torch.cat([part.distances for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        cost=reduce(add, (part.cost for part in parts)),
        flags=tuple(sorted(flags, key=str)),
    )


def _accuracies(grid: Tensor, smallest: Tensor) -> Tensor:
    """Share of images that withstand each radius."""
    if not len(smallest):
        return torch.full_like(grid, torch.nan)
    robust = smallest[None, :].double() > grid.to(smallest.device).float().double()[:, None]
    return robust.double().mean(dim=1).cpu()


def _nonfinite_flags(zeros: int, lost: int, count: int) -> set[Flag]:
    """Flags: rows without a gradient, over all epsilons, and images without finite logits."""
    flags = set()
    if zeros:
        words = f"zero gradient in {zeros} rows of {count} images over all epsilons"
        flags.add(Flag("zero-gradient", "warning", zeros, count, words))
    if lost:
        words = f"NaN or infinite logits for {lost} of {count} images: not robust from there on"
        flags.add(Flag("nonfinite", "warning", lost, count, words))
    return flags


def _grid(epsilons: Sequence[float], norm: Norm, images: Tensor) -> Tensor:
    if len(epsilons) == 0:
        raise UsageError("no epsilons given", code="U03", expected="for example 0.1, 0.2, 0.3")
    for epsilon in epsilons:
        check_radius(float(epsilon), norm, images)
    return torch.tensor(sorted({0.0, *map(float, epsilons)}), dtype=torch.float64)
