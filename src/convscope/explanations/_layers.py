"""Filters of convolutions and activations of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convscope._arguments import checked
from convscope._network.hooks import layer_label, plain_name, require_hooks
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer, UsageError
from convscope.explanations._result import FeatureMaps, Filters, LayerMaps, known_targets
from convscope.probe import LayerInfo
from convscope.types import Images


@checked
def filters(
    classifier: Classifier, layer: str | None = None, *, seen_map: int | None = None
) -> Filters:
    """The filters of a convolution, each stretched to the full range of gray or color.

    Filters of three color channels become color pictures. Deeper filters have many channels; their
    picture is the slice for one of them.

    Args:
        classifier: The classifier to look into.
        layer: Name of a convolution; by default the first.
        seen_map: Which input map's weights to show; by default map 0 where a choice is needed.

    Returns:
        Raw weights, and pictures ``(filter, 1 or 3, height, width)``.

    Raises:
        UnknownLayer: If `layer` is not a 2-D convolution of the network.
        UsageError: If the filters have no input map of that number.
        ModelContractError: M15 if the network has no convolution.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten())
        >>> classifier = Classifier.wrap(net, input_shape=(1, 5, 5))
        >>> filters(classifier).pictures.shape
        torch.Size([4, 1, 3, 3])
    """
    require_hooks(classifier.module)
    convolutions = [
        name for name, module in classifier.module.named_modules() if isinstance(module, nn.Conv2d)
    ]
    if not convolutions:
        raise ModelContractError(
            "the network has no nn.Conv2d module",
            code="M15",
            expected="at least one, to show the filters of",
            hint="look at pixels instead: saliency, occlusion",
        )
    name = convolutions[0] if layer is None else plain_name(layer)
    if name not in convolutions:
        shown = [layer_label(one, "Conv2d") for one in convolutions]
        raise UnknownLayer(
            f"no convolution named {name!r}; this network has {', '.join(shown)}",
            code="M15",
        )
    with classifier.probe() as probe:
        weights = probe.weight(name)
    seen = weights.shape[1]
    colored = seen == 3 and classifier.input_shape[0] == 3 and name == convolutions[0]
    if seen_map is None and not colored and seen > 1:
        seen_map = 0
    if seen_map is not None:
        if not 0 <= seen_map < seen:
            raise UsageError(
                f"the filters of {name!r} see no map {seen_map}",
                code="U05",
                expected=f"0 to {seen - 1}",
            )
        weights = weights[:, seen_map : seen_map + 1]
    low, high = weights.flatten(1).amin(dim=1), weights.flatten(1).amax(dim=1)
    return Filters(
        layer=name,
        layer_kind=type(classifier.module.get_submodule(name)).__name__,
        weights=weights,
        pictures=_stretched(weights, low, high),
        low=low,
        high=high,
        seen_map=seen_map,
        columns=_columns(len(weights)),
    )


def _stretched(weights: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each filter to [0, 1]; a constant one to mid-gray."""
    spread = (high - low)[:, None, None, None]
    stretched = (weights - low[:, None, None, None]) / torch.where(spread > 0, spread, 1)
    return torch.where(spread > 0, stretched, torch.full_like(stretched, 0.5))


def _columns(count: int) -> int:
    """The widest row of at most 16 that divides `count` evenly, else 8."""
    even = [columns for columns in range(4, 17) if count % columns == 0]
    return max(even) if even else min(count, 8)


RECTIFIERS = ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SiLU", "GELU", "Hardswish", "Mish")


@checked
def feature_maps(
    classifier: Classifier, images: Images, layers: Sequence[str] | str | None = None
) -> FeatureMaps:
    """Activations of layers, with dead and selective maps pointed out.

    Args:
        classifier: The classifier to look into.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        layers: Names; or ``None``: an early, a middle and a late one (of the activation
            functions if the network has such modules, else of the convolutions).

    Returns:
        Raw maps per layer, from one forward pass that stops at the deepest.

    Raises:
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if a layer's output is not a stack of maps.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> classifier = Classifier.wrap(net, input_shape=(1, 5, 5))
        >>> [(entry.layer, entry.maps.shape[1:]) for entry in
        ...     feature_maps(classifier, torch.rand(2, 1, 5, 5)).layers]
        [('1', torch.Size([4, 3, 3]))]
    """
    images = classifier.check_images(images)
    known_targets(classifier, images, None)
    with classifier.probe() as probe:
        if layers is None:
            layouts = probe.maps().layouts
            names = default_layers([x for x in probe.layers() if layouts.get(x.name) == "maps"])
        else:
            names = [plain_name(x) for x in ([layers] if isinstance(layers, str) else layers)]
        for name in names:
            probe.require_maps(name)
        activations = probe.activations_of(names, images)
        kinds = {name: probe.kind(name) for name in names}
    for name, maps in activations.items():
        if maps.ndim != 4:
            raise ModelContractError(
                f"layer {name!r} has outputs of shape {tuple(maps.shape[1:])}",
                code="M15",
                expected="a layer of maps: (map, height, width)",
            )
    return FeatureMaps(
        images=images,
        layers=tuple(_described(name, kinds[name], activations[name]) for name in names),
        cost=probe.cost(),
    )


def default_layers(infos: Sequence[LayerInfo]) -> list[str]:
    """An early, a middle and a late layer of maps.

    Raises:
        ModelContractError: M15 if the network has no layer of maps.
    """
    spatial = [x for x in infos if x.is_leaf and len(x.output_shape) == 3]
    spatial = [x for x in spatial if max(x.output_shape[1:]) > 1] or spatial
    for kinds in (RECTIFIERS, ("Conv2d",)):
        names = [x.name for x in spatial if x.kind in kinds]
        if names:
            break
    else:
        names = [x.name for x in spatial]
    if not names:
        raise ModelContractError(
            "the network has no module whose output is (image, channel, row, column)",
            code="M15",
            expected="a layer of maps",
            hint="look at pixels instead: saliency, occlusion",
        )
    return list(dict.fromkeys([names[0], names[(len(names) - 1) // 2], names[-1]]))


def _described(layer: str, kind: str, maps: Tensor) -> LayerMaps:
    low, high = maps.amin(dim=(0, 2, 3)), maps.amax(dim=(0, 2, 3))
    means = maps.mean(dim=(2, 3))
    best = means.amax(dim=0)
    rest = (means.sum(dim=0) - best) / max(len(means) - 1, 1)
    size = best.abs() + rest.abs()
    dead = high == low
    if len(means) == 1:
        selectivity = torch.zeros_like(best)
    else:
        selectivity = torch.where(dead | (size == 0), 0, (best - rest) / size.clamp_min(1e-30))
    return LayerMaps(
        layer=layer,
        layer_kind=kind,
        maps=maps,
        low=low,
        high=high,
        dead=dead,
        selectivity=selectivity,
        most_selective=selectivity.argsort(descending=True, stable=True),
    )
