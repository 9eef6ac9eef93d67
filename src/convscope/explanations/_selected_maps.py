"""The telling feature maps of a deep network: a few early, a few middle, a few late ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from convscope._arguments import checked
from convscope._network.hooks import layer_label, plain_name
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import ConvscopeError, ModelContractError, UsageError
from convscope.explanations._layers import default_layers
from convscope.explanations._result import known_targets
from convscope.models import summarize
from convscope.probe import Cost
from convscope.progress import announce
from convscope.types import Images

ALIKE = 0.8
"""Correlation from which two maps of a layer count as one."""

FRAMED = 7
"""Rows and columns from which the outermost do not count."""

BATCH = 16
"""Images whose maps are in memory at once."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSelection:
    """The most interesting feature maps of one layer, chosen for each image.

    Attributes:
        layer: Name of the layer.
        layer_kind: Class of the module.
        channels: ``(batch, map)``, which maps, the most interesting first.
        maps: ``(batch, map, height, width)``, raw activations.
        interest: ``(batch, map)``, by `interest`.
        of: Maps of the layer.
        receptive_field: Rows and columns of the image that one value depends on; None: unknown.
    """

    layer: str
    layer_kind: str
    channels: Int[Tensor, "batch map"]
    maps: Float[Tensor, "batch map height width"]
    interest: Float[Tensor, "batch map"]
    of: int
    receptive_field: tuple[int, int] | None

    @property
    def layer_label(self) -> str:
        """The layer as people are shown it: ``"7 (ReLU)"`` where it has a number for a name."""
        return layer_label(self.layer, self.layer_kind)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class SelectedMaps:
    """The most interesting feature maps of early, middle and late layers.

    Attributes:
        images: ``(batch, channel, height, width)``.
        layers: One entry per layer, in the order of the network.
        cost: Forwards, backwards, seconds.
    """

    images: Images
    layers: tuple[LayerSelection, ...]
    cost: Cost | None = None


def interest(
    maps: Float[Tensor, "batch map height width"],
) -> Float[Tensor, "batch map"]:
    """How much there is to see in each feature map, from 0 to 1: selective, spread, and strong.

    With ``a`` the distance of a map's values from their median, position by position:

    - *selectivity* ``1 - mean(a)^2 / mean(a^2)``, the sparseness of Treves and Rolls over
      positions: 0 if all positions answer alike, near 1 if few do.
    - *spread* ``exp(H) / n``, with ``H`` the entropy of ``a / sum(a)`` over the n positions: the
      share of the positions that answer, ``1 / n`` if it is a single one.
    - *strength* ``s / (s + m)``, with ``s`` the map's standard deviation and ``m`` its mean over
      the maps of the layer: maps that hardly answer are noise, however they are stretched.

    The interest is their product: neither a flat map nor a single bright dot scores, parts of the
    image do. The outermost rows and columns of a map do not count, if it has at least 7 of both:
    many maps answer to the zeros around the image there.

    Args:
        maps: Activations of one layer.

    Returns:
        0 for a map that is the same everywhere.

    Example:
        >>> maps = torch.zeros(1, 3, 4, 4)
        >>> maps[0, 1, :2] = 1.0  # The upper half answers.
        >>> maps[0, 2, 0, 0] = 1.0  # A dot.
        >>> interest(maps).argmax().item(), interest(maps)[0, 0].item()
        (1, 0.0)

    Source:
        A. Treves, E. T. Rolls, "What determines the capacity of autoassociative memories in the
        brain?", Network: Computation in Neural Systems 2, 1991; over responses to images in W. E.
        Vinje, J. L. Gallant, "Sparse coding and decorrelation in primary visual cortex during
        natural vision", Science 287, 2000.
    """
    inner = maps[:, :, 1:-1, 1:-1] if min(maps.shape[2:]) >= FRAMED else maps
    values = inner.flatten(2)
    a = (values - values.median(dim=2, keepdim=True).values).abs()
    tiny = torch.finfo(a.dtype).tiny
    a = a / a.amax(dim=2, keepdim=True).clamp_min(tiny)
    square = a.square().mean(dim=2)
    selectivity = 1 - a.mean(dim=2).square() / square.clamp_min(tiny)
    shares = a / a.sum(dim=2, keepdim=True).clamp_min(tiny)
    spread = torch.special.entr(shares).sum(dim=2).exp() / a.shape[2]
    deviation = values.std(dim=2, correction=0)
    strength = deviation / (deviation + deviation.mean(dim=1, keepdim=True)).clamp_min(tiny)
    found = selectivity.clamp_min(0) * spread * strength
    return torch.where(values.amax(dim=2) > values.amin(dim=2), found, 0.0).nan_to_num(0.0)


