"""Does a map point at the right thing? Mosaics of real images, and true masks."""

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

LARGE = 128
"""Images with sides of so many pixels show their object at half the size, too."""


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
        inside: ``(batch,)``, share of the positive relevance that lies on the object.
        area: ``(batch,)``, share of the pixels that the object covers: what chance gives.
        hit: ``(batch,)``, whether the largest value lies on the object.
    """

    inside: Float[Tensor, " batch"]
    area: Float[Tensor, " batch"]
    hit: Bool[Tensor, " batch"]


@checked
def mosaics(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    count: int = MOSAICS,
    generator: Generator | None = None,
) -> Mosaics:
    """Arrange confidently and rightly classified images into 2 x 2 mosaics.

    Args:
        classifier: A network that takes images of twice the size; otherwise mosaics are shrunk,
            as are those of images of at least `LARGE` pixels, which stay readable at half size
            and would cost four times as much.
        images: ``(batch, channel, height, width)``.
        labels: ``(batch,)``, true classes.
        count: How many mosaics.
        generator: Chooses the images; by default one with seed 0.

    Raises:
        UsageError: If fewer than four classes have an image that the network gets right.
    """
    drawn = source(generator)
    with classifier.probe() as probe:
        shares = probe.logits(images).softmax(dim=1)
    own = shares.gather(1, labels[:, None])[:, 0]
    right = shares.argmax(dim=1) == labels
    pools = []
    for label in sorted(set(labels.tolist())):
        rows = ((labels == label) & right).nonzero()[:, 0]
        if len(rows) > 0:
            pools.append(rows[own[rows].argsort(descending=True)][:16])
    if len(pools) < 4:
        raise UsageError(
            f"the network gets images of {len(pools)} classes right",
            expected="at least 4 classes, to make mosaics",
            hint="give more images",
        )
    chosen = []
    for _ in range(count):
        four = torch.randperm(len(pools), generator=drawn)[:4].tolist()
        picks = [int(torch.randint(len(pools[p]), (1,), generator=drawn)) for p in four]
        chosen.append(torch.stack([pools[p][i] for p, i in zip(four, picks, strict=True)]))
    rows = torch.stack(chosen)
    parts = images[rows]
    top, bottom = (
        torch.cat(list(parts[:, :2].unbind(1)), 3),
        torch.cat(list(parts[:, 2:].unbind(1)), 3),
    )
    whole = torch.cat([top, bottom], dim=2)
    shrunk = min(images.shape[2:]) >= LARGE or not _takes(classifier, whole[:1])
    if shrunk:
        size = (images.shape[2], images.shape[3])
        whole = F.interpolate(whole, size=size, mode="area")
    return Mosaics(images=whole, targets=labels[rows], shrunk=shrunk)


def pointing(explanation: Explanation) -> Tensor:
    """Share of positive relevance in the right quarter of each mosaic, ``(mosaic, 4)``.

    Args:
        explanation: Maps of mosaics for the four classes in the order of `Mosaics.targets`.

    Returns:
        Chance gives 0.25; so do maps without positive relevance.

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
    own = torch.diagonal(quarters, dim1=1, dim2=2)
    return torch.where(total > 0, own / total.clamp_min(1e-30), torch.full_like(own, 0.25))


def localization(explanation: Explanation, masks: Tensor) -> Localization:
    """Compare the first map of each image with the true mask of its object.

    Args:
        explanation: Maps of any origin.
        masks: ``(batch, height, width)``, True on the object.

    Raises:
        UsageError: If masks and maps differ in size.

    Example:
        >>> maps = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> found = Explanation(images=maps, maps=maps, targets=torch.zeros(1, 1).long(),
        ...                     method="own", class_names=("a",))
        >>> localization(found, torch.tensor([[[True, False], [False, False]]])).inside
        tensor([0.5000])
    """
    maps = explanation.maps[:, 0].clamp_min(0)
    if masks.shape != maps.shape:
        raise UsageError(
            f"masks have shape {tuple(masks.shape)}", code="U11", expected=str(tuple(maps.shape))
        )
    flat, on = maps.flatten(1), masks.flatten(1).to(maps.device).bool()
    total = flat.sum(dim=1)
    area = on.float().mean(dim=1)
    inside = torch.where(total > 0, (flat * on).sum(dim=1) / total.clamp_min(1e-30), area)
    top = explanation.maps[:, 0].flatten(1).argmax(dim=1, keepdim=True)
    return Localization(inside=inside, area=area, hit=on.gather(1, top)[:, 0])


def _takes(classifier: Classifier, images: Images) -> bool:
    """Whether the network runs on images of this size."""
    try:
        with classifier.probe() as probe:
            probe.logits(images)
    except (ModelContractError, RuntimeError, ValueError, IndexError):
        return False
    return True
