"""The inside of a network of any size, for a page that asks a server: layers, maps, arithmetic.

The graph is that of `playable_network` without its weights: what the page shows of a layer is the
same, whoever computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from convscope._network.black_box import refuse_black_box
from convscope.classifier import Classifier
from convscope.playground._export import TOLERANCE, camera, describe, input_rule
from convscope.playground._nodes import Node, refusal
from convscope.playground._run import values_until
from convscope.playground._trace import trace
from convscope.playground._unit_image import STEPS, unit_image
from convscope.types import Images


@dataclass(frozen=True, kw_only=True, eq=False)
class LayersSeen:
    """A traced network whose layers a page can show.

    Attributes:
        graph: As `PlayableNetwork.graph`, without weights; plain values.
        nodes: The operations, with the network's own weights.
    """

    graph: dict[str, Any]
    nodes: tuple[Node, ...]

    def maps(self, image: Tensor, layer: int) -> Tensor:
        """The outputs of a layer.

        Args:
            image: ``(channel, height, width)``, pixels in [0, 1].
            layer: Its place in ``graph["nodes"]``.

        Returns:
            ``(map, height, width)``.
        """
        return self._value(image, layer)

    def arithmetic(
        self, image: Tensor, layer: int, unit: int, row: int, column: int
    ) -> dict[str, Any]:
        """One output value of a convolution: what lies under the kernel, the weights, the sum.

        Args:
            image: ``(channel, height, width)``, pixels in [0, 1].
            layer: A convolution's place in ``graph["nodes"]``.
            unit: Which of its maps.
            row: Of the map.
            column: Of the map.

        Returns:
            ``channels`` (values, inside, weights, sum of each), ``bias``, ``total``, and what was
            asked for; plain values.
        """
        node = self.nodes[layer]
        x = self._value(image, node.sources[0])
        weight, bias = node.tensors["weight"], node.tensors["bias"]
        assert weight is not None
        s = node.settings
        in_group = weight.shape[1]
        first = unit // (node.shape[0] // s["groups"]) * in_group
        ys = [row * s["stride"][0] - s["padding"][0] + u * s["dilation"][0]
              for u in range(weight.shape[2])]  # fmt: skip
        xs = [column * s["stride"][1] - s["padding"][1] + v * s["dilation"][1]
              for v in range(weight.shape[3])]  # fmt: skip
        inside = [0 <= y < x.shape[1] and 0 <= z < x.shape[2] for y in ys for z in xs]
        channels = []
        for c in range(in_group):
            plane = x[first + c]
            values = [
                float(plane[y, z]) if known else 0.0
                for known, (y, z) in zip(inside, ((y, z) for y in ys for z in xs), strict=True)
            ]
            weights = weight[unit, c].flatten().tolist()
            total = sum(value * w for value, w in zip(values, weights, strict=True))
            channels.append({"values": values, "inside": inside, "weights": weights, "sum": total})
        own = 0.0 if bias is None else float(bias[unit])
        return {
            "layer": layer, "unit": unit, "row": row, "column": column, "first": first,
            "kernel": list(s["kernel"]), "channels": channels, "bias": own,
            "total": own + sum(channel["sum"] for channel in channels),
        }  # fmt: skip

    def unit_image(self, layer: int, unit: int) -> tuple[Tensor | None, float, int]:
        """An image that drives the value in the middle of a map up, made as the page makes it.

        Args:
            layer: Place in ``graph["nodes"]`` of a node with maps.
            unit: Which of its maps.

        Returns:
            The image ``(channel, height, width)``, or ``None`` if no step rose above the first; the
            value that it reaches; and how many steps there were.
        """
        return (*unit_image(self.nodes, layer, unit), STEPS)

    def _value(self, image: Tensor, layer: int) -> Tensor:
        return values_until(self.nodes, image[None].float().cpu(), layer)[0]


def layers_seen(classifier: Classifier, images: Images) -> LayersSeen:
    """Trace a network, and prove that the trace predicts what the network predicts.

    Args:
        classifier: Any network that `playable_network` can trace, of any size.
        images: ``(batch, channel, height, width)``, a few, pixels in [0, 1], to compare on.

    Raises:
        ModelContractError: M26 for a black box; M27 with the layer that cannot be followed, or if
            predictions differ.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(),
        ...                           torch.nn.Linear(8, 2))
        >>> seen = layers_seen(Classifier.wrap(net, input_shape=(1, 4, 4)), torch.rand(2, 1, 4, 4))
        >>> seen.graph["nodes"][1]["op"], seen.maps(torch.rand(1, 4, 4), 1).shape
        ('conv2d', torch.Size([2, 2, 2]))
    """
    refuse_black_box(classifier.module, "layers")
    images = classifier.check_images(images).cpu()
    traced = trace(classifier)
    with classifier.probe() as probe:
        truth = probe.logits(images).softmax(dim=1).cpu()
    found = values_until(traced.nodes, images, len(traced.nodes) - 1).softmax(dim=1)
    difference = float((found - truth).abs().max())
    if not difference <= TOLERANCE:
        raise refusal(
            "the network", f"a probability differs by {difference:.1e} from the network's own"
        )
    graph = describe(classifier, traced.nodes, (), ())
    graph["cam"] = camera(classifier, images, traced.places, traced.nodes)
    return LayersSeen(graph=graph, nodes=tuple(traced.nodes))


def nothing_seen(classifier: Classifier) -> dict[str, Any]:
    """The graph of a network whose layers cannot be shown: its images and its classes."""
    shape = list(classifier.input_shape)
    return {
        "version": 1,
        "classes": list(classifier.class_names),
        "input": {"shape": shape, "rule": input_rule(classifier)},
        "tensors": [],
        "nodes": [{"op": "input", "from": [], "shape": shape, "name": ""}],
        "cam": None,
    }
