"""Features of images: what enters a network's last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope._identity import network_digest
from convscope._network.hooks import LayerInfo, plain_name, require_hooks
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, NumericalError
from convscope.probe import Probe
from convscope.types import Images

TOLERANCE = 1e-4
"""In log-probabilities: how far the outputs of the last layer may be from the network's."""

OFFERED = 8
"""Layers that a refusal names."""

VERSION = 1
"""Of what features are; another number makes caches worthless."""


@dataclass(frozen=True, kw_only=True)
class FeatureLayer:
    """Where features are taken.

    Attributes:
        layer: Name of the layer.
        inputs: Whether they are what the layer is given; else they are what it returns.
        size: Numbers per image.
        layout: What the axes of the layer's output are, see `convscope.probe.Probe.maps`.
    """

    layer: str
    inputs: bool
    size: int
    layout: str = "other"

    def __str__(self) -> str:
        """Such as ``"input of classifier, 1,280 numbers"``."""
        side = "input" if self.inputs else "output"
        pooled = not self.inputs and self.layout in POSITIONS
        return (
            f"{side} of {self.layer}, {self.size:,} numbers"
            f"{' (means over positions)' if pooled else ''}"
        )


POSITIONS = {"maps": (2, 3), "channels-last maps": (1, 2), "tokens": (1,)}
"""The axes of an output that are positions in the image."""


def feature_layer(classifier: Classifier, layer: str | None = None) -> FeatureLayer:
    """Where the features of a network are: in front of its last layer, or in a named one.

    The last layer is proven, not guessed from names: a dense layer (or a convolution of one
    position) whose output are the logits, up to a constant per image, on two random images. What
    enters it, after the network's last ReLU and pooling, is all that the logits depend on.

    Args:
        classifier: The network.
        layer: A layer whose output is taken instead; maps and tokens are averaged over positions.

    Raises:
        ModelContractError: M15 if no layer is proven to be the last, with layers that would do, or
            if the named layer has no features; M17 for networks that show no layers.
        UnknownLayer: If there is no such layer.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> print(feature_layer(classifier))
        input of 3, 3 numbers
    """
    require_hooks(classifier.module)
    shape = (2, *classifier.input_shape)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with classifier.probe() as probe:
        if layer is not None:
            name = plain_name(layer)
            returned = probe.activations(name, images)
            layout = _layout(probe, name)
            size = _pooled(name, returned, layout).shape[1]
            return FeatureLayer(layer=name, inputs=False, size=size, layout=layout)
        infos = probe.layers()
        right = probe.logits(images).log_softmax(dim=1)
        for info in reversed(infos):
            if not _may_be_last(classifier, info):
                continue
            scores = probe.activations(info.name, images).flatten(1)
            if not torch.allclose(scores.log_softmax(dim=1), right, atol=TOLERANCE):
                continue
            given = probe.activations_of([info.name], images, inputs=True)[info.name]
            if given.ndim == 2 or given.flatten(1).shape[1] == given.shape[1]:
                size = given.flatten(1).shape[1]
                return FeatureLayer(layer=info.name, inputs=True, size=size)
    raise _no_last_layer(infos)


def _may_be_last(classifier: Classifier, info: LayerInfo) -> bool:
    """A dense layer, or a convolution of one position, with as many outputs as classes."""
    try:
        module = classifier.module.get_submodule(info.path)
    except AttributeError:
        return False
    one_each = info.output_shape in (
        (classifier.num_classes,),
        (classifier.num_classes, 1, 1),
    )
    return one_each and isinstance(module, nn.Linear | nn.Conv2d)


def _no_last_layer(infos: Sequence[LayerInfo]) -> ModelContractError:
    names = list(dict.fromkeys(info.label for info in infos if info.is_leaf))
    return ModelContractError(
        "no dense layer of the network returns its logits",
        code="M15",
        expected="one whose input are the features",
        hint=f"name a layer whose output to take: --layer {names[-2] if len(names) > 1 else 'NAME'}"
        f" (the last are {', '.join(names[-OFFERED:])})",
    )


def _layout(probe: Probe, layer: str) -> str:
    layouts = probe.maps().layouts
    calls = [name for name in layouts if name == layer or name.rpartition("#")[0] == layer]
    return layouts[calls[-1]] if calls else "other"


def _pooled(layer: str, values: Tensor, layout: str) -> Float[Tensor, "batch feature"]:
    """One vector per image.

    Raises:
        ModelContractError: M15 if nobody knows which axes are positions.
    """
    if values.ndim == 2:
        return values
    if layout in POSITIONS:
        return values.mean(dim=POSITIONS[layout])
    if values.ndim > 2 and values[0].numel() == values.shape[1]:
        return values.flatten(1)
    raise ModelContractError(
        f"layer {layer!r} has outputs of shape {tuple(values.shape[1:])}, and it is not known "
        "which of their axes are positions in the image",
        code="M15",
        expected="a vector, maps or tokens per image",
    )


def layer_features(
    probe: Probe, images: Images, where: FeatureLayer
) -> Float[Tensor, "batch feature"]:
    """Features of a batch, as they are.

    Args:
        probe: An open probe of the network.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        where: From `feature_layer`.

    Raises:
        NumericalError: M11 if one is NaN or infinite.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images = torch.rand(3, 1, 2, 2)
        >>> with classifier.probe() as probe:
        ...     found = layer_features(probe, images, feature_layer(classifier))
        >>> bool((found == images.flatten(1)).all())
        True
    """
    given = probe.activations_of([where.layer], images, inputs=where.inputs)[where.layer]
    found = given.flatten(1) if where.inputs else _pooled(where.layer, given, where.layout)
    if not bool(found.isfinite().all()):
        raise NumericalError(
            f"the {'input' if where.inputs else 'output'} of {where.layer} is NaN or infinite for "
            "some images",
            code="M11",
        )
    return found.float().cpu()


def network_key(classifier: Classifier, where: FeatureLayer) -> str:
    """A hash of all that features depend on but the image: weights, preprocessing, layer.

    The code of a network cannot be hashed. Whoever trusts this key checks a few images anew.
    """
    return network_digest(classifier, VERSION, where)
