"""A network layer by layer: shapes, parameters, multiply-adds, receptive fields."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor, nn

from convscope._network.frozen_copy import frozen_copy
from convscope._network.hooks import layer_label, require_hooks
from convscope._random import RandomStates
from convscope._readable import readable
from convscope.errors import ConvscopeError, ModelContractError
from convscope.models._receptive_field import ReceptiveFields


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One row of a `NetworkSummary`.

    Attributes:
        name: Path of the module, as ``--show``, ``--units`` and error texts use it.
        kind: Class of the module.
        output_shape: Shape of its output without the batch axis; ``None`` if it was not called
            or returned no tensor.
        parameters: Trainable and fixed parameters that it holds itself; shared ones count once.
        share: `parameters` as a fraction of the network's.
        multiply_adds: Products summed up for one image, all calls together.
        receptive_field: Rows and columns of the input that one value depends on. Positions that
            fall into zero padding are counted, as usual; for values without a position (dense
            layers, global pooling) it is the part of the image that they see. ``None``: cannot be
            derived.
        neurons: Values that the layer computes, if it is a convolution or a dense layer.
        document_neurons: What two reports count instead, see `NetworkSummary`.
        calls: How often one forward pass calls it.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    share: float
    multiply_adds: int
    receptive_field: tuple[int, int] | None
    neurons: int
    document_neurons: int
    calls: int


@readable
@dataclass(frozen=True, kw_only=True)
class NetworkSummary:
    """A network as a table, in the order of the forward pass.

    Two neuron counts are in use. `neurons` is the field's: every value that a convolution or a
    dense layer computes is one neuron (31,870 for mnist-conv2-fc on 28x28 images: 25,088 + 6,272
    + 500 + 10). `document_neurons` is that of two reports: a convolution counts one per filter tap,
    *filters x kernel rows x kernel columns*, whatever its input channels and positions; then come
    the values that are flattened for the first dense layer, and the outputs of dense layers (288 +
    288 + 1,568 + 500 + 10 = 2,654).

    Attributes:
        rows: The layers.
        input_shape: Channels, height, width.
        parameters: All parameters of the network, each counted once.
        trainable: Those with ``requires_grad``.
        multiply_adds: For one image.
        neurons: Outputs of convolutions and dense layers.
        document_neurons: Filter taps, flattened values, outputs of dense layers.
        uncounted: Operations with products that `multiply_adds` does not contain.

    Source:
        `document_neurons`:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated;
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019.
    """

    rows: tuple[LayerSummary, ...]
    input_shape: tuple[int, int, int]
    parameters: int
    trainable: int
    multiply_adds: int
    neurons: int
    document_neurons: int
    uncounted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A plain text table with a line of totals."""
        cells = [SUMMARY_COLUMNS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, self.totals()])

    def cells(self) -> list[tuple[str, ...]]:
        """The rows as texts, in the columns of `SUMMARY_COLUMNS`."""
        return [_cells(row) for row in self.rows]

    def totals(self) -> str:
        """One line: input, parameters, work and both neuron counts."""
        return (
            f"input {'x'.join(map(str, self.input_shape))} · {self.parameters:,} parameters"
            f" · {self.work} · {self.neurons:,} neurons"
            f" ({self.document_neurons:,} counting filter taps, flattened values and dense"
            " outputs)"
        )

    def headline(self) -> str:
        """The totals in one line."""
        return self.totals()

    @property
    def work(self) -> str:
        """The multiply-adds in words, with what they do not contain."""
        if not self.uncounted:
            return f"{self.multiply_adds:,} multiply-adds"
        missing = ", ".join(self.uncounted)
        return f"at least {self.multiply_adds:,} multiply-adds (not counted: {missing})"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in SUMMARY_COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in self.rows
        )
        return f"<table><tr>{head}</tr>{body}</table><p>{escape(self.totals())}</p>"


SUMMARY_COLUMNS = (
    "layer",
    "kind",
    "output",
    "parameters",
    "share",
    "multiply-adds",
    "receptive field",
    "neurons",
)
"""Of the columns of `NetworkSummary.cells`."""


def _cells(row: LayerSummary) -> tuple[str, ...]:
    field = row.receptive_field
    return (
        layer_label(row.name, row.kind),
        row.kind if row.calls == 1 else f"{row.kind} x{row.calls}",
        "-" if row.output_shape is None else "x".join(map(str, row.output_shape)),
        f"{row.parameters:,}",
        f"{row.share:.1%}",
        f"{row.multiply_adds:,}",
        "unknown" if field is None else f"{field[0]}x{field[1]}",
        f"{row.neurons:,}",
    )


