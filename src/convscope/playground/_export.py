"""A network as a page holds it, proven to predict what the original predicts."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope._network.black_box import refuse_black_box
from convscope._network.hooks import plain_name
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.explanations import grad_cam
from convscope.playground._nodes import Node, refusal
from convscope.playground._quantize import WIDTHS, Stored, as_text, pack, store, widths
from convscope.playground._run import run
from convscope.playground._trace import trace
from convscope.progress import announce
from convscope.types import Images

VERSION = 1

TOLERANCE = 1e-3
"""How far a probability on the page may be from the network's own."""

AIM = 6e-4
"""What weights are stored for: the images at hand are a sample of those that will come."""

CHUNK = 64

LARGEST = 1_500_000
"""Bytes of a network inside a page."""


@readable
@dataclass(frozen=True, kw_only=True)
class PlayableNetwork:
    """What a page needs to run a network. A notebook shows it, to be drawn for.

    Attributes:
        graph: Operations, shapes, class names and how images are brought to size; plain values.
        weights: All weights as text, which ``weights.js`` decodes.
        bits: Per weight of the large layers.
        difference: Largest difference of a probability from the network's own on the images that
            were compared.
        compared: How many images that were.
    """

    graph: dict[str, Any]
    weights: str
    bits: int
    difference: float
    compared: int

    @property
    def size(self) -> int:
        """Bytes inside a page."""
        return len(self.weights) + len(json.dumps(self.graph, separators=(",", ":")))

    def headline(self) -> str:
        """What it is and how large."""
        return f"a network for a page, {self.size / 1e6:.2f} MB"

    def _repr_html_(self) -> str | None:
        """The network in a sandboxed frame; ``None``, and so its sentence, if it is too large."""
        try:
            # By name: pages are made of networks, so the arrow points the other way.
            found: str | None = importlib.import_module("convscope.pages").framed_network(self)
            return found
        except Exception:  # A notebook shows the sentence instead of a traceback.
            return None


def playable_network(
    classifier: Classifier, images: Images, *, largest: int = LARGEST
) -> PlayableNetwork:
    """Make a classifier small enough for a page, and prove that it still predicts the same.

    The network is traced by `torch.fx` in a private copy, batch normalization becomes part of the
    convolution before it, and weights become whole multiples of one number per row, with as few
    bits as keep every probability where it was. What the page will compute is then computed here,
    from the stored weights, and compared with the network.

    Args:
        classifier: Any network of convolutions, dense layers, normalization, common activations,
            pooling, sums, products and concatenations, connected in any way.
        images: ``(batch, channel, height, width)``, pixels in [0, 1], to compare on.
        largest: Bytes that it may have inside a page.

    Returns:
        Graph and weights.

    Raises:
        ModelContractError: M26 for a black box; M27 with the name of the layer that the page
            cannot do, or if predictions differ; M28 if it is too large.
        UsageError: U05 without images.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> made = playable_network(Classifier.wrap(net, input_shape=(1, 2, 2)),
        ...                         torch.rand(8, 1, 2, 2))
        >>> [node["op"] for node in made.graph["nodes"]], made.difference < 1e-5
        (['input', 'reshape', 'linear'], True)
    """
    refuse_black_box(classifier.module, "layers")
    images = classifier.check_images(images).cpu()
    if not len(images):
        raise UsageError("there are no images to compare on", code="U05", expected="at least one")
    traced = trace(classifier)
    found = [
        (node, name, tensor)
        for node in traced.nodes
        for name, tensor in node.tensors.items()
        if tensor is not None
    ]
    numbers = sum(tensor.numel() for _, _, tensor in found)
    if numbers * WIDTHS[0] / 8 > largest:
        raise _too_large(int(numbers * WIDTHS[0] / 8), largest)
    with classifier.probe() as probe:
        truth = probe.logits(images).softmax(dim=1).cpu()
    bits, stored, difference = _narrowest(traced.nodes, found, images, truth)
    if not difference <= TOLERANCE:
        raise refusal(
            "the network",
            f"a probability differs by {difference:.1e} from the network's own, more than "
            f"{TOLERANCE:g}",
        )
    graph = describe(classifier, traced.nodes, found, stored)
    graph["cam"] = camera(classifier, images, traced.places, traced.nodes)
    made = PlayableNetwork(
        graph=graph,
        weights=pack(stored),
        bits=bits,
        difference=difference,
        compared=len(images),
    )
    if made.size > largest:
        raise _too_large(made.size, largest)
    return made


def _too_large(size: int, largest: int) -> ModelContractError:
    return ModelContractError(
        f"the network needs {size / 1e6:.1f} MB inside a page",
        code="M28",
        expected=f"at most {largest / 1e6:.1f} MB",
        hint="leave --playable out, or take a smaller network",
    )


