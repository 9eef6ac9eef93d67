"""Which input pixels a value depends on, followed through the operations of one forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten


@dataclass(frozen=True)
class Span:
    """Position ``i`` of a map sees input positions ``first + i * jump`` to ``last + i * jump``.

    A `jump` of 0 means that there are no positions: every value sees the same pixels.
    """

    jump: int = 1
    first: int = 0
    last: int = 0

    @property
    def size(self) -> int:
        """How many input positions one value sees, those in the zero border included."""
        return self.last - self.first + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> Span:
        """After a sliding window of `kernel` taps."""
        first = self.first - padding * self.jump
        last = self.last + ((kernel - 1) * dilation - padding) * self.jump
        return Span(self.jump * stride, first, last)

    def everywhere(self, positions: int, pixels: int) -> Span:
        """What all `positions` see together, inside an image of `pixels`."""
        last = self.last + (positions - 1) * self.jump
        return Span(0, max(self.first, 0), min(last, pixels - 1))


Field = tuple[Span, Span]
"""Rows and columns."""


class ReceptiveFields(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record, while active, which pixels of `image` each tensor depends on.

    Exact for sliding windows (convolution, max- and average pooling), padding, element-by-element
    operations, batch normalization, concatenation of channels, flattening, global pooling and
    dense layers, in any graph made of them: where branches meet, the wider one counts. Anything
    else, attention for instance, has an unknown field, and so has all that follows from it.

    Args:
        image: The tensor whose pixels are asked for, ``(batch, channel, height, width)``.
        on_work: Called with the multiply-adds of every matrix product and convolution.
        on_unknown: Called with the name of an operation that sums up products nobody can count.
    """

    def __init__(
        self,
        image: Tensor,
        on_work: Callable[[int], None],
        on_unknown: Callable[[str], None] = lambda name: None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pixels = (int(image.shape[-2]), int(image.shape[-1]))
        self.fields: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.fields[image] = (Span(), Span())
        self.on_work = on_work
        self.on_unknown = on_unknown

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would otherwise load its compiler, 0.7 s, to keep it away from this mode.
        return False

    def of(self, tensor: Tensor) -> Field | None:
        """The field of `tensor`, ``None`` if it is unknown or nothing of the image is in it."""
        return self.fields.get(tensor)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run `func` and note what its results depend on."""
        out = func(*args, **(kwargs or {}))
        results = list(_tensors([out]))
        work = multiply_adds(func, args, results[0]) if results else 0
        if work is None:
            self.on_unknown(str(func.overloadpacket))
        elif work:
            self.on_work(work)
        sources = [t for t in _tensors((args, kwargs)) if t in self.fields]
        if sources and results and func.overloadpacket not in _EMPTY:
            field = self._follow(func, args, sources, results[0])
            for result in results:
                self.fields[result] = field
            if _in_place(func) is not None:
                self._overwrite(results[0], field)
        return out

    def _overwrite(self, part: Tensor, field: Field | None) -> None:
        """A view was written into: what it is a part of depends on the same pixels from now on."""
        whole = part._base
        if whole is None:
            return
        before = self.fields.get(whole, field)  # type: ignore[no-untyped-call]
        same_grid = part.ndim == whole.ndim == 4 and part.shape[-2:] == whole.shape[-2:]
        known = [one for one in (field, before) if one is not None]
        self.fields[whole] = _joined(known) if same_grid and len(known) == 2 else None

    def _follow(
        self, func: Any, args: tuple[Any, ...], sources: Sequence[Tensor], out: Tensor
    ) -> Field | None:
        known = [self.fields[source] for source in sources]
        if any(field is None for field in known):
            return None
        func = _in_place(func) or func
        base, source = func.overloadpacket, sources[0]
        if base in _WINDOWS:
            geometry = _WINDOWS[base](args, source, out)
            if geometry is None or source.ndim != 4 or len(sources) > 1:
                return None
            rows, columns = known[0]
            seen = rows.window(*geometry[0]), columns.window(*geometry[1])
            return self._whole(seen, out) if _is_global(source, out) else seen
        if base in _BATCH_NORMS:
            # With statistics of the input itself (instance normalization) all of it is seen.
            fresh = any(value is True for value in args[3:6])
            return self._whole(known[0], source) if fresh and source.ndim == 4 else known[0]
        if base is aten.constant_pad_nd:
            return _padded(known[0], args[1])
        if base is aten.slice and source.ndim == 4:
            return _sliced(known[0], *args[1:])
        keeps_places = torch.Tag.pointwise in func.tags or base in _SAME_PLACE
        if base is aten.cat:
            keeps_places = (args[1] if len(args) > 1 else 0) == 1
        if keeps_places or (base in _VIEWS and _is_same_grid(source, out)):
            return _joined(known)
        settled = all(span.jump == 0 for field in known for span in field)
        if settled:
            return _joined(known)
        if (base in _VIEWS or base in _GLOBAL) and _is_global(source, out):
            return self._whole(known[0], source)
        return None

    def _whole(self, field: Field, image: Tensor) -> Field:
        rows, columns = field
        height, width = image.shape[-2:]
        return (
            rows.everywhere(height, self.pixels[0]),
            columns.everywhere(width, self.pixels[1]),
        )


def multiply_adds(func: Any, args: tuple[Any, ...], out: Tensor) -> int | None:
    """Products that `func` sums up: convolutions, matrix products, attention, recurrent layers.

    Returns:
        0 for everything else; ``None`` for an operation that has products nobody can count.
    """
    base = func.overloadpacket
    if base is aten.convolution:
        image, weight, transposed = args[0], args[1], args[6]
        positions = image if transposed else out
        return positions.numel() // positions.shape[1] * weight.numel()
    if base in (aten.addmm, aten.baddbmm, aten.addmv, aten.addbmm, aten._addmm_activation):
        return args[1].numel() * args[2].shape[-1] if args[2].ndim > 1 else args[1].numel()
    if base in (aten.mm, aten.bmm):
        return out.numel() * args[0].shape[-1]
    if base in (aten.mv, aten.dot, aten.vdot):
        return args[0].numel()
    if base in _ATTENTION:
        query, key, value = args[:3]
        pairs = query.numel() // query.shape[-1] * key.shape[-2]
        return pairs * (query.shape[-1] + value.shape[-1])
    if base is aten._native_multi_head_attention:
        return _attention_layer(args[0], args[1])
    if base is aten._transformer_encoder_layer_fwd:
        first, second = args[14], args[16]
        tokens = args[0].numel() // args[0].shape[-1]
        return _attention_layer(args[0], args[0]) + tokens * (first.numel() + second.numel())
    if base is aten.mkldnn_rnn_layer:
        steps = args[0].numel() // args[0].shape[-1]
        return steps * (args[1].numel() + args[2].numel())
    if base in _RECURRENT:
        steps = args[0].numel() // args[0].shape[-1]
        return steps * sum(weight.numel() for weight in args[1] if weight.ndim == 2)
    name = str(base).rpartition(".")[2]
    foreign = func.namespace not in ("aten", "prim", "prims", "profiler", "debugprims")
    return None if foreign or (_SUSPECT.search(name) and "upsample" not in name) else 0


def _attention_layer(query: Tensor, key: Tensor) -> int:
    """Four projections and two products of every query with every key."""
    width = query.shape[-1]
    queries, keys = query.numel() // width, key.numel() // width
    pairs = queries * key.shape[-2]
    return 2 * (queries + keys) * width**2 + 2 * pairs * width


def _in_place(func: Any) -> Any:
    """The operation of which `func` is the in-place form; None if it is no such thing."""
    name = func.overloadpacket.__name__
    if func.namespace != "aten" or not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(aten, name[:-1], None)
    return getattr(packet, func._overloadname, None) if packet is not None else None


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _tensors(value.values())
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


Window = tuple[int, int, int, int]
Geometry = tuple[Window, Window]


def _pair(value: Any, missing: Any = 0) -> tuple[int, int]:
    numbers = value if isinstance(value, list | tuple) else [value]
    if not numbers:
        numbers = missing
    return int(numbers[0]), int(numbers[-1])


def _geometry(kernel: Any, stride: Any, padding: Any, dilation: Any) -> Geometry:
    k, s, p, d = _pair(kernel), _pair(stride, kernel), _pair(padding), _pair(dilation)
    return (k[0], s[0], p[0], d[0]), (k[1], s[1], p[1], d[1])


def _convolution(args: tuple[Any, ...], image: Tensor, out: Tensor) -> Geometry | None:
    weight, _, stride, padding, dilation, transposed = args[1:7]
    return None if transposed else _geometry(list(weight.shape[2:]), stride, padding, dilation)


def _max_pool(args: tuple[Any, ...], image: Tensor, out: Tensor) -> Geometry | None:
    kernel, stride, padding, dilation = [*args[1:5], *([], 0, 1)[len(args) - 2 :]][:4]
    return _geometry(kernel, stride, padding, dilation)


def _average_pool(args: tuple[Any, ...], image: Tensor, out: Tensor) -> Geometry | None:
    kernel, stride, padding = [*args[1:4], *([], 0)[len(args) - 2 :]][:3]
    return _geometry(kernel, stride, padding, 1)


def _adaptive(args: tuple[Any, ...], image: Tensor, out: Tensor) -> Geometry | None:
    sizes = list(zip(image.shape[-2:], out.shape[-2:], strict=True))
    if any(before % after for before, after in sizes):
        return None
    kernel = [before // after for before, after in sizes]
    return _geometry(kernel, kernel, 0, 1)


_WINDOWS: dict[Any, Callable[[tuple[Any, ...], Tensor, Tensor], Geometry | None]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    aten.avg_pool2d: _average_pool,
    aten._adaptive_avg_pool2d: _adaptive,
    aten.adaptive_max_pool2d: _adaptive,
}
_ATTENTION = {
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
    aten._scaled_dot_product_fused_attention_overrideable,
}
# Only the shape of their input matters.
_EMPTY = {
    aten.empty_like, aten.zeros_like, aten.ones_like, aten.full_like, aten.rand_like,
    aten.randn_like, aten.new_empty, aten.new_zeros, aten.new_ones, aten.new_full,
}  # fmt: skip
_RECURRENT = {aten._cudnn_rnn, aten.miopen_rnn}
# Names of operations that sum up products. What is left of them here, this module cannot count.
_SUSPECT = re.compile(
    r"mm$|_mm|matmul|conv|linear|attention|attn|rnn|lstm|gru_|_fft|cdist|einsum|trilinear|encoder"
)
_SAME_PLACE = {
    aten._native_batch_norm_legit_no_training,
    aten.hardswish,
    aten.log_sigmoid_forward,
    aten._prelu_kernel,
    aten._to_copy,
    aten.clone,
    aten.detach,
    aten.lift_fresh,
    aten.expand,
    aten.native_dropout,
    aten.copy,
    aten.rrelu_with_noise,
}
_BATCH_NORMS = {
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten.cudnn_batch_norm,
    aten.miopen_batch_norm,
}
_VIEWS = {
    aten.view,
    aten._unsafe_view,
    aten._reshape_alias,
    aten.select,
    aten.squeeze,
    aten.split,
    aten.chunk,
    aten.transpose,
}
_GLOBAL = {aten.mean, aten.sum, aten.amax}


def _is_same_grid(image: Tensor, out: Tensor) -> bool:
    """Only channels were regrouped or chosen: rows and columns are the last axes as before."""
    if image.ndim < 4 or out.ndim < 4 or image.shape[-2:] != out.shape[-2:]:
        return False
    return image.stride()[-2:] == out.stride()[-2:]


def _is_global(image: Tensor, out: Tensor) -> bool:
    """The axes of rows and columns are gone, or have one position left."""
    if image.ndim != 4:
        return False
    return out.ndim == 2 or (out.ndim == 4 and tuple(out.shape[-2:]) == (1, 1))


def _joined(fields: Sequence[Field]) -> Field | None:
    """Where branches meet: the widest of them, if they step over the image equally."""
    axes = []
    for spans in zip(*fields, strict=True):
        jumps = {span.jump for span in spans} - {0}
        if len(jumps) > 1 or (jumps and any(span.jump == 0 for span in spans)):
            # A map scaled by a global value sees the whole image at every position.
            if len(jumps) > 1:
                return None
            spans = tuple(span for span in spans if span.jump == 0)
        first, last = min(span.first for span in spans), max(span.last for span in spans)
        axes.append(Span(spans[0].jump, first, last))
    return axes[0], axes[1]


def _padded(field: Field, padding: Sequence[int]) -> Field:
    left, _, top, _ = (*padding, 0, 0, 0, 0)[:4]
    rows, columns = field
    return rows.window(1, 1, top, 1), columns.window(1, 1, left, 1)


def _sliced(
    field: Field, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Field:
    rows, columns = field
    if axis in (2, -2):
        rows = rows.window(1, step, -(start or 0), 1)
    if axis in (3, -1):
        columns = columns.window(1, step, -(start or 0), 1)
    return rows, columns
