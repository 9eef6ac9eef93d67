"""Faithfulness of maps: deletion and insertion curves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._readable import readable
from convscope.ascent import gaussian_blur
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations._result import Explanation
from convscope.explanations._streamed import lazy_logits
from convscope.types import ClassHeatmaps

CURVE_STEPS = 16
"""Points of a curve, besides the beginning."""

BLUR = 3 / 32
"""Standard deviation of the blur that stands for missing pixels, as a share of the longer side: 3
pixels of 32, 21 of 224. Chosen by eye, so that an object becomes a smear; no paper gives one."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Faithfulness:
    """How the probability of a class falls and rises with the pixels that a map puts first.

    Attributes:
        method: The method that made the maps.
        fractions: ``(point,)``, share of pixels that are blurred (deletion) or sharp (insertion).
        deletion: ``(batch, point)``, probability of the target; the faster it falls the better.
        insertion: ``(batch, point)``; the faster it rises the better.
    """

    method: str
    fractions: Float[Tensor, " point"]
    deletion: Float[Tensor, "batch point"]
    insertion: Float[Tensor, "batch point"]

    @property
    def insertion_minus_deletion(self) -> float:
        """Mean area under the insertion curve minus that under the deletion curve."""
        return float((area(self.insertion) - area(self.deletion)).mean())


@checked
def deletion_insertion(
    classifier: Classifier,
    explanation: Explanation,
    *,
    steps: int = CURVE_STEPS,
    generator: Generator | None = None,
) -> Faithfulness:
    """Blur the pixels of each image in the order of its first map, and sharpen them likewise.

    Args:
        classifier: The network that the maps explain.
        explanation: Maps of any origin; the first target of each image is used.
        steps: Points of the curves, besides the beginning.
        generator: Breaks ties between pixels of equal value; by default one with seed 0.

    Returns:
        Curves of ``steps + 1`` points.

    Raises:
        UsageError: If `steps` is below 1.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> from convscope.explanations import saliency
        >>> curves = deletion_insertion(classifier, saliency(classifier, torch.rand(3, 1, 4, 4)))
        >>> curves.deletion.shape
        torch.Size([3, 17])

    Source:
        Petsiuk, Das, Saenko, "RISE", 2018, section 4.1; a blurred image stands for missing
        pixels in both curves here, which stays closer to real images than black does.
    """
    if steps < 1:
        raise UsageError(f"steps is {steps}", code="U05", expected="at least 1")
    images, targets = explanation.images, explanation.targets[:, 0]
    order = ranks(explanation.maps[:, :1], source(generator))
    blurred = gaussian_blur(images, max(images.shape[2:]) * BLUR)
    points = steps + 1
    limits = torch.linspace(0, order[0].numel(), points).round().to(order.device)

    def decode(numbers: Tensor) -> Tensor:
        # One number says which (image, curve, point): (image * 2 + curve) * points + point.
        # Curve 0 is deletion, which blurs the first pixels; curve 1 is insertion, which blurs all
        # the others.
        numbers = numbers.to(images.device)
        image, rest = numbers // (2 * points), numbers % (2 * points)
        curve, point = rest // points, rest % points
        first = order[image] < limits[point, None, None, None]
        inserting = (curve == 1)[:, None, None, None]
        return torch.where(first ^ inserting, blurred[image], images[image])

    with classifier.probe() as probe:
        logits = lazy_logits(probe, len(images) * 2 * points, decode)
    probabilities = logits.softmax(dim=1).view(len(images), 2, points, -1)
    index = targets[:, None, None, None].expand(-1, 2, points, 1)
    curves = probabilities.gather(3, index)[..., 0]
    return Faithfulness(
        method=explanation.method,
        fractions=limits / order[0].numel(),
        deletion=curves[:, 0],
        insertion=curves[:, 1],
    )


def ranks(maps: ClassHeatmaps, generator: Generator) -> Tensor:
    """Position of every pixel from the largest value (0) down, ties in random order."""
    flat = maps.flatten(1)
    shuffled = torch.randperm(flat.shape[1], generator=generator).to(flat.device)
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(flat.shape[1], device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def area(curves: Tensor) -> Tensor:
    """Area under curves ``(batch, point)`` over a unit interval, by trapezoids.

    Example:
        >>> area(torch.tensor([[0.0, 0.5, 1.0]]))
        tensor([0.5000])
    """
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)
