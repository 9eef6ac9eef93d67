"""Universal adversarial perturbations, and a perturbation applied to other images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._readable import readable
from convscope.ascent import Ascent, Box, ascend, momentum_step, sign_step
from convscope.attacks._by_ascent import check_count, check_positive, check_radius, check_steps
from convscope.attacks._criteria import correct, finite, goal_of
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import Cost, Probe
from convscope.types import Images, Labels


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseTransfer:
    """Noises that were made for some images, added to others.

    Attributes:
        noises: ``(noise, channel, height, width)``.
        noise_targets: ``(noise,)``, the class each noise was made for; -1: away from the label.
        images: ``(batch, channel, height, width)``, the images they were added to.
        labels: Their true classes.
        predicted_before: ``(batch,)``, without noise; -1 where a logit is NaN or infinite.
        predicted: ``(noise, batch)``, class of each image with each noise.
        probabilities: ``(noise, batch)``, of that class; NaN where a logit is NaN or infinite.
        class_names: One name per class.
    """

    noises: Tensor
    noise_targets: Tensor
    images: Images
    labels: Labels
    predicted_before: Labels
    predicted: Tensor
    probabilities: Tensor
    class_names: tuple[str, ...]

    @property
    def target_rates(self) -> Tensor:
        """``(noise,)``: share of images of other classes that are read as the noise's target."""
        active = self.noise_targets[:, None]
        others = self.labels != active
        hits = (self.predicted == active) & others & self.probabilities.isfinite()
        return hits.sum(1).float() / others.sum(1).clamp_min(1)

    @property
    def error_rates(self) -> Tensor:
        """``(noise,)``: share of images that were right and are wrong with the noise."""
        right = self.predicted_before == self.labels
        wrong = (self.predicted != self.labels) | ~self.probabilities.isfinite()
        return (wrong & right).sum(1) / right.sum().clamp_min(1)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know."""
        lost = int((~self.probabilities.isfinite()).sum())
        return (f"NaN or infinite logits for {lost} sums of image and noise",) if lost else ()

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "images": len(self.labels),
            "noises": len(self.noises),
            "target_rates": self.target_rates.tolist(),
            "error_rates": self.error_rates.tolist(),
            "flags": list(self.flags),
        }


@checked
def apply_noise(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    noises: Tensor,
    noise_targets: Tensor | None = None,
) -> NoiseTransfer:
    """Add noises to images they were not made for, and read the sums.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, their true classes.
        noises: ``(noise, channel, height, width)``, such as `AttackResult.perturbations`.
        noise_targets: ``(noise,)``, the class each was made for; ``None``: away from the label.

    Returns:
        For each noise and image the class that ``image + noise``, clamped to [0, 1], is read as.

    Raises:
        UsageError: U10 if noises and images differ in size.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> apply_noise(classifier, images, labels, noises=torch.zeros(2, 1, 2, 2)).predicted.shape
        torch.Size([2, 3])

    Source:
        The exercise of two course reports on MNIST: the noise that turns one image into a class,
        added to test images.
    """
    goal = goal_of(classifier, images, labels, None)
    if noises.shape[1:] != images.shape[1:]:
        raise UsageError(
            f"noises have shape {tuple(noises.shape[1:])}, images {tuple(images.shape[1:])}",
            code="U10",
            expected="noises of the images' own size",
        )
    if noise_targets is None:
        noise_targets = torch.full((len(noises),), -1, device=images.device)
    predicted, probabilities = [], []
    with classifier.probe() as probe:
        alone = probe.logits(images)
        before = alone.argmax(dim=1).where(finite(alone), -1)
        for noise in noises:
            logits = probe.logits((images + noise).clamp(0, 1))
            best = logits.softmax(dim=1).max(dim=1)
            predicted.append(best.indices)
            probabilities.append(best.values.where(finite(logits), torch.nan))
    empty = images.new_zeros(0, len(images))
    return NoiseTransfer(
        noises=noises,
        noise_targets=noise_targets,
        images=images,
        labels=goal.labels,
        predicted_before=before,
        predicted=torch.stack(predicted) if predicted else empty.long(),
        probabilities=torch.stack(probabilities) if probabilities else empty,
        class_names=classifier.class_names,
    )


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class UniversalPerturbation:
    """Noises that turn any image into their class, and how they came about.

    Attributes:
        noises: ``(target, channel, height, width)``.
        targets: ``(target,)``, the class of each.
        epsilon: L-infinity radius; ``None``: only the pixel range.
        training_error: ``(step, target)``, mean ``-log p(target)`` on the step's images.
        training_rates: ``(step, target)``, share of these images read as the target.
        validation_steps: ``(point,)``, the steps at which held-out images were read.
        validation_error: ``(point, target)``.
        validation_rates: ``(point, target)``, share of held-out images of other classes that are
            read as the target; the last point is the result.
        images_used: Training images.
        cost: Passes and seconds.
        settings: Plain values.
        flags: What a reader must know.
        class_names: One name per class.
    """

    noises: Images
    targets: Labels
    epsilon: float | None
    training_error: Tensor
    training_rates: Tensor
    validation_steps: Tensor
    validation_error: Tensor
    validation_rates: Tensor
    images_used: int
    cost: Cost
    settings: dict[str, Any]
    flags: tuple[str, ...]
    class_names: tuple[str, ...]

    @property
    def rates(self) -> Tensor:
        """``(target,)``: final share of held-out images of other classes read as the target."""
        return self.validation_rates[-1]

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        names = [self.class_names[target] for target in self.targets.tolist()]
        return {
            "images": self.images_used,
            "fooled": float(self.rates.mean()),
            "rates": dict(zip(names, self.rates.tolist(), strict=True)),
            "epsilon": self.epsilon,
            "forwards_per_image": self.cost.forwards / max(self.images_used, 1),
            "backwards_per_image": self.cost.backwards / max(self.images_used, 1),
            "seconds": self.cost.seconds,
            "flags": list(self.flags),
            "settings": self.settings,
        }


@checked
def uap(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Tensor | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    epsilon: float | None = 0.3,
    steps: int = 100,
    samples: int = 64,
    step_size: float | None = None,
    decay: float = 0.9,
    generator: Generator | None = None,
) -> UniversalPerturbation:
    """Find, for each class, one noise that makes any image be read as that class.

    All noises start at zero and are moved at once. A step adds them to `samples` images drawn
    from all, clamps the sums to [0, 1], and moves each noise along the sign of the accumulated
    gradient of the mean ``log p(target)``; step sizes fall to zero along a cosine.

    Args:
        classifier: The network; it stays as it is.
        images: ``(batch, channel, height, width)``, training images.
        labels: ``(batch,)``, their true classes.
        targets: Classes to make noises for, each once; ``None``: all.
        validation: Images and labels that are only read. By default a fifth of `images` is
            held out.
        epsilon: L-infinity radius of the noise in pixel units; ``None``: -1 to 1.
        steps: Number of steps.
        samples: Images per noise and step.
        step_size: First step in pixel units. By default a tenth of the radius.
        decay: Share of the accumulated gradient that is kept per step.
        generator: Draws the images; by default one with seed 0.

    Returns:
        Noises and the course of error and success on training and held-out images.

    Raises:
        UsageError: U03, U05, U06, U08, or fewer than two images.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(8, 1, 2, 2), torch.arange(8) % 3
        >>> uap(classifier, images, labels, steps=3).noises.shape
        torch.Size([3, 1, 2, 2])

    Source:
        A course assignment (CNN on MNIST, part 2), which ascends the *cost* of the wanted label:
        taken literally that drives images away from it. Ours ascends its log-probability. It
        uses raw gradients; momentum and sign reach the same in a tenth of the steps. Compare
        Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017.
    """
    goal = goal_of(classifier, images, labels, None)
    kept, held = _held_out(images, goal.labels, validation)
    chosen = _classes(classifier, targets, images.device)
    radius = 1.0 if epsilon is None else float(check_radius(epsilon, "linf", images))
    first = 0.1 * radius if step_size is None else check_positive("step_size", step_size)
    check_steps(steps)
    check_count("samples", samples)
    samples = min(samples, len(kept))
    drawn = source(generator)
    draws = [torch.randint(0, len(kept), (samples,), generator=drawn) for _ in range(steps + 1)]
    errors = images.new_full((steps + 1, len(chosen)), torch.nan)
    rates = errors.clone()
    now = [0]

    def decode(noises: Tensor, k: int, rows: Tensor) -> Tensor:
        now[0] = k
        batch = kept[draws[k]]
        return (batch[None] + noises[:, None]).clamp(0, 1).flatten(0, 1)

    def objective(noises: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        aims = chosen[rows].repeat_interleave(samples)
        likelihood = logits.log_softmax(1).gather(1, aims[:, None])[:, 0].view(-1, samples)
        read = (logits.argmax(1) == aims).view(-1, samples)
        errors[now[0], rows] = -likelihood.detach().mean(dim=1)
        rates[now[0], rows] = read.to(errors).mean(dim=1)
        return likelihood.mean(dim=1)

    points = sorted({round(steps * share / 10) for share in range(11)})
    seen: list[tuple[Tensor, Tensor]] = []

    def look(noises: Tensor, k: int, rows: Tensor) -> Tensor:
        if k in points:
            seen.append(_read(probe, noises, chosen, *held))
        return noises

    with classifier.probe() as probe:
        ascent = ascend(
            torch.zeros((len(chosen), *images.shape[1:])).to(images),
            probe,
            objective,
            step=momentum_step(
                sign_step(lambda k: first * (1 + math.cos(math.pi * k / max(steps, 1))) / 2),
                decay=decay,
            ),
            region=Box(torch.tensor(-radius), torch.tensor(radius)),
            steps=steps,
            keep="last",
            decode=decode,
            num_samples=samples,
            between=[look],
        )
        seen.append(_read(probe, ascent.images, chosen, *held))
        cost = probe.cost()
    looked = [*points[: len(seen) - 1], steps]
    return UniversalPerturbation(
        noises=ascent.images,
        targets=chosen,
        epsilon=epsilon,
        training_error=errors,
        training_rates=rates,
        validation_steps=torch.tensor(looked),
        validation_error=torch.stack([error for error, _ in seen]),
        validation_rates=torch.stack([rate for _, rate in seen]),
        images_used=len(kept),
        cost=cost,
        settings={"steps": steps, "samples": samples, "step_size": first, "decay": decay},
        flags=flags_of(ascent, "noises"),
        class_names=classifier.class_names,
    )


def _held_out(
    images: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    if validation is not None:
        return images, validation
    if len(images) < 2:
        raise UsageError(
            f"{len(images)} images are too few to learn from and to judge on",
            expected="at least 2, better hundreds",
        )
    apart = torch.arange(len(images)) % 5 == (4 if len(images) > 4 else 1)
    return images[~apart], (images[apart], labels[apart])


def _classes(classifier: Classifier, targets: Tensor | None, device: torch.device) -> Tensor:
    if targets is None:
        return torch.arange(classifier.num_classes, device=device)
    return classifier.check_labels(targets, len(targets), "targets").unique().to(device)  # type: ignore[no-untyped-call]


def _read(
    probe: Probe, noises: Tensor, targets: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean error on all, and the share of images of other classes read as the target."""
    errors, rates = [], []
    for noise, target in zip(noises, targets.tolist(), strict=True):
        logits = probe.logits((images + noise).clamp(0, 1))
        errors.append(-logits.log_softmax(1)[:, target].mean())
        others = labels != target
        hits = correct(logits, torch.full_like(labels, target)) & others
        rates.append(hits.sum().to(noises) / others.sum().clamp_min(1))
    if not errors:
        return noises.new_zeros(0), noises.new_zeros(0)
    return torch.stack(errors), torch.stack(rates)


def flags_of(ascent: Ascent, things: str) -> tuple[str, ...]:
    """What was noticed on the way of shared perturbations."""
    found = []
    total, zero = len(ascent.images), int((ascent.zero_gradients > 0).sum())
    if zero:
        found.append(f"zero gradient at some step for {zero} of {total} {things}")
    lost = int(ascent.nonfinite.sum())
    if lost:
        found.append(
            f"NaN or infinite logits or gradients on the way of {lost} of {total} {things}: "
            "they end where that happened"
        )
    return tuple(found)
