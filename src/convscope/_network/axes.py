"""Which axes of a layer's output are rows and columns of the image?

A layer's output of shape (n, a, b, c) may be maps (channel, height, width), channels-last maps
(height, width, channel), an attention matrix (head, token, token), or a table that does not even
depend on the image. Shapes cannot tell. So every operation of one forward pass is watched, and the
meaning of each axis is carried along: a convolution keeps rows and columns, ``permute`` moves them,
``view`` joins and splits axes, ``matmul`` keeps the rows of its left factor. An operation that is
not known loses the meaning, and nothing is claimed about what follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convscope._network.axis_rules import RULES, Dim, Labels, is_channel, merge, tokens_of
from convscope._network.extents import WHOLE, Extent, centered, cropped, half_a_place, slid
from convscope.devices import WITHOUT_STORAGE

Layout = Literal["maps", "channels-last maps", "tokens", "other", "unknown"]
"""What the axes of an output are: ``"maps"`` (image, channel, row, column), ``"channels-last
maps"`` (image, row, column, channel), ``"tokens"`` (positions in one axis), ``"other"`` (known to
be none of these), ``"unknown"``."""


_PASSING_ON = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""Modules that hand on what they got: layers are not named after them."""


@dataclass(frozen=True)
class Order:
    """Where the channels, rows and columns of a layer's output are.

    Attributes:
        layout: ``"maps"``, ``"channels-last maps"`` or ``"tokens"``.
        rows: Rows of the map.
        columns: Columns of the map.
        before: Tokens before the first place, such as a class token.
        after: Tokens after the last place.
        axis: Of the tokens: 1, or 2 for ``(image, channel, token)``.
    """

    layout: Layout
    rows: int
    columns: int
    before: int = 0
    after: int = 0
    axis: int = 1

    def maps(self, values: Tensor) -> Tensor:
        """Activations, or their gradient, as ``(image, channel, row, column)``.

        Tokens without a place are left out.
        """
        if self.layout == "channels-last maps":
            return values.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            channels_first = values if self.axis == 2 else values.transpose(1, 2)
            stop = self.before + self.rows * self.columns
            placed = channels_first[..., self.before : stop]
            return placed.reshape(*placed.shape[:2], self.rows, self.columns)
        return values

    def words(self) -> str:
        """For remarks and lists, such as ``"14 x 14 tokens, 1 without a place left out"``."""
        if self.layout != "tokens":
            return self.layout
        without = self.before + self.after
        more = f", {without} without a place left out" if without else ""
        return f"{self.rows} x {self.columns} tokens{more}"


@dataclass(frozen=True)
class Seen:
    """One module call.

    Attributes:
        path: Name of the module.
        number: Which call of it.
        layout: What its output's axes are.
        shape: Of the output, without the image axis.
        order: How maps are made of the output: its positions, if the layout has any.
        tensor: Identity of the output; calls that hand one tensor on have the same.
        leaf: Whether the module has no children, and does something in evaluation mode.
        weighted: Whether it holds parameters itself.
    """

    path: str
    number: int
    layout: Layout
    shape: tuple[int, ...]
    order: Order | None
    tensor: int
    leaf: bool
    weighted: bool


