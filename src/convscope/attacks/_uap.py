"""Universal adversarial perturbations, and a perturbation applied to other images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_positive, check_radius, check_steps
from convscope._random import source
from convscope._readable import readable
from convscope.ascent import Ascent, Box, Point, Step, ascend, momentum_step, plain_step, sign_step
from convscope.attacks._criteria import is_correct, is_finite, success_criterion
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.flags import Flag
from convscope.probe import Cost, Objective, Probe
from convscope.progress import at_step
from convscope.types import Images, Labels


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseTransfer:
    """Perturbations that were made for some images, added to others.

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
        """``(noise,)``: share of images of other classes that are predicted as its target."""
        active = self.noise_targets[:, None]
        others = self.labels != active
        hits = (self.predicted == active) & others & self.probabilities.isfinite()
        return hits.sum(1).float() / others.sum(1).clamp_min(1)

    @property
    def error_rates(self) -> Tensor:
        """``(noise,)``: share of correctly classified images that the noise makes misclassified."""
        right = self.predicted_before == self.labels
        wrong = (self.predicted != self.labels) | ~self.probabilities.isfinite()
        return (wrong & right).sum(1) / right.sum().clamp_min(1)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What a reader must know."""
        lost, total = int((~self.probabilities.isfinite()).sum()), self.probabilities.numel()
        words = f"NaN or infinite logits for {lost} sums of image and noise"
        return (Flag("nonfinite", "warning", lost, total, words),) if lost else ()

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
    """Add noises to images they were not made for, and classify the sums.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, their true classes.
        noises: ``(noise, channel, height, width)``, such as `AttackResult.perturbations`.
        noise_targets: ``(noise,)``, the class each was made for; ``None``: away from the label.

    Returns:
        For each noise and image the prediction for ``image + noise``, clamped to [0, 1].

    Raises:
        UsageError: U10 if noises and images differ in size.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> apply_noise(classifier, images, labels, noises=torch.zeros(2, 1, 2, 2)).predicted.shape
        torch.Size([2, 3])

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, and
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019: the noise that turns one image into a class, added to test images.
    """
    criterion = success_criterion(classifier, images, labels, None)
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
        at_step(0, len(noises) + 1)
        alone = probe.logits(images)
        before = alone.argmax(dim=1).where(is_finite(alone), -1)
        for number, noise in enumerate(noises, start=1):
            at_step(number, len(noises) + 1)
            logits = probe.logits((images + noise).clamp(0, 1))
            best = logits.softmax(dim=1).max(dim=1)
            predicted.append(best.indices)
            probabilities.append(best.values.where(is_finite(logits), torch.nan))
    empty = images.new_zeros(0, len(images))
    return NoiseTransfer(
        noises=noises,
        noise_targets=noise_targets,
        images=images,
        labels=criterion.labels,
        predicted_before=before,
        predicted=torch.stack(predicted) if predicted else empty.long(),
        probabilities=torch.stack(probabilities) if probabilities else empty,
        class_names=classifier.class_names,
    )


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class UniversalPerturbation:
    """Universal perturbations, one per class, and their optimization history.

    Attributes:
        noises: ``(target, channel, height, width)``.
        targets: ``(target,)``, the class of each.
        epsilon: L-infinity radius; ``None``: only the pixel range.
        training_error: ``(step, target)``, mean ``-log p(target)`` on the step's images.
        training_rates: ``(step, target)``, share of these images predicted as the target.
        validation_steps: ``(point,)``, the steps before which held-out images were
            classified; the last is the end.
        validation_error: ``(point, target)``.
        validation_rates: ``(point, target)``, share of held-out images of other classes that are
            predicted as the target; the last point is the result.
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
    flags: tuple[Flag, ...]
    class_names: tuple[str, ...]

    @property
    def rates(self) -> Tensor:
        """``(target,)``: share of held-out images of other classes predicted as it, at the end."""
        return self.validation_rates[-1]

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        names = [self.class_names[target] for target in self.targets.tolist()]
        return {
            "images": self.images_used,
            "success_rate": float(self.rates.mean()),
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
    update: Literal["sign", "gradient"] = "sign",
    step_size: float | None = None,
    decay: float = 0.9,
    generator: Generator | None = None,
) -> UniversalPerturbation:
    """Find, for each class, one perturbation that makes any image be predicted as it.

    All noises start at zero and are moved at once. A step adds them to `samples` images drawn
    from all, clamps the sums to [0, 1], and moves each noise along the sign of the accumulated
    gradient of the mean ``log p(target)``; step sizes fall to zero along a cosine. With
    ``update="gradient"`` each noise moves along the gradient itself, every step alike.

    Args:
        classifier: The network; it stays as it is.
        images: ``(batch, channel, height, width)``, training images.
        labels: ``(batch,)``, their true classes.
        targets: Classes to make noises for, each once; ``None``: all.
        validation: Images and labels that are only classified. By default a fifth of `images` is
            held out.
        epsilon: L-infinity radius of the noise in pixel units; ``None``: -1 to 1.
        steps: Number of steps.
        samples: Images per noise and step.
        update: ``"sign"``, or ``"gradient"``: as the assignment has it. It leaves pixels alone that
            change little, and needs no bound for the noise to end small; it slows down where
            the network is sure of itself.
        step_size: First step in pixel units; by default a tenth of the radius. Of ``"gradient"``
            what the gradient is multiplied with; by default 0.5.
        decay: Share of the accumulated gradient that is kept per step; for ``"sign"``.
        generator: Draws the images; by default one with seed 0.

    Returns:
        Noises and the history of error and success on training and held-out images.

    Raises:
        UsageError: U03, U05, U06, U08, or fewer than two images.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(8, 1, 2, 2), torch.arange(8) % 3
        >>> uap(classifier, images, labels, steps=3).noises.shape
        torch.Size([3, 1, 2, 2])

    Source:
        P. Shedligeri, "Programming Assignment 2: Convolutional Neural Networks", IIT Madras, 2017,
        which ascends the *cost* of the wanted label: taken literally that drives images away from
        it. Ours ascends its log-probability. Its steps are those of ``update="gradient"``, without
        a bound; accumulated signs do better within one. Compare
        Moosavi-Dezfooli et al., "Universal adversarial perturbations", CVPR 2017.
    """
    criterion = success_criterion(classifier, images, labels, None)
    training, held = held_out(images, criterion.labels, validation)
    classes = classes_of(classifier, targets, images.device)
    radius = 1.0 if epsilon is None else float(check_radius(epsilon, "linf", images))
    choose("update", update, ("sign", "gradient"))
    signs = update == "sign"
    usual = 0.1 * radius if signs else 0.5
    first = usual if step_size is None else check_positive("step_size", step_size)
    check_steps(steps)
    check_count("samples", samples)
    samples = min(samples, len(training))
    generator = source(generator)
    picks = [
        torch.randint(0, len(training), (samples,), generator=generator) for _ in range(steps + 1)
    ]

    def decode(noises: Tensor, k: int, rows: Tensor) -> Tensor:
        batch = training[picks[k]]
        return (batch[None] + noises[:, None]).clamp(0, 1).flatten(0, 1)

    with classifier.probe() as probe:
        record = _Training(probe, classes, held, images, steps=steps)
        ascent = ascend(
            torch.zeros((len(classes), *images.shape[1:])).to(images),
            probe,
            mean_log_probability(classes, samples),
            step=_signs(first, decay, steps) if signs else plain_step(first),
            region=Box(torch.tensor(-radius), torch.tensor(radius)),
            steps=steps,
            keep="last",
            decode=decode,
            num_samples=samples,
            observer=record,
        )
        record.validate(steps, ascent.images)
        cost = probe.cost()
    return UniversalPerturbation(
        noises=ascent.images,
        targets=classes,
        epsilon=epsilon,
        training_error=record.errors,
        training_rates=record.rates,
        validation_steps=torch.tensor(record.validation_steps),
        validation_error=torch.stack([error for error, _ in record.validation]),
        validation_rates=torch.stack([rate for _, rate in record.validation]),
        images_used=len(training),
        cost=cost,
        settings={"steps": steps, "samples": samples, "update": update, "step_size": first}
        | ({"decay": decay} if signs else {}),
        flags=flags_of(ascent, "noises"),
        class_names=classifier.class_names,
    )


