"""Which regions of a layer's maps speak for a class?"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, choose
from convscope.explanations._painted import chunks
from convscope.explanations._result import Explanation
from convscope.explanations._targets import Targets, known_targets, targets_of
from convscope.types import Images

VARIANTS = ("grad-cam", "hires", "layer")


def grad_cam(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    layer: str | None = None,
    variant: str = "grad-cam",
) -> Explanation:
    """Activations of a layer, weighted by what the logit owes to them.

    The graph is cut at the layer, so a class costs one backward pass through what follows it.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        layer: Where to look; by default the last layer whose output has a height and a width.
        variant: ``"grad-cam"``: one weight per map, the mean of its gradient; ``"hires"``:
            gradient times activation place by place; ``"layer"``: the same with positive
            gradients only.

    Returns:
        Maps ``(batch, target, height, width)``, enlarged to the image by bilinear interpolation,
        raw and signed: no ReLU and no scaling, which belong to the picture. ``evidence["coarse"]``
        has the layer's own size.

    Raises:
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if the layer has no maps.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Flatten(),
        ...                           torch.nn.Linear(48, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> grad_cam(classifier, torch.rand(5, 1, 4, 4), "all").maps.shape
        torch.Size([5, 2, 4, 4])

    Source:
        Selvaraju et al., "Grad-CAM", 2017; Draelos and Carin, "Use HiResCAM instead of Grad-CAM",
        2020; Jiang et al., "LayerCAM", 2021.
    """
    choose("variant", variant, VARIANTS)
    known = known_targets(classifier, images, targets)
    coarse, logits, classes = [], [], []
    with classifier.probe() as probe:
        name = probe.last_spatial_layer() if layer is None else layer
        reduce = partial(_reduced, name, variant)
        for rows in chunks(probe, len(images)):
            own = None if known is None else known[rows].to(images.device)
            seen = probe.from_layer(name, images[rows.to(images.device)], own, reduce=reduce)
            maps = seen.gradients
            if variant == "grad-cam":
                maps = torch.bmm(maps, seen.activations.flatten(2))
            coarse.append(maps.view(*maps.shape[:2], *seen.activations.shape[2:]))
            logits.append(seen.logits)
            classes.append(targets_of(own, seen.logits))
    small = torch.cat(coarse)
    size = (images.shape[2], images.shape[3])
    return Explanation(
        images=images,
        maps=F.interpolate(small, size=size, mode="bilinear", align_corners=False),
        targets=torch.cat(classes),
        method="grad-cam" if variant == "grad-cam" else f"{variant}-cam",
        class_names=classifier.class_names,
        logits=torch.cat(logits),
        layer=name,
        evidence={"coarse": small},
        cost=probe.cost(),
    )


def _reduced(layer: str, variant: str, activations: Tensor, gradient: Tensor) -> Tensor:
    """One class: weights of maps ``(batch, map)``, or relevance of places ``(batch, place)``."""
    if activations.ndim != 4:
        raise ModelContractError(
            f"layer {layer!r} has outputs of shape {tuple(activations.shape[1:])}",
            code="M15",
            expected="a layer of maps: (map, height, width)",
        )
    if variant == "grad-cam":
        return gradient.mean(dim=(2, 3))
    if variant == "layer":
        gradient = gradient.clamp_min(0)
    return (gradient * activations).sum(dim=1).flatten(1)
