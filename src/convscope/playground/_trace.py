"""From somebody's network to a list of operations that the page's engine knows, by `torch.fx`."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from convscope._network.frozen_copy import frozen_copy
from convscope._network.trial_run import random_images
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.playground._nodes import ROWS, Builder, Node, Ref, refusal
from convscope.playground._rules import FUNCTION_RULES, METHOD_RULES, MODULE_RULES


@dataclass
class Traced:
    """A network as operations.

    Attributes:
        nodes: In an order in which they can be run; the first is the image, the last the logits.
        places: Names of modules, and the node that holds what each returned last.
    """

    nodes: list[Node]
    places: dict[str, int]


def trace(classifier: Classifier) -> Traced:
    """The operations from pixels in [0, 1] to logits.

    The network is copied and only the copy is traced, in evaluation mode.

    Raises:
        ModelContractError: M27 with the name of a layer that the engine cannot do, or if what
            the network does depends on the values it sees.
    """
    if classifier.preprocess is not None:
        raise refusal("the preprocessing", "a function of your own before the network")
    if classifier.output is not None:
        raise refusal("the output", "a function of your own that picks the logits")
    images = random_images(ROWS, classifier.input_shape)
    module = frozen_copy(classifier.module)
    # Tracing changes how modules of the traced copy are reached; the example runs through another.
    tracer = _Tracer(
        frozen_copy(classifier.module), classifier.prepare(images).to("cpu", torch.float32)
    )
    try:
        with torch.no_grad():
            tracer.trace(module)
    except ModelContractError:
        raise
    except Exception as error:  # whatever the network's code does with a symbol in a tensor's place
        words = " ".join(str(error).split())[:160]
        raise refusal(
            type(classifier.module).__name__, f"what it does cannot be followed: {words}"
        ) from error
    return _build(classifier, tracer)


class _Known(fx.Proxy):
    """A value in the making that knows its shape, because an example runs along."""

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            return getattr(self.tracer.seen[self.node], name)  # type: ignore[attr-defined]
        return super().__getattr__(name)

    def __len__(self) -> int:
        return len(self.tracer.seen[self.node])  # type: ignore[attr-defined]


_FACTS = (
    "shape", "ndim", "dtype", "device", "layout", "is_cuda", "requires_grad", "size", "dim",
    "numel", "nelement", "is_floating_point", "is_contiguous",
)  # fmt: skip
"""What code may ask of a tensor, and branch on, without looking at its numbers."""


class _Tracer(fx.Tracer):
    """Follows a network while an example runs through it.

    Attributes:
        seen: What each node returned for the example.
        live: Nodes that depend on the image.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.module, self.example = module, example
        self.seen: dict[fx.Node, Any] = {}
        self.live: set[fx.Node] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in MODULE_RULES or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Known(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        made = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        node = made.node
        self.seen[node] = value = self._value(node)
        if kind == "placeholder" or any(n in self.live for n in node.all_input_nodes):
            self.live.add(node)
            if not isinstance(value, Tensor):
                called = getattr(target, "__name__", str(target))
                raise refusal(f"{node.name} ({called})", "it makes no tensor of the image")
            return made
        # Sizes, numbers and constants are the same for every image: code goes on with them.
        return made if isinstance(value, Tensor) else value

    def _value(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self.example
        if node.op == "get_attr":
            met = vars(self.root).get(str(node.target))  # a tensor that no module holds
            return met if met is not None else operator.attrgetter(str(node.target))(self.module)
        args: Any = fx.node.map_arg(node.args, self.value_of)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.value_of)
        if node.op == "call_module":
            return self.module.get_submodule(str(node.target)).forward(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def value_of(self, node: fx.Node) -> Any:
        """What a node returned; a constant that was met on the way has no proxy."""
        if node not in self.seen:
            self.seen[node] = self._value(node)
        return self.seen[node]


def _build(classifier: Classifier, tracer: _Tracer) -> Traced:
    """Each traced node by its rule."""
    build = Builder()
    shape = tuple(classifier.input_shape)
    start = build.put(Node("input", (), shape)).index
    if classifier.mean is not None or classifier.std is not None:
        mean = torch.tensor(classifier.mean or (0.0,)).expand(shape[0])
        std = torch.tensor(classifier.std or (1.0,)).expand(shape[0])
        tensors: dict[str, Tensor | None] = {"scale": 1 / std, "shift": -mean / std}
        start = build.put(Node("affine", (0,), shape, tensors=tensors)).index
    places: dict[str, int] = {}
    values: dict[fx.Node, Any] = {}
    for node in tracer.graph.nodes:
        if node.op == "output":
            return Traced(_finished(classifier, build, node.args[0], values), places)
        if node.op == "placeholder":
            if values:
                raise refusal("the network", "it takes more than an image")
            values[node] = Ref(start, node)
        elif node not in tracer.live:
            values[node] = tracer.value_of(node)  # a buffer, a size: the same for every image
        else:
            build.begin(node, tracer.value_of(node))
            values[node] = made = _emitted(build, tracer, node, values)
            for entry in (node.meta.get("nn_module_stack") or {}).values():
                places[str(entry[0])] = made.index
            if node.op == "call_module":
                places[str(node.target)] = made.index
    raise AssertionError("a program without an output")


def _emitted(build: Builder, tracer: _Tracer, node: fx.Node, values: dict[fx.Node, Any]) -> Ref:
    arguments: Any = fx.node.map_arg(node.args, values.__getitem__)
    options: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_module":
        module = tracer.module.get_submodule(str(node.target))
        rule, called = MODULE_RULES.get(type(module)), type(module).__name__
        arguments = (module, *arguments)
    else:
        rules = METHOD_RULES if node.op == "call_method" else FUNCTION_RULES
        rule, called = rules.get(node.target), getattr(node.target, "__name__", str(node.target))
    if rule is None:
        raise refusal(f"{build.name} ({called})", "there is no such operation")
    try:
        made = rule(build, *arguments, **options)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise refusal(
            f"{build.name} ({called})", f"it is used in an unknown way: {error}"
        ) from error
    assert isinstance(made, Ref)
    return made


def _finished(
    classifier: Classifier, build: Builder, returned: Any, values: dict[fx.Node, Any]
) -> list[Node]:
    last = values.get(returned) if isinstance(returned, fx.Node) else None
    if not isinstance(last, Ref):
        raise refusal("the output", "the network returns something else than one tensor")
    if classifier.probabilities:
        last = build.put(Node("log", (last.index,), build.shape_of(last)))
    if build.shape_of(last) != (classifier.num_classes,):
        raise refusal("the output", f"one image gives {build.shape_of(last)}")
    return build.nodes[: last.index + 1]