def _signs(first: float, decay: float, steps: int) -> Step:
    """Signs of accumulated gradients; sizes fall from `first` to zero along a cosine."""
    return momentum_step(
        sign_step(lambda k: first * (1 + math.cos(math.pi * k / max(steps, 1))) / 2), decay=decay
    )


class _Training:
    """The observer of the ascent: error and success on the step's images and on held-out ones."""

    def __init__(
        self,
        probe: Probe,
        targets: Tensor,
        held: tuple[Tensor, Tensor],
        images: Tensor,
        *,
        steps: int,
    ) -> None:
        self.probe, self.targets, self.held = probe, targets, held
        self.errors = images.new_full((steps + 1, len(targets)), torch.nan)
        self.rates = self.errors.clone()
        # Held-out images cost as much as training images: eleven looks are enough for a curve.
        self.points = {round(steps * share / 10) for share in range(11)} - {steps}
        self.noises = torch.zeros((len(targets), *images.shape[1:])).to(images)
        self.validation_steps: list[int] = []
        self.validation: list[tuple[Tensor, Tensor]] = []

    def __call__(self, point: Point) -> None:
        """Write a point down; noises that have left stay as they were."""
        self.errors[point.k, point.rows] = -point.values
        hits = predicted_share(point, self.targets[point.rows])
        self.rates[point.k, point.rows] = hits.to(self.rates)
        self.noises[point.rows] = point.x
        if point.k in self.points:
            self.validate(point.k, self.noises)

    def validate(self, k: int, noises: Tensor) -> None:
        """Add noises to the held-out images."""
        self.validation_steps.append(k)
        self.validation.append(_on_held_out(self.probe, noises, self.targets, *self.held))


