"""Sanity checks of explanations: weight randomization and stability under noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._random_weights import weighted_layers, with_random_weights
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.explanations._result import Explanation
from convscope.types import Images


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of each pair of maps; 0 if one of them is constant.

    Args:
        first: ``(batch, ...)``.
        second: Of the same shape.

    Returns:
        ``(batch,)``, from -1 to 1.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 3.0, 4.0]]))
        tensor([1.])
    """
    a, b = _centered_ranks(first), _centered_ranks(second)
    size = a.square().sum(dim=1).sqrt() * b.square().sum(dim=1).sqrt()
    return torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(1e-12), 0).float()


def _centered_ranks(maps: Tensor) -> Tensor:
    """Ranks with equal values sharing the mean of theirs, minus their mean."""
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(dim=1).values
    low = torch.searchsorted(ordered, flat, right=False)
    high = torch.searchsorted(ordered, flat, right=True)
    rank = (low + high - 1).double() / 2
    return rank - rank.mean(dim=1, keepdim=True)


NOISY_COPIES = 10


@checked
def stability(
    classifier: Classifier,
    method: Callable[..., Explanation],
    images: Images,
    targets: Tensor,
    *,
    radius: float = 0.02,
    draws: int = NOISY_COPIES,
    generator: Generator | None = None,
) -> Tensor:
    """The largest relative change of a map under uniform noise of at most `radius`.

    Args:
        classifier: The network.
        method: A function of this package's explanations.
        images: ``(batch, channel, height, width)``.
        targets: ``(batch,)``.
        radius: Largest change of a pixel, in pixel units.
        draws: Noisy copies.
        generator: Source of the noise; by default one with seed 0.

    Returns:
        ``(batch,)``: 0 is unmoved; 1 means that the change is as large as the map.

    Source:
        Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019 (max-sensitivity),
        divided by the norm of the map.
    """
    if draws < 1 or not radius >= 0:
        raise UsageError(
            f"draws={draws}, radius={radius}", code="U05", expected="at least 1 draw and radius 0"
        )
    drawn = source(generator)
    still = method(classifier, images, targets).maps.flatten(1)
    noise = radius * (
        2 * torch.rand(draws, *images.shape, generator=drawn, dtype=torch.float32).to(images) - 1
    )
    shaken = (images[None] + noise).clamp(0, 1).flatten(0, 1)
    many = method(classifier, shaken, targets.repeat(draws)).maps.flatten(1)
    change = (many.view(draws, *still.shape) - still).norm(dim=2).amax(dim=0)
    size = still.norm(dim=1)
    return torch.where(size > 0, change / size.clamp_min(1e-30), (change > 0).to(size))


MOST_STAGES = 6


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Randomization:
    """How similar maps stay while more and more layers get random weights.

    Attributes:
        method: Whose maps.
        stages: The last layer that was randomized at each stage; the final stage is the whole
            network.
        similarity: ``(stage, batch)``, Spearman correlation with the maps of the trained network.
    """

    method: str
    stages: tuple[str, ...]
    similarity: Float[Tensor, "stage batch"]

    @property
    def final(self) -> float:
        """Mean similarity with all weights random; a good method is near 0."""
        return float(self.similarity[-1].mean())


@checked
def weight_randomization(
    classifier: Classifier,
    method: Callable[..., Explanation],
    images: Images,
    targets: Tensor,
    *,
    generator: Generator | None = None,
) -> Randomization:
    """Compare maps of the trained network with maps of ever more random ones.

    Layers are randomized from the input upwards: randomizing from the output downwards leaves
    the lower layers' picture of the image in the map and says little. Each stage draws afresh.

    Args:
        classifier: The trained network; it is copied, never changed.
        method: A function of this package's explanations.
        images: ``(batch, channel, height, width)``.
        targets: ``(batch,)``; the same for all stages.
        generator: Source of the weights; by default one with seed 0.

    Raises:
        ModelContractError: If the network cannot be copied, or has no weights.

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps", 2018; Hedström et al., "Sanity Checks
        Revisited", 2023, for the direction.
    """
    drawn = source(generator)
    layers = weighted_layers(classifier.module)
    if not layers:
        raise ModelContractError("the network has no weights to randomize")
    trained = method(classifier, images, targets)
    count = min(MOST_STAGES, len(layers))
    ends = [round((i + 1) * len(layers) / count) for i in range(count)]
    rows = []
    for end in ends:
        other = with_random_weights(classifier, layers=layers[:end], generator=drawn)
        maps = method(other, images, targets).maps
        rows.append(spearman(trained.maps[:, 0], maps[:, 0]))
    return Randomization(
        method=trained.method,
        stages=tuple(layers[end - 1] for end in ends),
        similarity=torch.stack(rows),
    )
