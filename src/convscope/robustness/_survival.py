"""Targeted adversarial images, plain and made to survive, side by side under transformations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._readable import readable
from convscope.attacks import TRANSFORMS, AttackResult, pgd, random_choice
from convscope.classifier import Classifier
from convscope.progress import stage
from convscope.robustness._results import TransformationRobustness
from convscope.robustness._transfer import transformation_robustness
from convscope.types import Images, Labels

SURVIVED = ("flip", "crop", "rotation", "grayscale")
"""Random transforms that the second attack has to survive: what the images are shown under."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Survival:
    """The same photos fooled by PGD, plain and over transformations, and what is left of both.

    Attributes:
        plain: PGD toward the targets.
        eot: The same with expectation over transformation.
        plain_transformed: The 8-bit images of `plain` under each transformation.
        eot_transformed: Those of `eot`.
    """

    plain: AttackResult
    eot: AttackResult
    plain_transformed: TransformationRobustness
    eot_transformed: TransformationRobustness

    @property
    def mean_probabilities(self) -> tuple[float, float]:
        """Mean probability of the target, over images and transformations: plain, EOT."""
        return _mean(self.plain_transformed), _mean(self.eot_transformed)

    def headline(self) -> str:
        """One sentence."""
        plain, eot = self.mean_probabilities
        return f"mean probability of the target after transformations {plain:.3f}, EOT {eot:.3f}"

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON; probabilities are those of the target, means over images."""
        plain, eot = self.mean_probabilities
        return {
            "images": len(self.plain),
            "epsilon": self.plain.epsilon,
            "fooled": self.plain.success_rate_quantized,
            "fooled_eot": self.eot.success_rate_quantized,
            "target_probability": _by_name(self.plain_transformed),
            "target_probability_eot": _by_name(self.eot_transformed),
            "mean_target_probability": plain,
            "mean_target_probability_eot": eot,
            "still_adversarial": self.plain_transformed.summary()["still_adversarial"],
            "still_adversarial_eot": self.eot_transformed.summary()["still_adversarial"],
            "seconds": self.plain.cost.seconds + self.eot.cost.seconds,
            "flags": [*self.plain.flags, *self.eot.flags, *self.plain_transformed.flags],
        }


@checked
def survival(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    epsilon: float = 2 / 255,
    steps: int = 40,
    eot_samples: int = 8,
    generator: Generator | None = None,
) -> Survival:
    """Fool a network toward `targets` twice, and look at both results after transformations.

    Once by PGD, once by PGD whose objective is the mean over random flips, crops, rotations and
    grayscale (expectation over transformation). Both take every step and keep the best point,
    and both are judged as 8-bit images.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, their true classes.
        targets: ``(batch,)``, the classes to reach.
        epsilon: Largest change of a pixel.
        steps: Steps of both attacks.
        eot_samples: Transforms drawn per step of the second.
        generator: Source of those; by default one with seed 0.

    Returns:
        Both attacks, and both under horizontal flip, 80 % crop, rotation by 30 degrees, grayscale.

    Raises:
        UsageError: U03, U05, U08, as `convscope.attacks.pgd`.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> found = survival(classifier, images, labels, targets=1 - labels, steps=2)
        >>> list(found.summary()["target_probability"])
        ['none', 'flip', 'crop 80 %', 'rotate 30', 'grayscale']

    Source:
        "CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019: four photos fooled within a
        small L-infinity ball, then mirrored, cropped, rotated and grayed. The second attack is that
        of Athalye et al., "Synthesizing Robust Adversarial Examples", ICML 2018.
    """
    settings: dict[str, Any] = {
        "targets": targets,
        "epsilon": epsilon,
        "steps": steps,
        "keep": "best",
    }
    share = 1 / (1 + eot_samples)
    with stage(0.0, 0.98 * share, "plain"):
        plain = pgd(classifier, images, labels, **settings)
    with stage(0.98 * share, 0.98, "over transformations"):
        eot = pgd(
            classifier,
            images,
            labels,
            **settings,
            transforms=random_choice(*(TRANSFORMS[name] for name in SURVIVED)),
            eot_samples=eot_samples,
            generator=source(generator),
        )
    with stage(0.98, 1.0, "judging"):
        of_plain, of_eot = (transformation_robustness(classifier, made) for made in (plain, eot))
    return Survival(plain=plain, eot=eot, plain_transformed=of_plain, eot_transformed=of_eot)


def _mean(found: TransformationRobustness) -> float:
    changed: Tensor = found.target_probabilities[1:]
    return float(changed.double().mean()) if changed.numel() else float("nan")


def _by_name(found: TransformationRobustness) -> dict[str, float]:
    means = found.target_probabilities.double().mean(dim=1).tolist()
    return dict(zip(found.names, means, strict=True))
