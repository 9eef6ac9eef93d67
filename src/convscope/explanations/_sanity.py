"""Sanity checks of explanations: weight randomization and stability under noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._network.black_box import refuse_black_box
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
"""Copies of an image whose maps are compared for stability."""


@checked
def stability(
    classifier: Classifier,
    method: Callable[..., Explanation],
    images: Images,
    targets: Tensor,
    *,
    radius: float = 0.02,
    num_samples: int = NOISY_COPIES,
    generator: Generator | None = None,
) -> Tensor:
    """The largest relative change of a map under uniform noise of at most `radius`.

    Args:
        classifier: The network.
        method: A function of this package's explanations.
        images: ``(batch, channel, height, width)``.
        targets: ``(batch,)``.
        radius: Largest change of a pixel, in pixel units.
        num_samples: Noisy copies of each image.
        generator: Source of the noise; by default one with seed 0.

    Returns:
        ``(batch,)``: 0 is unmoved; 1 means that the change is as large as the map.

    Raises:
        UsageError: U05 if `num_samples` or `radius` makes no sense.

    Example:
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> stability(classifier, saliency, torch.rand(1, 1, 2, 2), torch.tensor([0]))
        tensor([0.])

    Source:
        Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019 (max-sensitivity),
        divided by the norm of the map.
    """
    if num_samples < 1 or not radius >= 0:
        raise UsageError(
            f"num_samples={num_samples}, radius={radius}",
            code="U05",
            expected="at least 1 sample and radius 0",
        )
    clean = method(classifier, images, targets).maps.flatten(1)
    uniform = torch.rand(
        num_samples, *images.shape, generator=source(generator), dtype=torch.float32
    ).to(images)
    noisy = (images[None] + radius * (2 * uniform - 1)).clamp(0, 1).flatten(0, 1)
    moved = method(classifier, noisy, targets.repeat(num_samples)).maps.flatten(1)
    change = (moved.view(num_samples, *clean.shape) - clean).norm(dim=2).amax(dim=0)
    size = clean.norm(dim=1)
    return torch.where(size > 0, change / size.clamp_min(1e-30), (change > 0).to(size))


MOST_STAGES = 6
"""Stages of weight randomization; deeper networks randomize several layers at once."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Randomization:
    """How similar maps stay while more and more layers get random weights.

    Attributes:
        method: The method that made the maps.
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
    the lower layers' features of the image in the map and says little. Each stage draws again.

    Args:
        classifier: The trained network; it is copied, never changed.
        method: A function of this package's explanations.
        images: ``(batch, channel, height, width)``.
        targets: ``(batch,)``; the same for all stages.
        generator: Source of the weights; by default one with seed 0.

    Returns:
        Similarities stage by stage; layers are grouped into at most six stages.

    Raises:
        ModelContractError: If the network cannot be copied, or has no weights; M26 for a black box.

    Example:
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> checked = weight_randomization(
        ...     classifier, saliency, torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0]))
        >>> checked.stages, checked.similarity.shape
        (('1',), torch.Size([1, 3]))

    Source:
        Adebayo et al., "Sanity Checks for Saliency Maps", 2018; Hedström et al., "Sanity Checks
        Revisited", 2023, for the direction.
    """
    generator = source(generator)
    refuse_black_box(classifier.module, "weights")
    layers = weighted_layers(classifier.module)
    if not layers:
        raise ModelContractError("the network has no weights to randomize")
    trained = method(classifier, images, targets)
    count = min(MOST_STAGES, len(layers))
    ends = [round((i + 1) * len(layers) / count) for i in range(count)]
    similarity = []
    for end in ends:
        random = with_random_weights(classifier, layers=layers[:end], generator=generator)
        maps = method(random, images, targets).maps
        similarity.append(spearman(trained.maps[:, 0], maps[:, 0]))
    return Randomization(
        method=trained.method,
        stages=tuple(layers[end - 1] for end in ends),
        similarity=torch.stack(similarity),
    )
