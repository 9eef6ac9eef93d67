"""Worst-case robust accuracy over an attack suite, with sanity checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_norm, check_radius
from convscope._random import seed_of, stream
from convscope._registry import Effort
from convscope.attacks import AttackResult, Criterion, apgd, is_finite, judged_rows
from convscope.classifier import Classifier
from convscope.data import sample_rows
from convscope.probe import Cost
from convscope.progress import stage
from convscope.results import packed_images, unpacked_images
from convscope.robustness import _checks
from convscope.robustness._results import Check, RobustnessEvaluation
from convscope.robustness._suite import Planned, plan
from convscope.robustness._tally import NOTHING, Tally, cost_of
from convscope.sharding import Record, blocks_of, joined, judged_here, share_of
from convscope.stats import wilson
from convscope.types import Images, Labels, Norm


@checked
def evaluate(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    epsilon: float,
    norm: Norm = "linf",
    effort: Effort = "standard",
    generator: Generator | None = None,
) -> RobustnessEvaluation:
    """Share of images that withstand everything that is tried within epsilon.

    Each image counts as robust only if no attack broke it. The first three attacks run on all
    images that are classified correctly, so that they can be compared; later ones on images not
    yet broken. Images are judged in blocks, each without a look at the others; all see the same
    draws. Stages are announced to `convscope.progress.watch`.

    Args:
        classifier: The network. A defense in front of it is attacked with it.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` or ``"l2"``.
        effort: ``"quick"`` (up to APGD-CE with 30 steps), ``"standard"`` (100 steps, targeted,
            Square) or ``"full"`` (all wrong classes, FAB, 5,000 queries).
        generator: Draws the seed of everything random; by default one with seed 0.

    Returns:
        Accuracies, the suite, and checks; `flags` are those that warn.

    Raises:
        UsageError: U03 for an impossible epsilon, U01 for an unknown effort.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = classifier.predict(images, top=1).labels[:, 0]
        >>> result = evaluate(classifier, images, labels, epsilon=0.0, effort="quick")
        >>> result.robust_accuracy == result.clean_accuracy == 1.0
        True

    Source:
        Carlini et al., "On Evaluating Adversarial Robustness", 2019; Croce and Hein, ICML 2020
        (worst case per image); Pintor et al., "Indicators of Attack Failure", NeurIPS 2022.
    """
    judging = RobustnessJudging(
        classifier,
        lambda rows: images[rows],
        labels,
        epsilon=float(epsilon),
        norm=norm,
        effort=effort,
        seed=seed_of(generator),
    )
    head, records = judged_here(judging)
    return robustness_of(judging.settings, head, records, images, labels)


@dataclass(frozen=True)
class RobustnessJudging:
    """The judging of `evaluate`, block by block: a `convscope.sharding.Judging`.

    Args:
        classifier: The network.
        pixels: ``pixels(rows)``: images of some rows, a slice or a tensor of positions.
        labels: Of all rows.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` or ``"l2"``.
        effort: How hard attacks try.
        seed: Of every draw.
        of: How many images these are a sample of, for a rehearsal: checks look at their share.
    """

    classifier: Classifier
    pixels: Callable[[slice | Tensor], Tensor]
    labels: Tensor
    epsilon: float
    norm: Norm
    effort: Effort
    seed: int
    of: int | None = None
    kind: str = "attack evaluate"

    def __post_init__(self) -> None:
        first = self.pixels(slice(0, 1))
        self.classifier.check_images(first)
        self.classifier.check_labels(self.labels, len(self.labels))
        check_radius(self.epsilon, check_norm(self.norm), first)
        plan(self.effort)

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @cached_property
    def size(self) -> int:
        """Images of a block: by their shape and the kind of device alone."""
        return judged_rows(self.classifier)

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        return {
            "epsilon": self.epsilon,
            "norm": self.norm,
            "effort": self.effort,
            "seed": self.seed,
            "classes": list(self.classifier.class_names),
        }

    def head(self) -> Record:
        """Outputs and gradients of some images that are classified correctly, before any attack.

        They are the right ones of a sample of all; only if there is none, the others are looked at.
        """
        everyone = torch.arange(self.rows)
        order = sample_rows(self.labels, max(self.rows, 1)) if self.rows else everyone
        looked = NOTHING
        for block in blocks_of(self.rows, _checks.SAMPLE):
            rows = order[block]
            x, labels = self.pixels(rows), self.labels[rows.to(self.labels.device)]
            labels = labels.to(x.device)
            with self.classifier.probe() as probe:
                right = _right(probe.logits(x), labels)
            looked += probe.cost()
            if bool(right.any()):
                break
        seen = _checks.gradient_diagnostics(self.classifier, x[right], labels[right])
        looked += Cost(forwards=seen.forwards, backwards=seen.backwards, seconds=0.0)
        return Record(
            {
                "checks": [asdict(check) for check in seen.checks],
                "differentiable": seen.differentiable,
                "deterministic": seen.deterministic,
                "masked": seen.masked,
                "cost": [looked.forwards, looked.backwards, looked.seconds],
            }
        )

    def judge(self, rows: slice, head: Record) -> Record:
        """The suite and the checks on some images."""
        seen = head.numbers
        images = self.pixels(rows)
        labels = self.labels[rows].to(images.device)
        with self.classifier.probe() as probe:
            logits = probe.logits(images)
        tally = Tally(images, _right(logits, labels), ~is_finite(logits))
        tally.cost += probe.cost()
        suite = plan(
            self.effort,
            differentiable=seen["differentiable"],
            deterministic=seen["deterministic"],
        )
        # The checks come last and are short.
        whole, done = 1.1 * sum(planned.work for planned in suite), 0.0
        for planned in suite:
            with stage(done / whole, (done + planned.work) / whole, planned.name):
                self._run(planned, tally, images, labels)
            done += planned.work
        if seen["masked"] or not seen["deterministic"]:
            return tally.record(images)
        with stage(done / whole, 1.0, "checks"):
            return self._compared(rows, tally, images, labels)

    def _run(self, planned: Planned, tally: Tally, images: Tensor, labels: Tensor) -> None:
        """One stage of the suite."""
        rows = torch.nonzero(tally.right if planned.on_all else tally.robust)[:, 0]
        result = None
        if len(rows):
            result = planned.attack(
                self.classifier, images[rows], labels[rows], epsilon=self.epsilon, norm=self.norm,
                **planned.drawing(self.seed),
            )  # fmt: skip
        tally.note(planned, rows, result)

    def _compared(self, block: slice, tally: Tally, images: Tensor, labels: Tensor) -> Record:
        """The checks that run further attacks: on the block's share of their samples."""

        def share(mask: Tensor, most: int = _checks.SAMPLE) -> Tensor:
            return _checks.sampled(mask, labels, share_of(most, block, self.of or self.rows))

        def draws(name: str) -> dict[str, Any]:
            radius = check_radius(self.epsilon, self.norm, images).to(images.device)
            generator = stream(self.seed, name)
            return {"radius": radius, "norm": self.norm, "generator": generator}

        standing = tally.robust.clone()
        rows = share(standing)
        longer = self._longer(images[rows], labels[rows]) if len(rows) else None
        broken = 0
        if longer is not None:
            tally.pay(longer)
            broken = int((longer.success | longer.unreadable).sum())
            tally.add_to_last(rows, longer)
        fallen, noise_cost = _checks.fallen_to_noise(
            self.classifier, images[standing], labels[standing], **draws("noise")
        )
        free = share(tally.right, _checks.UNBOUNDED)
        limitless = None
        if len(free):
            limitless = _checks.without_limit(self.classifier, images[free], labels[free])
            tally.cost += limitless.cost
        some = share(torch.ones_like(standing))
        cosines, bend_cost = _checks.alignment(
            self.classifier, images[some], labels[some], **draws("neighbors")
        )
        tally.cost += noise_cost + bend_cost
        found = tally.record(
            images,
            longer=[broken, len(rows)],
            noise=int(fallen.sum()),
            unbounded=[0 if limitless is None else int((~limitless.success).sum()), len(free)],
        )
        return Record(found.numbers, {**found.arrays, "cosines": cosines.cpu().numpy()})

    def _longer(self, images: Tensor, labels: Tensor) -> AttackResult:
        """Twice the steps from another start."""
        return apgd(
            self.classifier,
            images,
            labels,
            epsilon=self.epsilon,
            norm=self.norm,
            steps=200 if self.effort != "quick" else 60,
            random_start=True,
            generator=stream(self.seed, "not-converged"),
        )

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """The images and labels of a block."""
        return {
            "images": packed_images(self.pixels(rows)),
            "labels": self.labels[rows].cpu().numpy(),
        }


