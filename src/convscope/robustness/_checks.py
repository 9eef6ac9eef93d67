"""Sanity checks of a robustness evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from convscope.attacks import AttackResult, Criterion, is_finite, pgd, random_start
from convscope.classifier import Classifier
from convscope.data import sample_rows
from convscope.errors import ModelContractError
from convscope.probe import Cost
from convscope.robustness._results import Check
from convscope.types import Norm

SAMPLE = 200
"""Images that the expensive checks look at."""

UNBOUNDED = 100
"""Images of the attack without a limit."""


def sampled(mask: Tensor, labels: Tensor, most: int = SAMPLE) -> Tensor:
    """At most so many of the rows where `mask` is true, every class in proportion."""
    rows = torch.nonzero(mask)[:, 0]
    if most < 1:
        return rows[:0]
    return rows[sample_rows(labels[rows], most).to(rows.device)]


def ok(name: str, number: float | None, sentence: str) -> Check:
    """A check that found nothing."""
    return Check(name=name, verdict="ok", number=number, sentence=sentence)


def warn(name: str, number: float | None, sentence: str) -> Check:
    """A check that found something."""
    return Check(name=name, verdict="warn", number=number, sentence=sentence)


def skipped(name: str, why: str) -> Check:
    """A check that would say nothing."""
    return Check(name=name, verdict="n.a.", number=None, sentence=why)


RANDOM = 1e-4
"""Relative difference of logits of two passes that is no rounding: float32 sums of some thousand
products agree to about 1e-6, whatever their order."""

HIDDEN = 0.05
"""Share of images without a gradient from which on gradients count as hidden. Our choice: a few
saturated images are no defense."""

CRUMPLED = 0.3
"""Cosine of gradients nearby. Measured: 0.24 after 3,000 steps of training on single steps (digits,
epsilon 0.3), 0.47 and more on honest networks whose single-step accuracy stands out as much."""


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Outputs and gradients of the network before any attack is run.

    Attributes:
        checks: The findings.
        differentiable: Gradients exist.
        deterministic: Two forward passes agree.
        masked: Gradients are missing or zero, so that gradient attacks say little.
        forwards: Passes that it took.
        backwards: Gradients that it took.
    """

    checks: tuple[Check, ...]
    differentiable: bool
    deterministic: bool
    masked: bool
    forwards: int
    backwards: int


def gradient_diagnostics(classifier: Classifier, x: Tensor, labels: Tensor) -> Diagnostics:
    """Outputs and gradients of images that are classified correctly."""
    if len(x) == 0:
        nothing = skipped(
            "anatomy", "no image is classified correctly, so there is nothing to attack"
        )
        return Diagnostics(
            checks=(nothing,), differentiable=True, deterministic=True, masked=True,
            forwards=0, backwards=0,
        )  # fmt: skip
    sample_criterion = Criterion(labels=labels)
    with classifier.probe() as probe:
        runs = [probe.logits(x) for _ in range(3)]
        try:
            entropy = probe.gradient(
                x, lambda a, z, i: sample_criterion.cross_entropy(z, i)
            ).gradients
            margin = probe.gradient(x, lambda a, z, i: sample_criterion.margin(z, i)).gradients
            differentiable = True
        except ModelContractError as error:
            if error.code not in ("M10", "M26"):
                raise
            differentiable = False
    spread = _spread(runs)
    softmax = _logits_check(classifier, runs[0])
    checks = [softmax, _randomized_check(spread)]
    masked = True
    if differentiable:
        dead, flat = _zero_share(margin), _zero_share(entropy)
        masked = dead > HIDDEN
        checks.append(ok("not-differentiable", None, "gradients reach the pixels"))
        checks.append(_zero_gradient_check(dead))
        checks.append(_saturation_check(flat, dead, softmax.verdict == "warn"))
    else:
        checks.append(
            warn(
                "not-differentiable",
                None,
                "no gradient reaches the pixels: only gradient-free attacks are run, which are "
                "weak; attack an approximation of the layer that cuts it",
            )
        )
    return Diagnostics(
        checks=tuple(checks),
        differentiable=differentiable,
        deterministic=spread <= RANDOM,
        masked=masked,
        forwards=probe.forwards,
        backwards=probe.backwards,
    )


def alignment(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    radius: Tensor,
    norm: Norm,
    generator: Generator,
) -> tuple[Tensor, Cost]:
    """Cosine of the gradients at each image and at a random neighbor, ``(batch,)``."""
    criterion = Criterion(labels=labels)
    with classifier.probe() as probe:
        start = random_start(images, radius, norm, generator)
        here, there = (
            probe.gradient(x, lambda a, z, i: criterion.cross_entropy(z, i)).gradients
            for x in (images, start)
        )
    cosine = torch.cosine_similarity(here.flatten(1), there.flatten(1), dim=1)
    return cosine.nan_to_num(0.0), probe.cost()


