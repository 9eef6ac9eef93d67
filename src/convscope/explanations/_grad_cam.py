"""Class activation maps of a layer: Grad-CAM, HiResCAM, LayerCAM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope._arguments import checked
from convscope._network.hooks import plain_name
from convscope._network.maps import Maps
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations._result import Explanation, Targets, known_targets, targets_of
from convscope.explanations._streamed import index_chunks
from convscope.types import Images


@dataclass(frozen=True)
class _Rule:
    """How a method makes maps of activations and gradients.

    Attributes:
        method: Its name.
        reduce: From activations and the gradient of one class, both ``(batch, map, height,
            width)``, what is kept of them, ``(batch, ...)``.
        combine: From what is kept of all classes, ``(batch, target, kept)``, and the activations,
            maps ``(batch, target, height * width)``.
    """

    method: str
    reduce: Callable[[Tensor, Tensor], Tensor]
    combine: Callable[[Tensor, Tensor], Tensor]


@checked
def grad_cam(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    layer: str | None = None,
) -> Explanation:
    """Activations of a layer, each map weighted by the mean of its gradient.

    The graph is cut at the layer, so a class costs one backward pass through what follows it.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        layer: Where to look; by default the last layer of maps, or of tokens of which each has a
            place, that everything the logits know of the image passes through.

    Returns:
        Maps ``(batch, target, height, width)``, enlarged to the image by bilinear interpolation,
        raw and signed: no ReLU and no scaling, which belong to the picture. ``evidence["coarse"]``
        has the layer's own size.

    Raises:
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if the layer's outputs have no places in the image, or if the
            network has no late layer whose outputs have.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Flatten(),
        ...                           torch.nn.Linear(48, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> grad_cam(classifier, torch.rand(5, 1, 4, 4), "all").maps.shape
        torch.Size([5, 2, 4, 4])

    Source:
        Selvaraju et al., "Grad-CAM", 2017; the ReLU of its equation 2 is left to the picture.
    """
    return _cam(_GRAD_CAM, classifier, images, targets, layer)


@checked
def hires_cam(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    layer: str | None = None,
) -> Explanation:
    """Activations of a layer times their gradient, place by place.

    Where only linear layers follow, a map adds up to the logit without its bias. Where global
    average pooling and one linear layer follow, maps are those of Grad-CAM.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        layer: Where to look; by default the last layer of maps, or of tokens of which each has a
            place, that everything the logits know of the image passes through.

    Returns:
        Signed maps ``(batch, target, height, width)`` as those of `grad_cam`.

    Raises:
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if the layer's outputs have no places in the image, or if the
            network has no late layer whose outputs have; or if the sums cancel, as they do where
            a normalization of each place follows.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Flatten(),
        ...                           torch.nn.Linear(4, 2, bias=False))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> relevance = hires_cam(classifier, images, "all", layer="0")
        >>> torch.allclose(relevance.maps.sum(dim=(2, 3)), net(images))
        True

    Source:
        Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of
        convolutional neural networks", 2020, equation 6.
    """
    return _cam(_HIRES_CAM, classifier, images, targets, layer)


@checked
def layer_cam(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    layer: str | None = None,
) -> Explanation:
    """Activations of a layer times the positive part of their gradient, place by place.

    Made for early layers too, whose finer maps Grad-CAM blurs by its mean: choose one by `layer`.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``.
        layer: Where to look; by default the last layer of maps, or of tokens of which each has a
            place, that everything the logits know of the image passes through.

    Returns:
        Maps ``(batch, target, height, width)`` as those of `grad_cam`; not negative where
        activations are not, as behind a ReLU.

    Raises:
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if the layer's outputs have no places in the image, or if the
            network has no late layer whose outputs have.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> net[2].weight.data = torch.tensor([[3.0, -1.0, 0.0, 2.0], [0.0] * 4])
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> layer_cam(classifier, torch.ones(1, 1, 2, 2), 0, layer="0").maps[0, 0]
        tensor([[3., 0.],
                [0., 2.]])

    Source:
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        2021, equations 5 and 6; one layer here, no fusion of several.
    """
    return _cam(_LAYER_CAM, classifier, images, targets, layer)


def _mean_gradient(activations: Tensor, gradient: Tensor) -> Tensor:
    """Weights of maps, ``(batch, map)``."""
    return gradient.mean(dim=(2, 3))


def _product(activations: Tensor, gradient: Tensor) -> Tensor:
    """Relevance of places, ``(batch, height, width)``."""
    return (gradient * activations).sum(dim=1)


def _positive_product(activations: Tensor, gradient: Tensor) -> Tensor:
    """Relevance of places by positive gradients, ``(batch, height, width)``."""
    return (gradient.clamp_min(0) * activations).sum(dim=1)


def _weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """Sum over maps of weight times activation."""
    return torch.bmm(weights, activations.flatten(2))


def _relevance(relevance: Tensor, activations: Tensor) -> Tensor:
    """Relevance of places is the map already."""
    return relevance


_GRAD_CAM = _Rule("grad-cam", _mean_gradient, _weighted_sum)
_HIRES_CAM = _Rule("hires-cam", _product, _relevance)
_LAYER_CAM = _Rule("layer-cam", _positive_product, _relevance)


def _cam(
    rule: _Rule, classifier: Classifier, images: Images, targets: Targets, layer: str | None
) -> Explanation:
    known = known_targets(classifier, images, targets)
    small: Tensor | None = None
    logits, classes = [], []
    with classifier.probe() as probe:
        name = probe.last_spatial_layer() if layer is None else plain_name(layer)
        remark = probe.require_maps(name)
        kind = ", ".join(filter(None, (probe.kind(name), probe.places(name))))
        as_maps = partial(probe.as_maps, name)
        balance = _Balance() if rule is _HIRES_CAM else None
        reduce = partial(_reduced, name, rule.reduce, as_maps, balance)
        for rows in index_chunks(probe, len(images)):
            asked = None if known is None else known[rows].to(images.device)
            at_layer = probe.layer_gradients(
                name, images[rows.to(images.device)], asked, reduce=reduce
            )
            activations = as_maps(at_layer.activations)
            maps = rule.combine(at_layer.gradients, activations)
            maps = maps.view(*maps.shape[:2], *activations.shape[2:])
            small = maps.new_empty(len(images), *maps.shape[1:]) if small is None else small
            small[rows[0] : rows[-1] + 1] = maps
            logits.append(at_layer.logits)
            classes.append(targets_of(asked, at_layer.logits))
        if balance is not None and balance.cancelled:
            raise _cancelled(name, probe.maps())
    assert small is not None
    size = (images.shape[2], images.shape[3])
    return Explanation(
        images=images,
        maps=F.interpolate(small, size=size, mode="bilinear", align_corners=False),
        targets=torch.cat(classes),
        method=rule.method,
        signed=True,
        class_names=classifier.class_names,
        logits=torch.cat(logits),
        layer=name,
        layer_kind=kind,
        evidence={"coarse": small},
        cost=probe.cost(),
        remarks=(remark,) if remark else (),
    )


def _reduced(
    layer: str,
    reduce: Callable[[Tensor, Tensor], Tensor],
    as_maps: Callable[[Tensor], Tensor],
    balance: _Balance | None,
    activations: Tensor,
    gradient: Tensor,
) -> Tensor:
    """What is kept of one class, ``(batch, kept)``.

    Raises:
        ModelContractError: M15 if the layer's outputs are no maps.
    """
    activations, gradient = as_maps(activations), as_maps(gradient)
    if activations.ndim != 4:
        raise ModelContractError(
            f"layer {layer!r} has outputs of shape {tuple(activations.shape[1:])}",
            code="M15",
            expected="a layer of maps: (map, height, width)",
        )
    found = reduce(activations, gradient)
    if balance is not None:
        balance.add(found, activations, gradient)
    return found.flatten(1)


CANCELLED = 2e-3
"""Share of the summands that is left of a sum which is zero but for rounding and the epsilon of a
normalization: 2e-7 to 2e-4 was measured before layer normalizations, 0.04 to 1 elsewhere."""


class _Balance:
    """Whether what channels add and take away leaves more than rounding."""

    def __init__(self) -> None:
        self.sums, self.summands = 0.0, 0.0

    def add(self, sums: Tensor, activations: Tensor, gradient: Tensor) -> None:
        if sums.numel():
            self.sums = max(self.sums, float(sums.abs().amax()))
            parts = (activations * gradient).abs().sum(dim=1)
            self.summands = max(self.summands, float(parts.amax()))

    @property
    def cancelled(self) -> bool:
        return self.sums < CANCELLED * self.summands


def _cancelled(layer: str, maps: Maps) -> ModelContractError:
    names = list(maps.orders)
    usable = {*maps.whole, *maps.branches}
    behind = [name for name in names[names.index(layer) + 1 :] if name in usable]
    return ModelContractError(
        f"activations times gradients of layer {layer!r} add up to zero but for rounding, as they "
        "do before a normalization of each place: the map would be noise",
        code="M15",
        expected="a layer behind a normalization",
        hint=f"choose one with layer=, such as {behind[0]!r}, or use grad-cam"
        if behind
        else "use grad-cam",
    )
