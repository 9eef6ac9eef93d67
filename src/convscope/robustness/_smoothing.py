"""Randomized smoothing: radii within which a noisy vote provably cannot change."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_positive
from convscope._random import source
from convscope.attacks import is_finite, success_criterion
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.robustness._results import Certification
from convscope.types import Images, Labels

BLOCK = 500
"""Noise patterns in memory at once."""


@checked
def certify(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    std: float,
    draws: int = 10_000,
    first_draws: int = 100,
    alpha: float = 0.001,
    generator: Generator | None = None,
) -> Certification:
    """Certify the smoothed classifier, which predicts what most noisy copies of an image are.

    For each image, `first_draws` noisy copies choose the class and `draws` others bound its
    probability p from below. The prediction cannot change within ``std * inverse_normal(p)`` in L2,
    except with probability `alpha`. Where p is not above one half, it abstains.

    Args:
        classifier: The base network; it should have been trained on noisy images.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        std: Standard deviation of the noise in pixel units.
        draws: Copies for the bound. 10,000 lose 3 % of the radius that 100,000 give.
        first_draws: Copies for the choice.
        alpha: Probability that a certificate is wrong.
        generator: Source of the noise, by default one with seed 0; all images see the same
            patterns, which leaves each certificate valid and independent of its neighbors.

    Returns:
        Classes and radii; `accuracy_at` and `curve` give certified accuracy.

    Raises:
        UsageError: U06 for a nonsensical std or alpha, or if so few draws can never certify.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
        >>> certify(classifier, images, labels, std=0.1, draws=100).radii.shape
        torch.Size([2])

    Source:
        Cohen, Rosenfeld, Kolter, "Certified Adversarial Robustness via Randomized Smoothing",
        ICML 2019, section 3.2.2, with the exact binomial bound of Clopper and Pearson.
    """
    criterion = success_criterion(classifier, images, labels, None)
    check_positive("std", std)
    check_count("draws", draws)
    check_count("first_draws", first_draws)
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must be between 0 and 1, got {alpha}", code="U06")
    if alpha ** (1 / draws) <= 0.5:
        raise UsageError(
            f"{draws} draws can never certify at alpha {alpha}",
            code="U06",
            expected=f"at least {_fewest(alpha)} draws",
        )
    generator = source(generator)
    with classifier.probe() as probe:
        start = first_draws / (first_draws + draws)
        with stage(0.0, start):
            first = _votes(probe, images, std, first_draws, generator)
        chosen = first.argmax(dim=1)
        with stage(start, 1.0):
            counts = _votes(probe, images, std, draws, generator)
    votes = counts.gather(1, chosen[:, None])[:, 0]
    bound = lower_bound(votes, draws, alpha)
    certain = bound > 0.5
    radii = torch.where(certain, std * torch.special.ndtri(bound.clamp(max=1 - 1e-12)), 0.0)
    lost = int((counts.sum(dim=1) < draws).sum())
    cost = probe.cost()
    words = (
        f"NaN or infinite logits among the noisy copies of {lost} of {len(images)} images: "
        "they vote for no class"
    )
    return Certification(
        std=float(std),
        draws=draws,
        alpha=alpha,
        labels=criterion.labels,
        predicted=torch.where(certain, chosen, -1),
        radii=radii.to(images.dtype),
        votes=votes,
        forwards=cost.forwards,
        seconds=cost.seconds,
        class_names=classifier.class_names,
        flags=(Flag("nonfinite", "warning", lost, len(images), words),) if lost else (),
    )


def lower_bound(votes: Tensor, draws: int, alpha: float) -> Tensor:
    """Lower end of the one-sided Clopper-Pearson interval, float64.

    Example:
        >>> round(lower_bound(torch.tensor([100]), 100, 0.001).item(), 4)
        0.9333
    """
    from scipy.special import betaincinv

    k = votes.double().cpu().numpy()
    bound = betaincinv(k.clip(min=1), draws - k + 1, alpha)
    return torch.where(votes > 0, torch.from_numpy(bound).to(votes.device), 0.0)


def _votes(
    probe: Probe,
    images: Tensor,
    std: float,
    draws: int,
    generator: Generator | None,
) -> Tensor:
    """How often each class won, ``(batch, class)``."""
    classes = probe.classifier.num_classes
    counts = torch.zeros(len(images), classes, dtype=torch.int64, device=images.device)
    for start in range(0, draws, BLOCK):
        size = (min(BLOCK, draws - start), *images.shape[1:])
        noise = std * torch.randn(size, generator=generator, dtype=torch.float32).to(images)
        for row, image in enumerate(images):
            logits = probe.logits(image + noise)
            won = logits.argmax(dim=1)[is_finite(logits)]  # What is no prediction votes for nobody.
            counts[row] += torch.bincount(won, minlength=classes)
            announce((start + len(noise) * (row + 1) / len(images)) / draws)
    return counts


def _fewest(alpha: float) -> int:
    draws = 1
    while alpha ** (1 / draws) <= 0.5:
        draws += 1
    return draws