def robustness_of(
    settings: Mapping[str, Any],
    head: Record,
    records: Sequence[Record],
    images: Tensor | None = None,
    labels: Tensor | None = None,
) -> RobustnessEvaluation:
    """The evaluation of all blocks together.

    Args:
        settings: Of the `RobustnessJudging`.
        head: Of it.
        records: Of all blocks, in order.
        images: All images; by default those that the records hold.
        labels: Their classes; likewise.
    """
    if images is None:
        images = torch.cat([unpacked_images(record.arrays["images"]) for record in records])
    if labels is None:
        labels = torch.from_numpy(np.concatenate([r.arrays["labels"] for r in records]))
    seen = head.numbers
    tally = Tally.together(records, images)
    tally.cost += cost_of(seen["cost"])
    checks = [Check(**check) for check in seen["checks"]]
    if seen["masked"] or not seen["deterministic"]:
        why = "says nothing while the network hides its gradients"
        checks += [_checks.skipped(name, why) for name in COMPARED]
    else:
        checks += _comparisons(tally, records, settings)
    checks += [tally.within_budget(), tally.all_finite()]
    count, robust = len(images), int(tally.robust.sum())
    low, high = wilson(robust, count)
    return RobustnessEvaluation(
        norm=settings["norm"],
        epsilon=float(settings["epsilon"]),
        effort=settings["effort"],
        clean_accuracy=float(tally.right.double().mean()) if count else float("nan"),
        robust_accuracy=robust / count if count else float("nan"),
        low=low,
        high=high,
        suite=tuple(tally.stages),
        checks=tuple(checks),
        labels=labels.to(images.device),
        broken_by=tally.broken_by,
        originals=images,
        adversarials=tally.adversarials,
        cost=tally.cost,
        class_names=tuple(settings["classes"]),
        nonfinite=int(tally.nonfinite.sum()),
    )


