"""Operations of a page's engine, and what collects them while a network is traced."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx

from convscope.errors import ModelContractError

ROWS = 2
"""Images of the example: two, so that an axis of images is told from others of length one."""


@dataclass
class Node:
    """One operation on one image.

    Attributes:
        op: As in ``nn.js``.
        sources: Numbers of the nodes it takes.
        shape: Of its result, without the axis of images.
        name: Of the layer, or empty where there is nothing to look at.
        settings: Numbers and lists.
        tensors: Weights by the names that the engine has for them; None: there is none.
        folded: Whether a batch normalization became part of the weights.
    """

    op: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    folded: bool = False


def refusal(layer: str, why: str) -> ModelContractError:
    """The error for what cannot be done on a page."""
    return ModelContractError(
        f"the playground cannot run {layer}: {why}",
        code="M27",
        expected="convolutions, dense layers, normalization, common activations, pooling, sums, "
        "products and concatenations",
        hint="leave --playable out; the rest of the report does not need it",
    )


@dataclass(frozen=True)
class Ref:
    """A value that depends on the image: the node that makes it, and where it was traced."""

    index: int
    traced: fx.Node | None


class Builder:
    """Collects nodes; the rules in `_rules` add to it, one traced node after the other.

    Attributes:
        nodes: What has been added.
        name: Of the layer or function at hand.
        current: The traced node at hand.
        result: What it returned for the example.
        makers: By which traced node each was added.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.makers: list[fx.Node | None] = []
        self.name = ""
        self.current: fx.Node | None = None
        self.result: Any = None

    def begin(self, node: fx.Node, result: Any) -> None:
        """Go on to the next traced node."""
        self.current, self.result = node, result
        self.name = str(node.target) if node.op == "call_module" else node.name

    def out_shape(self) -> tuple[int, ...]:
        """The shape of the result at hand, without the axis of images."""
        shape = tuple(self.result.shape)
        if not shape or shape[0] != ROWS:
            raise refusal(self.name, "its result has no axis of images")
        return shape[1:]

    def shape_of(self, ref: Ref) -> tuple[int, ...]:
        """The shape of a value, without the axis of images."""
        return self.nodes[ref.index].shape

    def maps(self, ref: Ref) -> tuple[int, ...]:
        """The shape of feature maps, or a refusal."""
        shape = self.shape_of(ref)
        if len(shape) != 3:
            raise refusal(self.name, f"it takes values of shape {shape}, no maps")
        return shape

    def add(self, op: str, *refs: Ref, name: str | None = None, **settings: Any) -> Ref:
        """An operation whose result is that of the traced node at hand."""
        tensors = settings.pop("tensors", {})
        sources = tuple(ref.index for ref in refs)
        made = Node(op, sources, self.out_shape(), self.name if name is None else name)
        made.settings, made.tensors = settings, tensors
        return self.put(made)

    def put(self, node: Node) -> Ref:
        """Any operation."""
        self.nodes.append(node)
        self.makers.append(self.current)
        return Ref(len(self.nodes) - 1, self.current)
