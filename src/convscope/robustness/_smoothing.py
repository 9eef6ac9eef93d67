"""Randomized smoothing: radii within which a noisy vote provably cannot change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_positive
from convscope._random import seed_of, stream
from convscope.attacks import is_finite
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.probe import Probe
from convscope.progress import announce, stage
from convscope.robustness._results import Certification
from convscope.sharding import Record, joined, judged_here
from convscope.types import Images, Labels

BLOCK = 500
"""Noise patterns in memory at once."""

IMAGES = 16
"""Images of a block: it takes hours of a large network, and draws its noise anew."""


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
        generator: Draws the seed of the noise, by default one with seed 0; all images see the same
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
    judging = CertificationJudging(
        classifier,
        lambda rows: images[rows],
        labels,
        std=float(std),
        draws=draws,
        first_draws=first_draws,
        alpha=alpha,
        seed=seed_of(generator),
    )
    _, records = judged_here(judging)
    return certification_of(judging.settings, records, labels)


@dataclass(frozen=True)
class CertificationJudging:
    """The judging of `certify`, block by block: a `convscope.sharding.Judging`.

    Args:
        classifier: The base network.
        pixels: ``pixels(rows)``: images of some rows.
        labels: Of all rows.
        std: Standard deviation of the noise in pixel units.
        draws: Copies for the bound.
        alpha: Probability that a certificate is wrong.
        seed: Of the noise.
        first_draws: Copies for the choice.
    """

    classifier: Classifier
    pixels: Callable[[slice], Tensor]
    labels: Tensor
    std: float
    draws: int
    alpha: float
    seed: int
    first_draws: int = 100
    kind: str = "attack certify"

    def __post_init__(self) -> None:
        self.classifier.check_images(self.pixels(slice(0, 1)))
        self.classifier.check_labels(self.labels, len(self.labels))
        check_positive("std", self.std)
        check_count("draws", self.draws)
        check_count("first_draws", self.first_draws)
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha must be between 0 and 1, got {self.alpha}", code="U06")
        if self.alpha ** (1 / self.draws) <= 0.5:
            raise UsageError(
                f"{self.draws} draws can never certify at alpha {self.alpha}",
                code="U06",
                expected=f"at least {_fewest(self.alpha)} draws",
            )

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def size(self) -> int:
        """Images of a block."""
        return IMAGES

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        return {
            "std": self.std,
            "draws": self.draws,
            "first_draws": self.first_draws,
            "alpha": self.alpha,
            "seed": self.seed,
            "classes": list(self.classifier.class_names),
        }

    def head(self) -> Record:
        """Nothing."""
        return Record()

    def judge(self, rows: slice, head: Record) -> Record:
        """The votes of some images; all blocks see the same noise."""
        images, start = self.pixels(rows), self.first_draws / (self.first_draws + self.draws)
        with self.classifier.probe() as probe:
            with stage(0.0, start):
                choice = stream(self.seed, "choice")
                first = _votes(probe, images, self.std, self.first_draws, choice)
            chosen = first.argmax(dim=1)
            with stage(start, 1.0):
                counts = _votes(probe, images, self.std, self.draws, stream(self.seed, "bound"))
        votes = counts.gather(1, chosen[:, None])[:, 0]
        lost = int((counts.sum(dim=1) < self.draws).sum())
        cost = probe.cost()
        return Record(
            {"lost": lost, "cost": [cost.forwards, cost.backwards, cost.seconds]},
            {"chosen": chosen.cpu().numpy(), "votes": votes.cpu().numpy()},
        )

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """The labels of a block."""
        return {"labels": self.labels[rows].cpu().numpy()}


def certification_of(
    settings: Mapping[str, Any], records: Sequence[Record], labels: Tensor | None = None
) -> Certification:
    """The certificates of all blocks together.

    Args:
        settings: Of the `CertificationJudging`.
        records: Of all blocks, in order.
        labels: Of all images; by default those that the records hold.
    """
    cost = [record.numbers["cost"] for record in records]
    labels = torch.from_numpy(joined(records, "labels")) if labels is None else labels
    std, draws = settings["std"], settings["draws"]
    votes, chosen = (
        torch.from_numpy(joined(records, name)).to(labels.device) for name in ("votes", "chosen")
    )
    bound = lower_bound(votes, draws, settings["alpha"])
    certain = bound > 0.5
    radii = torch.where(certain, std * torch.special.ndtri(bound.clamp(max=1 - 1e-12)), 0.0)
    lost = sum(record.numbers["lost"] for record in records)
    words = (
        f"NaN or infinite logits among the noisy copies of {lost} of {len(labels)} images: "
        "they vote for no class"
    )
    return Certification(
        std=std,
        draws=draws,
        alpha=settings["alpha"],
        labels=labels,
        predicted=torch.where(certain, chosen, -1),
        radii=radii.float(),
        votes=votes,
        forwards=sum(forwards for forwards, _, _ in cost),
        seconds=sum(seconds for _, _, seconds in cost),
        class_names=tuple(settings["classes"]),
        flags=(Flag("nonfinite", "warning", lost, len(labels), words),) if lost else (),
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
