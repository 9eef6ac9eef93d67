"""A noise that was found for one image, added to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope._readable import readable
from convscope.attacks._goal import finite, goal_of
from convscope.classifier import Classifier
from convscope.errors import UsageError
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
        wanted = self.noise_targets[:, None]
        others = self.labels != wanted
        hits = (self.predicted == wanted) & others & self.probabilities.isfinite()
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