def mean_log_probability(targets: Tensor, samples: int) -> Objective:
    """The objective of shared perturbations: mean ``log p(target)`` over the samples of a row."""

    def objective(x: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        aims = targets[rows].repeat_interleave(samples)
        return logits.log_softmax(1).gather(1, aims[:, None])[:, 0].view(-1, samples).mean(dim=1)

    return objective


def predicted_share(point: Point, targets: Tensor) -> Tensor:
    """``(row,)``: share of each row's samples that are predicted as its target."""
    aims = targets.repeat_interleave(point.num_samples)
    hits = (point.samples.argmax(1) == aims).view(-1, point.num_samples)
    return hits.to(point.values).mean(dim=1)


def held_out(
    images: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Training images, and held-out images with their labels.

    Raises:
        UsageError: If there are fewer than two images to share out.
    """
    if validation is not None:
        return images, validation
    if len(images) < 2:
        raise UsageError(
            f"{len(images)} images are too few to train and to validate on",
            expected="at least 2, better hundreds",
        )
    apart = torch.arange(len(images)) % 5 == (4 if len(images) > 4 else 1)
    return images[~apart], (images[apart], labels[apart])


def classes_of(classifier: Classifier, targets: Tensor | None, device: torch.device) -> Tensor:
    """The classes to make perturbations for, each once.

    Raises:
        UsageError: U08 or U10 for what are no classes.
    """
    if targets is None:
        return torch.arange(classifier.num_classes, device=device)
    return classifier.check_labels(targets, len(targets), "targets").unique().to(device)  # type: ignore[no-untyped-call]


def _on_held_out(
    probe: Probe, noises: Tensor, targets: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean error on all, and the share of images of other classes predicted as the target."""
    errors, rates = [], []
    for noise, target in zip(noises, targets.tolist(), strict=True):
        logits = probe.logits((images + noise).clamp(0, 1))
        errors.append(-logits.log_softmax(1)[:, target].mean())
        others = labels != target
        hits = is_correct(logits, torch.full_like(labels, target)) & others
        rates.append(hits.sum().to(noises) / others.sum().clamp_min(1))
    if not errors:
        return noises.new_zeros(0), noises.new_zeros(0)
    return torch.stack(errors), torch.stack(rates)


def flags_of(ascent: Ascent, things: str) -> tuple[Flag, ...]:
    """What was noticed on the way of shared perturbations."""
    flags: list[Flag] = []
    total, zero = len(ascent.images), int((ascent.zero_gradients > 0).sum())
    if zero:
        words = f"zero gradient at some step for {zero} of {total} {things}"
        flags.append(Flag("zero-gradient", "warning", zero, total, words))
    lost = int(ascent.nonfinite.sum())
    if lost:
        words = (
            f"NaN or infinite logits or gradients on the way of {lost} of {total} {things}: "
            "they end where that happened"
        )
        flags.append(Flag("nonfinite", "warning", lost, total, words))
    return tuple(flags)