def _narrowest(
    nodes: Sequence[Node],
    found: Sequence[tuple[Node, str, Tensor]],
    images: Tensor,
    truth: Tensor,
) -> tuple[int, list[Stored], float]:
    """The fewest bits per weight that keep all probabilities within `AIM`; else 32."""
    sizes = [tensor.numel() for _, _, tensor in found]
    for tried, bits in enumerate((*WIDTHS, 32)):
        announce(tried / (len(WIDTHS) + 1), f"{bits} bits per weight")
        stored = [
            store(tensor, width)
            for (_, _, tensor), width in zip(found, widths(sizes, bits), strict=True)
        ]
        difference = _difference(_with(nodes, found, stored), images, truth)
        if difference <= AIM:
            break
    return bits, stored, difference


def _with(
    nodes: Sequence[Node], found: Sequence[tuple[Node, str, Tensor]], stored: Sequence[Stored]
) -> list[Node]:
    """The nodes with the weights that the page will decode."""
    values: dict[int, dict[str, Tensor | None]] = {}
    for (node, name, _), kept in zip(found, stored, strict=True):
        values.setdefault(id(node), dict(node.tensors))[name] = kept.values
    return [replace(node, tensors=values.get(id(node), node.tensors)) for node in nodes]


def _difference(nodes: Sequence[Node], images: Tensor, truth: Tensor) -> float:
    """The largest difference of a probability; infinity where the classes differ, or for NaN."""
    worst = 0.0
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        found = run(nodes, images[rows]).softmax(dim=1)
        far = float((found - truth[rows]).abs().max())
        if not far <= AIM:
            return far if far == far else float("inf")
        worst = max(worst, far)
    return worst


def describe(
    classifier: Classifier,
    nodes: Sequence[Node],
    found: Sequence[tuple[Node, str, Tensor]],
    stored: Sequence[Stored],
) -> dict[str, Any]:
    """The graph as plain values; nodes name their weights by number in `stored`."""
    numbers = {(id(node), name): k for k, (node, name, _) in enumerate(found)}
    described = []
    for node in nodes:
        entry: dict[str, Any] = {
            "op": node.op,
            "from": list(node.sources),
            "shape": list(node.shape),
            "name": node.name,
            **node.settings,
        }
        for name in node.tensors:
            entry[name] = numbers.get((id(node), name))
        if node.folded:
            entry["folded"] = True
        described.append(entry)
    return {
        "version": VERSION,
        "classes": list(classifier.class_names),
        "input": {"shape": list(classifier.input_shape), "rule": input_rule(classifier)},
        "tensors": [kept.about() for kept in stored],
        "nodes": described,
    }


def input_rule(classifier: Classifier) -> dict[str, Any]:
    """How the page brings an image to size: as the network's files are, or as digits are."""
    channels, height, width = classifier.input_shape
    digits = tuple(str(digit) for digit in range(10))
    if channels == 1 and height == width >= 14 and classifier.class_names == digits:
        return {"kind": "center", "box": round(height * 20 / 28)}
    resize = classifier.resize
    return {
        "kind": "resize",
        "shortest": None if resize is None else resize.shortest,
        "size": None if resize is None or resize.size is None else list(resize.size),
        "crop": None if resize is None or resize.crop is None else list(resize.crop),
        "filter": "bilinear" if resize is None else resize.resample,
        "center": "floor" if resize is None else resize.center,
    }


def camera(
    classifier: Classifier, images: Tensor, places: dict[str, int], nodes: Sequence[Node]
) -> int | None:
    """The node of the layer that `grad_cam` looks at by default, if there is one."""
    try:
        layer = grad_cam(classifier, images[:1], 0).layer
    except ModelContractError:
        return None
    place = places.get(plain_name(layer or ""))
    return place if place is not None and len(nodes[place].shape) == 3 else None


def example(image: Tensor, name: str, label: int) -> dict[str, Any]:
    """An image of a data set as a page holds it.

    Args:
        image: ``(channel, height, width)``, pixels in [0, 1] that were bytes.
        name: What to call it.
        label: Its class, or -1.
    """
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).contiguous().numpy().tobytes()
    return {"name": name, "label": label, "pixels": as_text(pixels)}


def page_data(
    network: PlayableNetwork, examples: Sequence[dict[str, Any]], *, epsilon: float
) -> dict[str, Any]:
    """What ``playground.js`` gets beside the weights.

    Args:
        network: The network.
        examples: What `example` makes.
        epsilon: Of the attack when the page opens, pixel units.
    """
    gray = network.graph["input"]["shape"][0] == 1
    most, step = (0.5, 0.01) if gray else (32 / 255, 1 / 255)
    return {
        "graph": network.graph,
        "examples": list(examples),
        "epsilon": {
            "start": min(most, round(epsilon / step) * step),
            "most": most,
            "step": step,
            "unit": "share" if gray else "levels",
        },
    }
