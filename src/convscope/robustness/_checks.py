"""Sanity checks of a robustness evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from convscope.attacks import Criterion, block_rows, is_finite, pgd, random_start
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


@dataclass(frozen=True, eq=False)
class Setting:
    """What an evaluation is about.

    Attributes:
        classifier: The network.
        images: ``(batch, channel, height, width)``.
        criterion: Their labels.
        radii: Radius in pixel units, float64, ``()``.
        norm: ``"linf"`` or ``"l2"``.
        generator: Source of randomness.
    """

    classifier: Classifier
    images: Tensor
    criterion: Criterion
    radii: Tensor
    norm: Norm
    generator: Generator


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


def gradient_diagnostics(
    classifier: Classifier, images: Tensor, criterion: Criterion, right: Tensor
) -> Diagnostics:
    """Outputs and gradients of the images that are classified correctly."""
    rows = sampled(right, criterion.labels)
    if len(rows) == 0:
        nothing = skipped(
            "anatomy", "no image is classified correctly, so there is nothing to attack"
        )
        return Diagnostics(
            checks=(nothing,), differentiable=True, deterministic=True, masked=True,
            forwards=0, backwards=0,
        )  # fmt: skip
    x, sample_criterion = images[rows], criterion.of(rows)
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


def overfitting(setting: Setting, *, single_step: float, worst: float) -> tuple[Check, Cost]:
    """Catastrophic overfitting: the network withstands single steps only, and is bent there.

    A network that was trained on single steps may bend so sharply near the images that single
    steps miss, while many small ones do not. Two signs together: one step leaves far more images
    robust than many do, and gradients at the image and at a random neighbor point elsewhere.

    Args:
        setting: What is evaluated.
        single_step: Accuracy under one step.
        worst: Robust accuracy.

    Source:
        Wong, Rice, Kolter, "Fast is better than free", ICLR 2020 (the failure); gradient alignment:
        Andriushchenko and Flammarion, NeurIPS 2020. The thresholds 0.5 and 0.25 are ours.
    """
    images, criterion = setting.images, setting.criterion
    with setting.classifier.probe() as probe:
        rows = sample_rows(criterion.labels, SAMPLE).to(images.device)
        few = images[rows]
        start = random_start(few, setting.radii, setting.norm, setting.generator)
        here = probe.gradient(few, lambda a, z, i: criterion.cross_entropy(z, rows[i])).gradients
        there = probe.gradient(start, lambda a, z, i: criterion.cross_entropy(z, rows[i])).gradients
    cosine = torch.cosine_similarity(here.flatten(1), there.flatten(1), dim=1)
    alignment = float(cosine.nan_to_num(0.0).median()) if len(rows) else 1.0
    gap = single_step - worst
    if single_step > 0.5 and gap > 0.25 and alignment < CRUMPLED:
        check = warn(
            "catastrophic-overfitting",
            alignment,
            f"one step leaves {single_step:.0%} standing, many steps {worst:.0%}, and gradients "
            f"nearby point elsewhere (cosine {alignment:.2f}): it was trained on single steps",
        )
    else:
        check = ok(
            "catastrophic-overfitting", alignment, f"gradients nearby agree, cosine {alignment:.2f}"
        )
    return check, probe.cost()


def unbounded(classifier: Classifier, images: Tensor, labels: Tensor) -> tuple[Check, Cost]:
    """Without a limit, every image must become adversarial."""
    few = sample_rows(labels, UNBOUNDED).to(images.device)
    result = pgd(classifier, images[few], labels[few], epsilon=1.0, steps=40, objective="margin")
    left = float((~result.success).double().mean()) if len(result) else 0.0
    chance = 1 / classifier.num_classes
    if left > chance:
        check = warn(
            "unbounded-attack-fails",
            left,
            f"{left:.0%} withstand any change at all: gradients do not lead to the class boundary",
        )
    else:
        check = ok("unbounded-attack-fails", left, "without a limit, images fall")
    return check, result.cost


def random_noise(setting: Setting, robust: Tensor, draws: int = 20) -> tuple[Check, Cost]:
    """Random noise must not do what gradients did not; blocks of images see the same draws."""
    images, generator = setting.images, setting.generator
    left = torch.nonzero(robust)[:, 0]
    fallen = torch.zeros_like(robust)
    begin = generator.get_state()
    with setting.classifier.probe() as probe:
        for rows in torch.split(left, block_rows(images.shape[1:])) if len(left) else ():
            generator.set_state(begin)
            for _ in range(draws):
                noisy = random_start(images[rows], setting.radii, setting.norm, generator)
                logits = probe.logits(noisy)
                fallen[rows] |= setting.criterion.is_adversarial(logits, rows) | ~is_finite(logits)
    share = float(fallen.double().mean()) if len(robust) else 0.0
    # Our choice, without a source: half a percent, or two images.
    if int(fallen.sum()) > max(0.005 * len(robust), 1):
        check = warn(
            "noise-beats-gradients",
            share,
            f"random noise fools {share:.1%} that gradients did not: gradients are not to be "
            "trusted",
        )
    else:
        check = ok("noise-beats-gradients", share, "random noise is weaker than gradients")
    return check, probe.cost()


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