def survey_axes(
    module: nn.Module,
    images: Tensor,
    prepare: Callable[[Tensor], Tensor],
    run: Callable[[Tensor], object],
) -> list[Seen]:
    """Run `module` once on at least two images and tell the axes of every module's output.

    Args:
        module: A network that may be hooked; hooks are removed.
        images: ``(batch, channel, height, width)``, pixels.
        prepare: From pixels to what the network takes; its operations are followed, too.
        run: Runs `module`.

    Returns:
        One entry per call that returned one tensor, in order of completion.
    """
    seen: list[Seen] = []
    numbers: dict[str, int] = {}
    mode = _Watch(images)
    handles: list[Any] = []

    def listener(path: str) -> Callable[..., None]:
        def hook(child: nn.Module, inputs: object, output: object) -> None:
            number = numbers[path] = numbers.get(path, -1) + 1
            if not isinstance(output, Tensor):
                parts = [x for x in _flat(output) if isinstance(x, Tensor)]
                if parts:
                    own = any(True for _ in child.parameters(recurse=False))
                    shape = tuple(parts[0].shape[1:])
                    seen.append(Seen(path, number, "other", shape, None, id(parts[0]), False, own))
                return
            if isinstance(child, nn.Conv2d) and isinstance(inputs, tuple):
                # Circular padding is written piece by piece into an empty tensor.
                given = mode.of(inputs[0])
                if mode.of(output) is None and given is not None:
                    mode.note(output, (given[0], (("C", output.shape[1]),), *given[2:]))
            if isinstance(output, Tensor):
                mode.alive.append(output)
                order = mode.order(output)
                seen.append(
                    Seen(
                        path=path,
                        number=number,
                        layout=order.layout if order is not None else mode.layout(output),
                        shape=tuple(output.shape[1:]),
                        order=order,
                        tensor=id(output),
                        leaf=not (any(child.children()) or isinstance(child, _PASSING_ON)),
                        weighted=any(True for _ in child.parameters(recurse=False)),
                    )
                )

        return hook

    try:
        for path, child in module.named_modules():
            if path:
                handles.append(child.register_forward_hook(listener(path)))
        with torch.no_grad(), mode:
            run(prepare(images))
    finally:
        for handle in handles:
            handle.remove()
    return seen


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries the labels of tensors through every operation."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: list[Tensor] = []  # So that identities are not used again.
        self.known: dict[int, Labels] = {}
        self.extents: dict[int, Extent] = {}
        self.lost: set[int] = set()  # Made from the image in a way that could not be followed.
        self.written: set[int] = set()  # Memory into which something of the image was written.
        batch, channels, height, width = images.shape
        self.note(images, ((("N", batch),), (("C", channels),), (("H", height),), (("W", width),)))
        self.extents[id(images)] = WHOLE

    def note(self, tensor: Tensor, labels: Labels | None) -> None:
        if labels is None or len(labels) != tensor.ndim:
            self.known.pop(id(tensor), None)
            self.lost.add(id(tensor))
            self.alive.append(tensor)
            return
        self.lost.discard(id(tensor))
        self.known[id(tensor)] = tuple(
            _sized(d, n) for d, n in zip(labels, tensor.shape, strict=True)
        )
        self.alive.append(tensor)

    def of(self, tensor: object) -> Labels | None:
        return self.known.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def layout(self, tensor: Tensor) -> Layout:
        """What can be said of a tensor that has no `order`."""
        labels = self.of(tensor)
        if labels is None:
            return "unknown"
        kinds = _kinds(labels)
        if kinds and kinds[0] == "N" and len(kinds) == 2 and any("?" in kind for kind in kinds):
            return "unknown"
        return "other"

    def order(self, tensor: Tensor) -> Order | None:
        """Where channels, rows and columns are, if each has a place."""
        labels = self.of(tensor)
        if labels is None or len(labels) not in (3, 4):
            return None
        kinds = _kinds(labels)
        if kinds[0] != "N" or not centered(self.extents.get(id(tensor), WHOLE)):
            return None
        shape = tensor.shape
        if len(kinds) == 4:
            if is_channel(kinds[1]) and _is(kinds[2], "H") and _is(kinds[3], "W"):
                return Order("maps", shape[2], shape[3])
            if is_channel(kinds[3]) and _is(kinds[1], "H") and _is(kinds[2], "W"):
                return Order("channels-last maps", shape[1], shape[2])
            return None
        for axis, other in ((1, 2), (2, 1)):
            found = tokens_of(labels[axis])
            if found is not None and is_channel(kinds[other]):
                before, rows, columns, after = found
                return Order("tokens", rows, columns, before, after, axis)
        return None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in _flat((args, tuple(kwargs.values()))) if isinstance(x, Tensor)]
        labels = [self.of(x) for x in tensors]
        name = func.overloadpacket.__name__
        if name == "cat":  # A class token is a parameter: it has no places.
            labels = (
                [
                    self._constant(x) if item is None else item
                    for x, item in zip(tensors, labels, strict=True)
                ]
                if any(item is not None for item in labels)
                else labels
            )
        for tensor in tensors if self.written else ():
            if id(tensor) not in self.known and _memory(tensor) in self.written:
                self.lost.add(id(tensor))
                self.alive.append(tensor)
        if func._schema.is_mutable and tensors:
            self._written(tensors)
        out = func(*args, **kwargs)
        if name in _FRESH:
            return out
        if not any(item is not None for item in labels):
            if any(id(x) in self.lost for x in tensors):
                for tensor in _flat(out):
                    if isinstance(tensor, Tensor):
                        self.note(tensor, None)
            return out
        rule = RULES.get(name) or RULES.get(name.rstrip("_"))
        try:
            if rule is not None:
                found = rule(args, kwargs, tensors, labels, out)
            elif _pointwise(func, name):
                found = _broadcast(tensors, labels, out)
                if found is not None and self._mixed(tensors, found):
                    found = None
            else:
                found = None
        except (IndexError, ValueError, TypeError):  # A form of the operation that is not known.
            found = None
        outs = out if isinstance(out, tuple | list) else [out]
        many = found if isinstance(found, list) else [found] * len(outs)
        for tensor, mine in zip(outs, many, strict=False):
            if isinstance(tensor, Tensor):
                self.note(tensor, mine)
        self._extend(name, args, tensors, labels, outs)
        return out

    def _constant(self, tensor: Tensor) -> Labels | None:
        """Channels only, for what is not made of the image."""
        if id(tensor) in self.lost:
            return None
        return tuple((("C", size),) if size > 1 else () for size in tensor.shape)

    def _mixed(self, tensors: list[Tensor], found: Labels) -> bool:
        """Whether an operand that could not be followed has rows or columns of its own."""
        rank = len(found)
        return any(
            id(x) in self.lost
            and any(
                n > 1 and any(kind[0] in "HWT" for kind, _ in found[rank - x.ndim + axis])
                for axis, n in enumerate(x.shape)
            )
            for x in tensors
            if x.ndim <= rank
        )

    def _written(self, tensors: list[Tensor]) -> None:
        """Another map written into a part of a tensor: nothing is known of the tensor any more.

        Nor is anything known of what had no part of the image until then, such as zeros that are
        filled piece by piece, except through the tensor that was written to.
        """
        target, others = tensors[0], tensors[1:]
        if any(id(x) in self.known or id(x) in self.lost for x in others):
            self.written.add(_memory(target))
            self.alive.append(target)
        whole = target.device.type in WITHOUT_STORAGE
        part = (
            not whole and target.numel() * target.element_size() < target.untyped_storage().nbytes()
        )
        if not part or not any(x.ndim >= 3 and x.numel() > x.shape[0] for x in others):
            return
        memory = _memory(target)
        for tensor in self.alive:
            if id(tensor) in self.known and _memory(tensor) == memory:
                self.known.pop(id(tensor))
                self.lost.add(id(tensor))

    def _extend(
        self,
        name: str,
        args: tuple[Any, ...],
        tensors: list[Tensor],
        labels: list[Labels | None],
        outs: Any,
    ) -> None:
        """Which part of the image the rows and columns of the results show."""
        known = [
            self.extents.get(id(x), WHOLE)
            for x, item in zip(tensors, labels, strict=True)
            if item is not None and any(kind[0] in "HWT" for dim in item for kind, _ in dim)
        ]
        extent = known[0] if known else WHOLE
        rows, columns = half_a_place(self.of(outs[0]))
        limits = (rows, rows, columns, columns)
        if any(
            abs(a - b) > limit
            for other in known
            for a, b, limit in zip(extent, other, limits, strict=True)
        ):
            extent = (2.0, 3.0, 2.0, 3.0)  # Of several places: of none.
        mine = labels[0] if labels else None
        if mine is not None and name == "slice":
            axis = (args[1] if len(args) > 1 else 0) % len(mine)
            old, new = tensors[0].shape[axis], outs[0].shape[axis]
            first = args[2] if len(args) > 2 and args[2] is not None else 0
            first = max(0, min(first + old if first < 0 else first, old))
            step = args[4] if len(args) > 4 else 1
            extent = cropped(extent, mine[axis], first / old, (first + step * new) / old)
        if mine is not None and name == "constant_pad_nd":
            for pair in range(len(args[1]) // 2):
                axis = len(mine) - 1 - pair
                before, after = args[1][2 * pair], args[1][2 * pair + 1]
                old = max(1, tensors[0].shape[axis])
                extent = cropped(extent, mine[axis], -before / old, 1 + after / old)
        if mine is not None and len(mine) == 4:
            extent = slid(name, args, tensors, extent)
        if extent != WHOLE:
            for tensor in outs:
                if isinstance(tensor, Tensor):
                    self.extents[id(tensor)] = extent


def _kinds(labels: Labels) -> list[str]:
    """What each axis is made of, in letters; rolled rows are none."""
    return ["".join("?" if "~" in kind else kind[0] for kind, _ in dim) for dim in labels]


def _is(kind: str, wanted: str) -> bool:
    """One axis of rows (or columns); an axis of size 1 may stand for anything."""
    return kind in (wanted, "")


def _memory(tensor: Tensor) -> int:
    """Which storage a tensor lies in."""
    return id(tensor) if tensor.device.type in WITHOUT_STORAGE else tensor.untyped_storage()._cdata


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [item for part in value for item in _flat(part)]
    return [value]


def _sized(dim: Dim, size: int) -> Dim:
    """`dim` for an axis of this size: resampled rows are still rows."""
    if size == 1:
        return ()
    if len(dim) == 1 and dim[0][0][0] != "T":
        return ((dim[0][0], size),)
    return dim if math.prod(n for _, n in dim) == size and dim else (("C", size),)


def _pointwise(func: Any, name: str) -> bool:
    if torch.Tag.pointwise in func.tags or name.rstrip("_") in _SAME:
        return True
    base = getattr(torch.ops.aten, name.rstrip("_"), None)
    if base is None or base is func.overloadpacket:
        return False
    return any(torch.Tag.pointwise in getattr(base, o).tags for o in base.overloads())


_SAME = frozenset((
    "clone", "detach", "alias", "_to_copy", "copy", "contiguous", "lift_fresh", "relu", "dropout",
    "native_dropout", "native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm",
    "_native_batch_norm_legit_no_training", "_batch_norm_with_update", "_batch_norm_no_update",
    "native_group_norm", "native_layer_norm", "_softmax", "_log_softmax", "hardtanh", "prelu",
    "_prelu_kernel", "cumsum", "_conj", "where", "hardswish", "rsub", "floor_divide", "bernoulli",
    "log_sigmoid_forward", "rrelu", "rrelu_with_noise", "special_erf", "_fused_rms_norm",
    "rms_norm", "_safe_softmax",
))  # fmt: skip


_FRESH = frozenset((
    "new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", "zeros_like",
    "ones_like", "full_like", "empty_like", "rand_like", "randn_like",
))  # fmt: skip
"""Operations that take no more than size and kind from a tensor."""


def _broadcast(tensors: list[Tensor], labels: list[Labels | None], out: Any) -> Labels | None:
    shape = (out[0] if isinstance(out, tuple | list) else out).shape
    result: list[Dim] = [()] * len(shape)
    for tensor, mine in zip(tensors, labels, strict=True):
        if mine is None:
            continue
        offset = len(shape) - tensor.ndim
        for axis, dim in enumerate(mine):
            if tensor.shape[axis] == shape[offset + axis]:
                result[offset + axis] = merge(result[offset + axis], dim)
    return tuple(d or (("C", n),) for d, n in zip(result, shape, strict=True))
