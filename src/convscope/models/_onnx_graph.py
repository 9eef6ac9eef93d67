"""From the operators of an ONNX file to a traced graph of PyTorch, with layers where there are."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from convscope.errors import ConvscopeError
from convscope.models._onnx_file import OnnxFile

Value = fx.Node | Tensor | None
"""What an operator takes and gives: part of the graph, a constant, or an input left out."""


ARITHMETIC = (
    operator.add, operator.sub, operator.mul, operator.pow, torch.pow, torch.clamp,
)  # fmt: skip
"""Functions that take plain numbers beside tensors."""


class NotImported(Exception):
    """Why a file cannot be made a graph: an operator, or a way to use one, that is not known."""


class OnnxBuilder:
    """Makes the graph, operator by operator, while an example runs through it.

    Args:
        file: What was read.
        rows: Images of the example.
        channels_last: Whether the file takes ``(batch, height, width, channel)``.
        log_softmax: Make a softmax at the very end a log-softmax.
        shape: Channels, height, width of the images.

    Attributes:
        fixed: Whether the file was made for a batch of one image.
        opset: Version of the standard operators.
    """

    def __init__(
        self,
        file: OnnxFile,
        *,
        rows: int,
        shape: tuple[int, int, int],
        channels_last: bool,
        log_softmax: bool,
    ) -> None:
        self.file, self.opset = file, file.opset
        self.fixed = file.shape[0] == 1 and rows > 1
        self.log_softmax = log_softmax
        self.root, self.graph = nn.Module(), fx.Graph()
        self.values: dict[str, Value] = {"": None}
        self.examples: dict[fx.Node, Any] = {}
        self.names: set[str] = set()
        self.weights: dict[str, nn.Parameter] = {}
        self.named: dict[int, str] = {}
        self.kept: dict[int, fx.Node] = {}
        self.alive: list[Tensor] = []  # Tensors whose identities are keys above.
        images = self.graph.placeholder("images")
        generator = torch.Generator().manual_seed(0)
        self.examples[images] = torch.rand(rows, *shape, generator=generator)
        self.values[file.input] = (
            self.call(torch.permute, images, (0, 2, 3, 1)) if channels_last else images
        )

    def module(self, output: str) -> fx.GraphModule:
        """The whole graph, up to one of its outputs.

        Raises:
            NotImported: An operator is not known.
        """
        from convscope.models._onnx_operators import OPERATORS

        with torch.no_grad():
            for tensor in self.file.model.graph.initializer:
                self._hold(tensor.name, array_of(tensor))
            for number, node in enumerate(self.file.model.graph.node):
                if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
                    raise NotImported(f"operator {node.op_type} is not known")
                step = Step(self, node, number)
                try:
                    found = OPERATORS[node.op_type](step, *(self.values[n] for n in node.input))
                except (NotImported, ConvscopeError):
                    raise
                except Exception as error:
                    words = str(error).splitlines()[0] if str(error) else type(error).__name__
                    raise NotImported(f"{node.op_type} {node.name!r}: {words}") from error
                several = found if isinstance(found, list) else [found]
                if len(several) < len([name for name in node.output if name]):
                    raise NotImported(f"{node.op_type} with {len(node.output)} outputs")
                self.values.update(zip(node.output, several, strict=False))
        value = self.values.get(output)
        if not isinstance(value, fx.Node):
            raise NotImported("the output does not depend on the images")
        self.graph.output(value)
        made = fx.GraphModule(self.root, self.graph, class_name="OnnxGraph")
        made.graph.eliminate_dead_code()
        made.delete_all_unused_submodules()
        made.recompile()
        return made.eval()

    def call(self, function: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
        """A call in the graph; at once where everything is known."""
        nodes = [x for x in _flat(inputs) if isinstance(x, fx.Node)]
        if not nodes:
            return function(*inputs, **settings)
        if function in ARITHMETIC:
            inputs = tuple(_number(x) for x in inputs)
        inputs = fx.node.map_aggregate(inputs, self._operand)
        node = self.graph.call_function(function, inputs, settings)
        self.examples[node] = function(*self._example(inputs), **settings)
        return node

    def layer(self, name: str, layer: nn.Module, *inputs: Value) -> Value:
        """A call of a module in the graph."""
        layer.eval()
        if not any(isinstance(x, fx.Node) for x in inputs):
            return layer(*inputs)
        _put(self.root, name, layer)
        operands = tuple(self._operand(x) for x in inputs)
        node = self.graph.create_node("call_module", name, operands)
        self.examples[node] = layer(*self._example(operands))
        return node

    def example(self, value: Value) -> Tensor:
        """What `value` is in the example.

        Raises:
            NotImported: It is left out.
        """
        if value is None:
            raise NotImported("an input that is needed is left out")
        return self.examples[value] if isinstance(value, fx.Node) else value

    def parameter(self, value: Tensor) -> nn.Parameter:
        """A weight as a parameter, the same for the same tensor of the file."""
        name = self.named.get(id(value), f"id {id(value)}")
        self.alive.append(value)
        if name not in self.weights:
            self.weights[name] = nn.Parameter(
                value.clone(), requires_grad=value.is_floating_point()
            )
        return self.weights[name]

    def free(self, wanted: str) -> str:
        """A name that no module and no tensor has yet, like `wanted`."""
        parts = [re.sub(r"\W", "_", part) for part in wanted.split(".")]
        parts = [part for part in parts if part]
        parts = [f"_{p}" if p[0].isdigit() and len(parts) == 1 else p for p in parts]
        base = ".".join(parts) or "layer"
        name, number = base, 1
        while self._taken(name):
            name, number = f"{base}_{number}", number + 1
        self.names.add(name)
        return name

    def _taken(self, name: str) -> bool:
        first = name.partition(".")[0]
        if hasattr(fx.GraphModule, first) or first in vars(self.root):
            return True
        return any(f"{name}.".startswith(f"{n}.") or n.startswith(f"{name}.") for n in self.names)

    def _hold(self, name: str, array: Tensor) -> None:
        self.values[name] = array
        self.alive.append(array)
        self.named[id(array)] = name

    def _operand(self, value: Any) -> Any:
        """An argument of a call in the graph: constants become parameters or buffers."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.kept:
            self.alive.append(value)
            name = self.free(self.named.get(id(value), "constant").replace(".", "_"))
            if value.is_floating_point():
                self.root.register_parameter(name, self.parameter(value))
            else:
                self.root.register_buffer(name, value)
            node = self.graph.get_attr(name)
            self.examples[node] = value
            self.kept[id(value)] = node
        return self.kept[id(value)]

    def _example(self, operands: Any) -> Any:
        return fx.node.map_aggregate(
            operands, lambda x: self.examples[x] if isinstance(x, fx.Node) else x
        )


