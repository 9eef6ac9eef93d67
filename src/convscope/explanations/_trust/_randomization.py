"""Does a map depend on what the network has learned? Randomize its layers from the bottom up."""

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
from convscope.errors import ModelContractError
from convscope.explanations._result import Explanation
from convscope.explanations._trust._similarity import spearman
from convscope.types import Images

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
