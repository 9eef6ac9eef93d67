"""Trust scores of explanation methods: faithfulness, localization, randomization, stability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import seed_of
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import choose
from convscope.explanations._result import Explanation
from convscope.sharding import judged_here
from convscope.types import Images, Labels


@dataclass(frozen=True, kw_only=True)
class TrustRow:
    """Scores of one method; ``None`` where a test does not apply.

    Attributes:
        method: Its name.
        deletion: Mean area under the deletion curve; small is good.
        insertion: Mean area under the insertion curve; large is good.
        insertion_minus_deletion: Their difference; large is good.
        randomized: Mean rank correlation with the maps of the same network with random weights;
            near 0 is good.
        completeness: Largest relative error of the sum of a map, for methods that promise one.
        grid_pointing_game: Mean share of positive relevance in the right quarter of 2 x 2
            mosaics; chance is 0.25.
        relevance_mass: Mean share of positive relevance on the true mask of the object.
        pointing_accuracy: Share of images whose largest value lies on the object.
        stability: Mean of the largest relative change under noise of 0.02; small is good.
        seconds: For the maps of all images.
    """

    method: str
    deletion: float
    insertion: float
    insertion_minus_deletion: float
    randomized: float | None
    completeness: float | None
    grid_pointing_game: float | None
    relevance_mass: float | None
    pointing_accuracy: float | None
    stability: float | None
    seconds: float | None


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """Trust scores of explanation methods, with their curves. The last row is a random map.

    Attributes:
        rows: One per method.
        fractions: ``(point,)``, share of pixels changed.
        deletion: ``(method, point)``, mean probability of the target.
        insertion: ``(method, point)``.
        stages: Layers up to which weights were randomized.
        similarity: ``(method, stage)``, mean rank correlation; NaN where not computed.
        images: How many images methods were judged on.
        area: Mean share of pixels on the true mask: what chance gives for `relevance_mass`.
        shrunk: Whether mosaics were shrunk to the size of one image.
        notes: Sentences on what could not be done.
    """

    rows: tuple[TrustRow, ...]
    fractions: Float[Tensor, " point"]
    deletion: Float[Tensor, "method point"]
    insertion: Float[Tensor, "method point"]
    stages: tuple[str, ...]
    similarity: Float[Tensor, "method stage"]
    images: int
    area: float | None
    shrunk: bool
    notes: tuple[str, ...]


@checked
def trust(
    classifier: Classifier,
    images: Images,
    labels: Labels | None,
    methods: dict[str, Callable[..., Explanation]] | Sequence[str],
    *,
    masks: Tensor | None = None,
    external: Sequence[Explanation] = (),
    generator: Generator | None = None,
) -> Trust:
    """Put methods to every test that applies.

    Each method is judged by itself; all see the same draws. Says how far it is to whoever listens
    by `convscope.progress.watch`.

    Args:
        classifier: The network that is explained.
        images: ``(batch, channel, height, width)``; some dozens.
        labels: ``(batch,)``, true classes: the targets of all maps. ``None``: the predicted
            classes, for images of things that the network has no class for.
        methods: Names in `EXPLANATIONS`, or functions by name.
        masks: ``(batch, height, width)``, True on the object, where they are known.
        external: Maps of other libraries for the same images; tests that need to run the method
            again are left out.
        generator: Draws the seed of everything random; by default one with seed 0.

    Returns:
        One row per method that can explain the network, in order; then the external maps, then a
        random map.

    Raises:
        UsageError: U10 without images; U11 if external maps are about other images.

    Example:
        >>> import torch
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> scores = trust(classifier, torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]),
        ...                {"saliency": saliency})
        >>> [row.method for row in scores.rows]
        ['saliency', 'random map']
    """
    from convscope.explanations import EXPLANATIONS
    from convscope.explanations._trust_judging import TrustJudging, trust_of

    if not isinstance(methods, dict):
        methods = {
            name: EXPLANATIONS[choose("explanation", name, EXPLANATIONS)] for name in methods
        }
    judging = TrustJudging(
        classifier=classifier,
        images=images,
        given_labels=labels,
        methods=methods,
        masks=masks,
        external=external,
        seed=seed_of(generator),
    )
    return trust_of(*judged_here(judging))
