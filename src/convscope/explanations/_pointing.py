"""Localization of maps: the grid pointing game, and true masks of objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.explanations._result import Explanation
from convscope.types import Images, Labels

MOSAICS = 24
"""Mosaics of one grid pointing game."""

EACH_CLASS = 16
"""Images of a class that mosaics are made of: those of the highest confidence."""

LARGE = 128
"""Sides in pixels from which images are recognizable at half the size, too."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Mosaics:
    """2 x 2 mosaics of images of four different classes.

    Attributes:
        images: ``(mosaic, channel, height, width)``.
        targets: ``(mosaic, 4)``: the class at the upper left, upper right, lower left and lower
            right.
        shrunk: True if mosaics were brought to the size of one image.
    """

    images: Images
    targets: Int[Tensor, "mosaic 4"]
    shrunk: bool


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Localization:
    """How much of a map's positive relevance lies on the object.

    Attributes:
        relevance_mass: ``(batch,)``, share of the positive relevance that lies on the object.
        area: ``(batch,)``, share of the pixels that the object covers: what chance gives.
        pointing_hit: ``(batch,)``, whether the largest value lies on the object; the mean is the
            accuracy of the pointing game.
    """

    relevance_mass: Float[Tensor, " batch"]
    area: Float[Tensor, " batch"]
    pointing_hit: Bool[Tensor, " batch"]


@checked
def mosaics(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    count: int = MOSAICS,
    generator: Generator | None = None,
) -> Mosaics:
    """Arrange confidently and correctly classified images into 2 x 2 mosaics.

    Args:
        classifier: A network that takes images of twice the size; otherwise mosaics are shrunk.
            So are those of images of at least 128 pixels, which are recognizable at half the size
            and would cost four times as much.
        images: ``(batch, channel, height, width)``.
        labels: ``(batch,)``, true classes.
        count: How many mosaics.
        generator: Chooses the images; by default one with seed 0.

    Raises:
        UsageError: If fewer than four classes have an image that is classified correctly.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 4, bias=False))
        >>> net[1].weight.data = torch.eye(4)
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> tiles = mosaics(classifier, torch.eye(4).view(4, 1, 2, 2), torch.arange(4), count=3)
        >>> tiles.images.shape, tiles.targets.shape, tiles.shrunk
        (torch.Size([3, 1, 2, 2]), torch.Size([3, 4]), True)
    """
    generator = source(generator)
    pools = _confident(classifier, images, labels)
    if len(pools) < 4:
        raise UsageError(
            f"the network classifies images of {len(pools)} classes correctly",
            expected="at least 4 classes, to make mosaics",
            hint="give more images",
        )
    chosen = []
    for _ in range(count):
        four = torch.randperm(len(pools), generator=generator)[:4].tolist()
        picks = [int(torch.randint(len(pools[p]), (1,), generator=generator)) for p in four]
        chosen.append(torch.stack([pools[p][i] for p, i in zip(four, picks, strict=True)]))
    indices = torch.stack(chosen)
    upper_left, upper_right, lower_left, lower_right = images[indices].unbind(1)
    top = torch.cat([upper_left, upper_right], dim=3)
    bottom = torch.cat([lower_left, lower_right], dim=3)
    whole = torch.cat([top, bottom], dim=2)
    shrunk = min(images.shape[2:]) >= LARGE or not _takes(classifier, whole[:1])
    if shrunk:
        size = (images.shape[2], images.shape[3])
        whole = F.interpolate(whole, size=size, mode="area")
    return Mosaics(images=whole, targets=labels[indices], shrunk=shrunk)


def _confident(classifier: Classifier, images: Images, labels: Labels) -> list[Tensor]:
    """For each class that has any, indices of correctly classified images, the surest first."""
    with classifier.probe() as probe:
        probabilities = probe.logits(images).softmax(dim=1)
    confidence = probabilities.gather(1, labels[:, None])[:, 0]
    correct = probabilities.argmax(dim=1) == labels
    pools = []
    for label in sorted(set(labels.tolist())):
        indices = ((labels == label) & correct).nonzero()[:, 0]
        if len(indices) > 0:
            pools.append(indices[confidence[indices].argsort(descending=True)][:EACH_CLASS])
    return pools


def grid_pointing_game(explanation: Explanation) -> Tensor:
    """Share of positive relevance in the quarter of the class that a map explains.

    Args:
        explanation: Maps of mosaics for the four classes in the order of `Mosaics.targets`.

    Returns:
        ``(mosaic, 4)``, from 0 to 1. Chance gives 0.25; so do maps without positive relevance.

    Example:
        >>> maps = torch.eye(4).view(1, 4, 2, 2)
        >>> perfect = Explanation(images=maps[:, :1], maps=maps, targets=torch.arange(4)[None],
        ...                       method="own", class_names=("a", "b", "c", "d"))
        >>> grid_pointing_game(perfect)
        tensor([[1., 1., 1., 1.]])

    Source:
        Böhle, Fritz, Schiele, "Convolutional Dynamic Alignment Networks", 2021 (grid pointing).
    """
    maps = explanation.maps.clamp_min(0)
    height, width = maps.shape[2] // 2, maps.shape[3] // 2
    quarters = torch.stack(
        [
            maps[:, :, :height, :width].sum(dim=(2, 3)),
            maps[:, :, :height, width:].sum(dim=(2, 3)),
            maps[:, :, height:, :width].sum(dim=(2, 3)),
            maps[:, :, height:, width:].sum(dim=(2, 3)),
        ],
        dim=2,
    )
    total = quarters.sum(dim=2)
    right = torch.diagonal(quarters, dim1=1, dim2=2)
    return torch.where(total > 0, right / total.clamp_min(1e-30), torch.full_like(right, 0.25))


def localization(explanation: Explanation, masks: Tensor) -> Localization:
    """Compare the first map of each image with the true mask of its object.

    Args:
        explanation: Maps of any origin.
        masks: ``(batch, height, width)``, True on the object.

    Raises:
        UsageError: If masks and maps differ in size.

    Example:
        >>> maps = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> half = Explanation(images=maps, maps=maps, targets=torch.zeros(1, 1).long(),
        ...                    method="own", class_names=("a",))
        >>> localization(half, torch.tensor([[[True, False], [False, False]]])).relevance_mass
        tensor([0.5000])

    Source:
        Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016 (pointing game,
        without its tolerance of 15 pixels); Arras, Osman, Samek, "CLEVR-XAI", 2022 (relevance
        mass accuracy).
    """
    maps = explanation.maps[:, 0].clamp_min(0)
    if masks.shape != maps.shape:
        raise UsageError(
            f"masks have shape {tuple(masks.shape)}", code="U11", expected=str(tuple(maps.shape))
        )
    flat, on = maps.flatten(1), masks.flatten(1).to(maps.device).bool()
    total = flat.sum(dim=1)
    area = on.float().mean(dim=1)
    mass = torch.where(total > 0, (flat * on).sum(dim=1) / total.clamp_min(1e-30), area)
    top = explanation.maps[:, 0].flatten(1).argmax(dim=1, keepdim=True)
    return Localization(relevance_mass=mass, area=area, pointing_hit=on.gather(1, top)[:, 0])


def _takes(classifier: Classifier, images: Images) -> bool:
    """Whether the network runs on images of this size."""
    try:
        with classifier.probe() as probe:
            probe.logits(images)
    except (ModelContractError, RuntimeError, ValueError, IndexError):
        return False
    return True