class Step:
    """One operator of the file, for the function that translates it."""

    def __init__(self, builder: OnnxBuilder, node: Any, number: int) -> None:
        self.builder, self.node, self.number = builder, node, number
        self.settings = {entry.name: _setting(entry) for entry in node.attribute}
        self.opset, self.fixed = builder.opset, builder.fixed

    def get(self, name: str, default: Any = None) -> Any:
        """A setting of the operator."""
        return self.settings.get(name, default)

    def call(self, function: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
        """See `OnnxBuilder.call`."""
        return self.builder.call(function, *inputs, **settings)

    def layer(self, layer: nn.Module, *inputs: Value, weight: Value = None) -> Value:
        """A module in the graph, named as where the network was made, if that is known."""
        return self.builder.layer(self.builder.free(self._name(weight)), layer, *inputs)

    def shape(self, value: Value) -> tuple[int, ...]:
        """Of `value`, in the example."""
        return tuple(self.builder.example(value).shape)

    def known(self, value: Value, what: str) -> Tensor:
        """A constant.

        Raises:
            NotImported: It is computed from the images.
        """
        if not isinstance(value, Tensor):
            raise NotImported(f"{self.node.op_type} with {what} that are computed")
        return value

    def ints(self, value: Value) -> Any:
        """Whole numbers: a list if they are known, else part of the graph."""
        return [int(n) for n in value.reshape(-1).tolist()] if isinstance(value, Tensor) else value

    def parameter(self, value: Tensor) -> nn.Parameter:
        """See `OnnxBuilder.parameter`."""
        return self.builder.parameter(value)

    @property
    def is_last(self) -> bool:
        """Whether the graph ends here."""
        return self.number == len(self.builder.file.model.graph.node) - 1

    def _name(self, weight: Value) -> str:
        if isinstance(weight, Tensor):
            said = self.builder.named.get(id(weight), "")
            if re.fullmatch(r"\w+(\.\w+)*\.weight", said):
                return said.removesuffix(".weight")
        for entry in self.node.metadata_props:
            if entry.key == "pkg.torch.onnx.name_scopes" and len(entry.value) < 100_000:
                scopes = ast.literal_eval(entry.value)
                if len(scopes) > 1 and scopes[-2]:
                    return str(scopes[-2])
        path: list[str] = []
        for part in self.node.name.strip("/").split("/")[:-1]:
            if path and part.startswith(f"{path[-1]}."):
                path[-1] = part
            else:
                path.append(part)
        name = ".".join(path) or self.node.name.strip("/").removeprefix("node_")
        return name or f"{self.node.op_type.lower()}_{self.number}"


def array_of(tensor: Any) -> Tensor:
    """A tensor of the file, in memory of its own."""
    import onnx

    array = onnx.numpy_helper.to_array(tensor)
    if array.size > 2**31:
        raise NotImported(f"{tensor.name} has {array.size:,} values")
    return torch.from_numpy(np.array(array, order="C"))


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.ndim == 0 else value


def _setting(entry: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return array_of(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return value


def _put(root: nn.Module, name: str, layer: nn.Module) -> None:
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    root.add_module(last, layer)


def _flat(inputs: Any) -> list[Any]:
    found: list[Any] = []
    for item in inputs:
        found += _flat(item) if isinstance(item, list | tuple) else [item]
    return found
