"""Units to maximize: logits, the maps of a layer, or one neuron of each map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convscope._network.hooks import find_layer, layer_label, plain_name
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import LayerInfo

LOGITS = "logits"

At = Literal["mean", "center"] | tuple[int, int]
"""Where in a map: its mean, its central neuron, or the neuron at (row, column)."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSelection:
    """Some channels of one layer, and the neuron of each.

    Attributes:
        layer: ``"logits"`` or the name of a layer.
        channels: ``(unit,)``.
        names: One per unit, for captions.
        position: (row, column) of the neuron, or ``None``: the mean of the map.
        kind: Class of the module.
    """

    layer: str
    channels: Tensor
    names: tuple[str, ...]
    position: tuple[int, int] | None
    kind: str = ""

    @property
    def stop_at(self) -> str | None:
        """Where the network may stop."""
        return None if self.layer == LOGITS else self.layer

    def activations_of(self, outputs: Tensor) -> Tensor:
        """Activation of every unit for every image, ``(batch, unit)``."""
        chosen = outputs[:, self.channels.to(outputs.device)]
        if chosen.ndim == 2:
            return chosen
        if self.position is None:
            return chosen.flatten(2).mean(dim=2)
        return chosen[:, :, self.position[0], self.position[1]]

    def own_activation(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Activation of unit ``rows[i]`` for image i, ``(batch,)``."""
        index = torch.arange(len(rows), device=outputs.device)
        chosen = outputs[index, self.channels.to(outputs.device)[rows.to(outputs.device)]]
        if chosen.ndim == 1:
            return chosen
        if self.position is None:
            return chosen.flatten(1).mean(dim=1)
        return chosen[:, self.position[0], self.position[1]]


def select_units(
    classifier: Classifier,
    spec: str,
    at: str | tuple[int, int],
    layers: tuple[LayerInfo, ...] | None = None,
) -> UnitSelection:
    """Parse ``"logits"``, ``"logits:3"``, ``"pool2:0-9"`` or ``"conv1:0,4,7"``.

    Args:
        classifier: The classifier that has the units.
        spec: Layer, and after a colon the channels; without one, all of them.
        at: Where in a map; see `At`.
        layers: What ``classifier.layers()`` gives, if it is known already.

    Raises:
        UnknownLayer: If there is no such layer.
        UsageError: If channels or position do not exist.
    """
    layer, _, which = spec.rpartition(":") if ":" in spec else (spec, "", "")
    layer, kind = plain_name(layer), ""
    if layer == LOGITS:
        shape: tuple[int, ...] = (classifier.num_classes,)
    else:
        info = _channels_of(layers or classifier.layers(), layer)
        shape, kind = info.output_shape, info.kind
    channels = _numbers(which, shape[0], spec)
    position = None
    if len(shape) == 3:
        position = _position(at, shape)
    if layer == LOGITS:
        names = tuple(classifier.class_names[number] for number in channels)
    else:
        where = "" if position is None else f" at {position[0]}, {position[1]}"
        label = layer_label(layer, kind)
        names = tuple(f"{label}:{number}{where}" for number in channels)
    return UnitSelection(
        layer=layer, channels=torch.tensor(channels), names=names, position=position, kind=kind
    )


def _channels_of(layers: tuple[LayerInfo, ...], name: str) -> LayerInfo:
    find_layer(layers, name)
    for info in reversed(layers):
        if name in (info.name, info.name.rpartition("#")[0]):
            if len(info.output_shape) not in (1, 3):
                break
            return info
    raise UsageError(
        f"layer {info.label!r} has outputs of shape {info.output_shape}",
        expected="a layer of channels: (channel,) or (channel, height, width)",
    )


def _numbers(which: str, count: int, spec: str) -> list[int]:
    if not which:
        return list(range(count))
    channels: list[int] = []
    for part in which.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(
                f"cannot read {part!r} in units {spec!r}",
                code="U05",
                expected="channels such as pool2:3, pool2:0-9 or pool2:0,4,7",
            )
        if dash and int(last) < int(first):
            raise UsageError(
                f"{part.strip()} counts down in units {spec!r}",
                code="U05",
                expected=f"the smaller number first: {last}-{first}",
            )
        channels.extend(range(int(first), int(last or first) + 1))
    wrong = [number for number in channels if number >= count]
    if wrong or not channels:
        raise UsageError(
            f"no unit {wrong[0] if wrong else which} in {spec!r}",
            code="U05",
            expected=f"0 to {count - 1}",
        )
    return channels


def _position(at: str | tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int] | None:
    if at == "mean":
        return None
    if at == "center":
        return shape[1] // 2, shape[2] // 2
    if isinstance(at, tuple) and len(at) == 2 and 0 <= at[0] < shape[1] and 0 <= at[1] < shape[2]:
        return at
    raise UsageError(
        f"at={at!r}",
        code="U05",
        expected=f"'mean', 'center' or (row, column) within {shape[1]} x {shape[2]}",
    )