def overfitting(cosines: Tensor, *, single_step: float, worst: float) -> Check:
    """Catastrophic overfitting: the network withstands single steps only, and is bent there.

    A network that was trained on single steps may bend so sharply near the images that single
    steps miss, while many small ones do not. Two signs together: one step leaves far more images
    robust than many do, and gradients at the image and at a random neighbor point elsewhere.

    Args:
        cosines: Of gradients nearby, see `alignment`.
        single_step: Accuracy under one step.
        worst: Robust accuracy.

    Source:
        Wong, Rice, Kolter, "Fast is better than free", ICLR 2020 (the failure); gradient alignment:
        Andriushchenko and Flammarion, NeurIPS 2020. The thresholds 0.5 and 0.25 are ours.
    """
    agreement = float(cosines.median()) if len(cosines) else 1.0
    gap = single_step - worst
    if single_step > 0.5 and gap > 0.25 and agreement < CRUMPLED:
        return warn(
            "catastrophic-overfitting",
            agreement,
            f"one step leaves {single_step:.0%} standing, many steps {worst:.0%}, and gradients "
            f"nearby point elsewhere (cosine {agreement:.2f}): it was trained on single steps",
        )
    return ok(
        "catastrophic-overfitting", agreement, f"gradients nearby agree, cosine {agreement:.2f}"
    )


def without_limit(classifier: Classifier, images: Tensor, labels: Tensor) -> AttackResult:
    """The attack that every image must fall to."""
    return pgd(classifier, images, labels, epsilon=1.0, steps=40, objective="margin")


def unbounded(left: int, tried: int, classes: int) -> Check:
    """Without a limit, every image must become adversarial.

    Args:
        left: Images that did not.
        tried: Images that were attacked.
        classes: How many classes there are.
    """
    share = left / tried if tried else 0.0
    if share > 1 / classes:
        return warn(
            "unbounded-attack-fails",
            share,
            f"{share:.0%} withstand any change at all: gradients do not lead to the class boundary",
        )
    return ok("unbounded-attack-fails", share, "without a limit, images fall")


def fallen_to_noise(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    radius: Tensor,
    norm: Norm,
    generator: Generator,
    draws: int = 20,
) -> tuple[Tensor, Cost]:
    """Images that random noise fools, ``(batch,)``; all see the same draws."""
    criterion = Criterion(labels=labels)
    everyone = torch.arange(len(images), device=images.device)
    fallen = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    with classifier.probe() as probe:
        for _ in range(draws if len(images) else 0):
            logits = probe.logits(random_start(images, radius, norm, generator))
            fallen |= criterion.is_adversarial(logits, everyone) | ~is_finite(logits)
    return fallen, probe.cost()


def random_noise(fallen: int, total: int) -> Check:
    """Random noise must not do what gradients did not.

    Args:
        fallen: Images that withstood gradients and not noise.
        total: Images of the evaluation.
    """
    share = fallen / total if total else 0.0
    # Our choice, without a source: half a percent, or two images.
    if fallen > max(0.005 * total, 1):
        return warn(
            "noise-beats-gradients",
            share,
            f"random noise fools {share:.1%} that gradients did not: gradients are not to be "
            "trusted",
        )
    return ok("noise-beats-gradients", share, "random noise is weaker than gradients")


def not_converged(broken: int, tried: int, *, limit: float) -> Check:
    """Twice the steps from another start must not break much more.

    Args:
        broken: Images that they broke.
        tried: Images that had withstood the suite.
        limit: Share of these that may fall.
    """
    more = broken / tried if tried else 0.0
    sentence = f"twice the steps from another start fool {more:.1%} of what stood"
    enough = broken > max(limit * tried, 1)
    return (warn if enough else ok)("not-converged", more, sentence)


def _logits_check(classifier: Classifier, logits: Tensor) -> Check:
    values = logits.double()
    total = values.sum(dim=1)
    probable = (
        bool(((values >= 0) & (values <= 1)).all()) and bool(((total - 1).abs() < 1e-3).all())
        if len(values) and logits.shape[1] > 1
        else False
    )
    if probable or "softmax-output" in classifier.flags:
        return warn(
            "softmax-output",
            None,
            "the network returns probabilities, not logits: load it with probabilities=True",
        )
    return ok("softmax-output", None, "the network returns logits")


def _randomized_check(spread: float) -> Check:
    if spread > RANDOM:
        return warn(
            "randomized",
            spread,
            "the same image gets different logits: single passes prove nothing; "
            "averaged gradients and votes are used",
        )
    return ok("randomized", spread, "the same image gets the same logits")


def _zero_gradient_check(dead: float) -> Check:
    if dead > HIDDEN:
        return warn(
            "zero-gradient",
            dead,
            f"{dead:.0%} of the images have no gradient at all: gradient attacks cannot move there",
        )
    return ok("zero-gradient", dead, "margins have gradients")


def _saturation_check(flat: float, dead: float, softmax: bool) -> Check:
    if flat > max(dead, HIDDEN) and not softmax:
        return warn(
            "saturated-logits",
            flat,
            f"cross-entropy has no gradient for {flat:.0%} of the images: logits are so "
            "large that softmax saturates; attacks follow the margin there",
        )
    return ok("saturated-logits", flat, "cross-entropy has gradients")


def _spread(runs: list[Tensor]) -> float:
    if len(runs[0]) == 0:
        return 0.0
    scale = float(runs[0].abs().max().clamp_min(1e-12))
    return max(float((run - runs[0]).abs().max()) for run in runs[1:]) / scale


def _zero_share(gradients: Tensor) -> float:
    if len(gradients) == 0:
        return 0.0
    return float((gradients.flatten(1) == 0).all(dim=1).double().mean())