@checked
def selected_maps(
    classifier: Classifier,
    images: Images,
    layers: Sequence[str] | str | None = None,
    *,
    count: int = 5,
) -> SelectedMaps:
    """The few most interesting maps of an early, a middle and a late layer, for each image.

    Maps are ranked by `interest`. From the first on, each is taken unless it is nearly a copy of
    one that was taken (a correlation over positions of 0.8 or more, of either sign); if too few are
    left, the copies follow, and flat maps after those.

    Args:
        classifier: The classifier to look into.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        layers: Names; or ``None``: an early, a middle and a late one, as in `feature_maps`.
        count: Maps of each layer.

    Returns:
        The chosen maps with their layers' receptive fields. The maps of a few images are in memory
        at once, of all others only the chosen ones.

    Raises:
        UsageError: U05 for a count below 1.
        UnknownLayer: If there is no such layer.
        ModelContractError: M15 if a layer's output is not a stack of maps.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten())
        >>> classifier = Classifier.wrap(net, input_shape=(1, 9, 9))
        >>> found = selected_maps(classifier, torch.rand(2, 1, 9, 9), count=3)
        >>> found.layers[0].maps.shape, found.layers[0].receptive_field
        (torch.Size([2, 3, 7, 7]), (3, 3))
    """
    images = classifier.check_images(images)
    known_targets(classifier, images, None)
    if count < 1:
        raise UsageError(f"count is {count}", code="U05", expected="at least 1")
    fields = _fields(classifier)
    with classifier.probe() as probe:
        infos = probe.layers()
        if layers is None:
            layouts = probe.maps().layouts
            names = default_layers([x for x in infos if layouts.get(x.name) == "maps"])
        else:
            names = [plain_name(x) for x in ([layers] if isinstance(layers, str) else layers)]
        for name in names:
            probe.require_maps(name)
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in names}
        sizes: dict[str, int] = {}
        for start in range(0, len(images), BATCH):
            found = probe.activations_of(names, images[start : start + BATCH])
            for name, maps in found.items():
                if maps.ndim != 4:
                    raise ModelContractError(
                        f"layer {name!r} has outputs of shape {tuple(maps.shape[1:])}",
                        code="M15",
                        expected="a layer of maps: (map, height, width)",
                    )
                sizes[name] = maps.shape[1]
                parts[name].append(_chosen(maps, count))
            announce(min(start + BATCH, len(images)) / len(images))
        kinds = {name: probe.kind(name) for name in names}
    return SelectedMaps(
        images=images,
        layers=tuple(
            LayerSelection(
                layer=name,
                layer_kind=kinds[name],
                channels=torch.cat([channels for channels, _, _ in parts[name]]),
                maps=torch.cat([maps for _, maps, _ in parts[name]]),
                interest=torch.cat([scores for _, _, scores in parts[name]]),
                of=sizes[name],
                receptive_field=fields.get(name.partition("#")[0]),
            )
            for name in names
        ),
        cost=probe.cost(),
    )


def _fields(classifier: Classifier) -> dict[str, tuple[int, int] | None]:
    """Receptive fields by layer; unknown where the image is changed first, or nobody can tell."""
    if classifier.preprocess is not None:
        return {}
    try:
        rows = summarize(classifier.module, classifier.input_shape).rows
    except ConvscopeError:
        return {}
    return {row.name: row.receptive_field for row in rows}


def _chosen(maps: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, activations and interest of the maps chosen for each image."""
    scores = interest(maps)
    width = min(count, maps.shape[1])
    rows = torch.arange(len(maps))
    channels = torch.stack(
        [torch.tensor(_without_copies(x, s, width)) for x, s in zip(maps, scores, strict=True)]
    )
    return channels, maps[rows[:, None], channels].clone(), scores.gather(1, channels)


def _without_copies(maps: Tensor, scores: Tensor, count: int) -> list[int]:
    """The best `count` maps of an image, near copies of better ones last."""
    order = scores.argsort(descending=True, stable=True).tolist()
    centered = maps.flatten(1) - maps.flatten(1).mean(dim=1, keepdim=True)
    unit = torch.nn.functional.normalize(centered, dim=1)
    taken: list[int] = []
    copies: list[int] = []
    flat: list[int] = []
    for channel in order:
        if len(taken) == count:
            break
        if scores[channel] == 0:
            flat.append(channel)
            continue
        alike = taken and float((unit[taken] @ unit[channel]).abs().max()) >= ALIKE
        (copies if alike else taken).append(channel)
    return (taken + copies + flat)[:count]