COMPARED = ("weaker-wins", "not-converged", "noise-beats-gradients", "black-box-stronger",
            "unbounded-attack-fails", "catastrophic-overfitting")  # fmt: skip
"""Checks that compare attacks; they say nothing where gradients are hidden."""


def _comparisons(
    tally: Tally, records: Sequence[Record], settings: Mapping[str, Any]
) -> list[Check]:
    """The checks that ran further attacks."""
    numbers = [record.numbers for record in records]
    broken, tried = (sum(one["longer"][place] for one in numbers) for place in (0, 1))
    left, free = (sum(one["unbounded"][place] for one in numbers) for place in (0, 1))
    cosines = torch.from_numpy(joined(records, "cosines"))
    # Our choice, without a source: 30 steps (quick) are known not to be enough, 100 ought to be.
    limit = 0.01 if settings["effort"] != "quick" else 0.1
    return [
        tally.weaker_wins(),
        _checks.not_converged(broken, tried, limit=limit),
        _checks.random_noise(sum(one["noise"] for one in numbers), len(tally.right)),
        tally.black_box(),
        _checks.unbounded(left, free, len(settings["classes"])),
        _checks.overfitting(
            cosines,
            single_step=tally.stages[0].accuracy,
            worst=float(tally.robust.double().mean()),
        ),
    ]


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Rows that no attack is needed for: predicted as their label, or a tie."""
    everyone = torch.arange(len(logits), device=logits.device)
    return ~Criterion(labels=labels).is_adversarial(logits, everyone) & is_finite(logits)