def summarize(module: nn.Module, input_shape: tuple[int, int, int]) -> NetworkSummary:
    """Run `module` once on a blank image and describe every layer it calls.

    Works for any ``nn.Module``; its modes, parameters, buffers, hooks and torch's random state are
    afterwards as they were. Receptive fields are exact for networks of convolutions, poolings,
    element-by-element operations, sums, concatenations and dense layers (sequential or not), and
    ``None`` after anything else.

    Args:
        module: The network.
        input_shape: Channels, height and width of one image.

    Returns:
        One row per module that computes something or holds parameters, in the order of the first
        call; modules that are never called come last.

    Raises:
        ModelContractError: M14, the network cannot be run on images of this shape.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        >>> summary = summarize(net, (1, 8, 8))
        >>> summary.parameters, summary.rows[-1].receptive_field, summary.rows[-1].output_shape
        (114, (5, 5), (2, 4, 4))

    Source:
        The recursion for sliding windows: Araujo, Norris, Sim, "Computing Receptive Fields of
        Convolutional Neural Networks", Distill 2019. Ours keeps both ends of the interval, so
        that asymmetric padding and residual sums come out exactly.
    """
    require_hooks(module)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    module = frozen_copy(module)
    names = {child: name or type(child).__name__ for name, child in module.named_modules()}
    record = _Record(module)
    states = RandomStates()
    try:
        image = _blank(module, input_shape)
        record.fields = ReceptiveFields(image, record.add_work, record.uncounted.add)
        with record.listening(), torch.no_grad(), record.fields:
            module(image)
    except ConvscopeError:
        raise
    except Exception as error:
        shape = "x".join(map(str, input_shape))
        raise ModelContractError(
            f"the network cannot run on a {shape} image: {error}",
            code="M14",
            hint="give the size it was made for: (channels, height, width)",
        ) from error
    finally:
        if states.moved():
            states.rewind()
    return _table(module, names, record, input_shape, trainable)


def _blank(module: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return torch.zeros(1, *shape, dtype=tensor.dtype, device=tensor.device)
    return torch.zeros(1, *shape)


class _Record:
    """What hooks hear during one forward pass."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.fields: ReceptiveFields
        self.running: list[nn.Module] = []
        self.uncounted: set[str] = set()
        self.calls: Counter[nn.Module] = Counter()
        self.work: Counter[nn.Module] = Counter()
        self.neurons: Counter[nn.Module] = Counter()
        self.flattened: dict[nn.Module, int] = {}
        self.shapes: dict[nn.Module, tuple[int, ...]] = {}
        self.seen: dict[nn.Module, tuple[int, int] | None] = {}

    def add_work(self, products: int) -> None:
        self.work[self.running[-1]] += products

    @contextmanager
    def listening(self) -> Iterator[None]:
        handles: list[Any] = []
        try:
            for child in self.module.modules():
                handles.append(child.register_forward_pre_hook(self._before))
                handles.append(child.register_forward_hook(self._after, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, module: nn.Module, inputs: object) -> None:
        self.running.append(module)
        self.calls[module] += 1

    def _after(self, module: nn.Module, inputs: object, output: object) -> None:
        self.running.pop()
        if isinstance(output, Tensor):
            self.shapes[module] = tuple(output.shape[1:])
            field = self.fields.of(output)
            self.seen[module] = None if field is None else (field[0].size, field[1].size)
            if isinstance(module, nn.Linear) and output.ndim == 2 and not self.flattened:
                convolved = any(isinstance(layer, nn.modules.conv._ConvNd) for layer in self.shapes)
                self.flattened[module] = module.in_features if convolved else 0
            if _is_layer(module):
                self.neurons[module] += math.prod(output.shape[1:])


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear)


def _table(
    module: nn.Module,
    names: dict[nn.Module, str],
    record: _Record,
    input_shape: tuple[int, int, int],
    trainable: int,
) -> NetworkSummary:
    counted: set[int] = set()
    total = sum(p.numel() for p in module.parameters())
    rows = []
    # A hook hears a container before its children; `calls` is in that order.
    for child in (*record.calls, *(m for m in names if m not in record.calls)):
        own = [p for p in child.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        parameters = sum(p.numel() for p in own)
        if any(child.children()) and not parameters and not record.work[child]:
            continue
        documented = 0
        if isinstance(child, nn.Conv2d):
            documented = child.out_channels * child.kernel_size[0] * child.kernel_size[1]
        elif isinstance(child, nn.Linear):
            documented = child.out_features + record.flattened.get(child, 0)
        rows.append(
            LayerSummary(
                name=names[child],
                kind=type(child).__name__,
                output_shape=record.shapes.get(child),
                parameters=parameters,
                share=parameters / total if total else 0.0,
                multiply_adds=record.work[child],
                receptive_field=record.seen.get(child),
                neurons=record.neurons[child],
                document_neurons=documented,
                calls=record.calls[child],
            )
        )
    return NetworkSummary(
        rows=tuple(rows),
        input_shape=input_shape,
        parameters=total,
        trainable=trainable,
        multiply_adds=record.work.total(),
        neurons=sum(row.neurons for row in rows),
        document_neurons=sum(row.document_neurons for row in rows),
        uncounted=tuple(sorted(record.uncounted)),
    )
