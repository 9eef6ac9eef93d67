"""Which axes of a layer's output are rows and columns of the image?

A layer's output of shape (n, a, b, c) may be maps (channel, height, width), channels-last maps
(height, width, channel), an attention matrix (head, token, token), or a table that does not even
depend on the image. Shapes cannot tell. So every operation of one forward pass is watched, and the
meaning of each axis is carried along: a convolution keeps rows and columns, ``permute`` moves them,
``view`` joins and splits axes, ``matmul`` keeps the rows of its left factor. An operation that is
not known loses the meaning, and nothing is claimed about what follows it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Atom = tuple[str, int]
"""``("N" | "H" | "W" | "C" | "?", size)``: image, row, column, neither, unknown. Rows that ``view``
has cut into cells are ``"H|7"``, the coarse rows, and ``"h7"``, the places within a cell; next to
each other, in this order, they are rows again."""
Dim = tuple[Atom, ...]
Labels = tuple[Dim, ...]

Layout = Literal["maps", "channels-last maps", "tokens", "other", "unknown"]
"""What the axes of an output are: ``"maps"`` (image, channel, row, column), ``"channels-last
maps"`` (image, row, column, channel), ``"tokens"`` (positions in one axis), ``"other"`` (known to
be none of these), ``"unknown"``."""


_PASSING_ON = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""Modules that hand on what they got: layers are not named after them."""


@dataclass(frozen=True)
class Seen:
    """One module call.

    Attributes:
        path: Name of the module.
        number: Which call of it.
        layout: What its output's axes are.
        shape: Of the output, without the image axis.
        tensor: Identity of the output; calls that hand one tensor on have the same.
        leaf: Whether the module has no children, and does something in evaluation mode.
        weighted: Whether it holds parameters itself.
    """

    path: str
    number: int
    layout: Layout
    shape: tuple[int, ...]
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
                    seen.append(Seen(path, number, "other", shape, id(parts[0]), False, own))
                return
            if isinstance(child, nn.Conv2d) and isinstance(inputs, tuple):
                # Circular padding is written piece by piece into an empty tensor.
                given = mode.of(inputs[0])
                if mode.of(output) is None and given is not None:
                    mode.note(output, (given[0], (("C", output.shape[1]),), *given[2:]))
            if isinstance(output, Tensor):
                mode.alive.append(output)
                seen.append(
                    Seen(
                        path=path,
                        number=number,
                        layout=mode.layout(output),
                        shape=tuple(output.shape[1:]),
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
        labels = self.of(tensor)
        if labels is None:
            return "unknown"
        kinds = ["".join(kind[0] for kind, _ in dim) for dim in labels]
        if not kinds or kinds[0] != "N":
            return "other"
        if len(kinds) == 4 and _channel(kinds[1]) and _is(kinds[2], "H") and _is(kinds[3], "W"):
            return "maps" if _centered(self.extents.get(id(tensor), WHOLE)) else "other"
        if len(kinds) == 4 and _is(kinds[1], "H") and _is(kinds[2], "W") and _channel(kinds[3]):
            return "channels-last maps"
        if any("?" in kind for kind in kinds):
            return "other" if len(kinds) > 2 else "unknown"
        if len(kinds) == 3 and ("HW" in kinds[1] or "HW" in kinds[2]):
            return "tokens"
        return "other"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in _flat((args, tuple(kwargs.values()))) if isinstance(x, Tensor)]
        labels = [self.of(x) for x in tensors]
        name = func.overloadpacket.__name__
        if func._schema.is_mutable and tensors:
            self._written(tensors)
        out = func(*args, **kwargs)
        if not any(item is not None for item in labels):
            if any(id(x) in self.lost for x in tensors):
                for tensor in _flat(out):
                    if isinstance(tensor, Tensor):
                        self.note(tensor, None)
            return out
        rule = _RULES.get(name) or _RULES.get(name.rstrip("_"))
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

    def _mixed(self, tensors: list[Tensor], found: Labels) -> bool:
        """Whether an operand that could not be followed has rows or columns of its own."""
        rank = len(found)
        return any(
            id(x) in self.lost
            and any(
                n > 1 and any(kind[0] in "HW" for kind, _ in found[rank - x.ndim + axis])
                for axis, n in enumerate(x.shape)
            )
            for x in tensors
            if x.ndim <= rank
        )

    def _written(self, tensors: list[Tensor]) -> None:
        """Another map written into a part of a tensor: nothing is known of the tensor any more."""
        target, others = tensors[0], tensors[1:]
        part = target.numel() * target.element_size() < target.untyped_storage().nbytes()
        if not part or not any(x.ndim >= 3 and x.numel() > x.shape[0] for x in others):
            return
        memory = target.untyped_storage()._cdata
        for tensor in self.alive:
            if id(tensor) in self.known and tensor.untyped_storage()._cdata == memory:
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
            if item is not None and any(kind[0] in "HW" for dim in item for kind, _ in dim)
        ]
        extent = known[0] if known else WHOLE
        if any(abs(a - b) > 0.1 for other in known for a, b in zip(extent, other, strict=True)):
            extent = (2.0, 3.0, 2.0, 3.0)  # Of several places: of none.
        mine = labels[0] if labels else None
        if mine is not None and name == "slice":
            axis = (args[1] if len(args) > 1 else 0) % len(mine)
            old, new = tensors[0].shape[axis], outs[0].shape[axis]
            first = args[2] if len(args) > 2 and args[2] is not None else 0
            first = max(0, min(first + old if first < 0 else first, old))
            step = args[4] if len(args) > 4 else 1
            extent = _cropped(extent, mine[axis], first / old, (first + step * new) / old)
        if mine is not None and name == "constant_pad_nd":
            for pair in range(len(args[1]) // 2):
                axis = len(mine) - 1 - pair
                before, after = args[1][2 * pair], args[1][2 * pair + 1]
                old = max(1, tensors[0].shape[axis])
                extent = _cropped(extent, mine[axis], -before / old, 1 + after / old)
        if mine is not None and len(mine) == 4:
            extent = _slid(name, args, tensors, extent)
        if extent != WHOLE:
            for tensor in outs:
                if isinstance(tensor, Tensor):
                    self.extents[id(tensor)] = extent


Extent = tuple[float, float, float, float]
"""First and last row, first and last column that a map shows, as shares of the image."""
WHOLE: Extent = (0.0, 1.0, 0.0, 1.0)


def _cropped(extent: Extent, dim: Dim, first: float, last: float) -> Extent:
    """Of an axis of rows or columns only the part from `first` to `last` is left (or padded)."""
    kinds = {kind[0] for kind, _ in dim}
    top, bottom, left, right = extent
    if "H" in kinds:
        size = bottom - top
        top, bottom = top + first * size, top + last * size
    if "W" in kinds:
        size = right - left
        left, right = left + first * size, left + last * size
    return top, bottom, left, right


def _slid(name: str, args: tuple[Any, ...], tensors: list[Tensor], extent: Extent) -> Extent:
    """A window that slides over a padded map without padding of its own takes the frame away."""
    if name == "convolution" and not args[6]:
        sides, pads, dilation = args[1].shape[2:], args[4], args[5]
    elif name in ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"):
        sides, pads, dilation = args[1], args[3] if len(args) > 3 else (0,), (1,)
    else:
        return extent
    top, bottom, left, right = extent
    ends = [[top, bottom], [left, right]]
    for axis, pair in enumerate(ends):
        reach = (_nth(sides, axis) - 1) * _nth(dilation, axis) / 2 - _nth(pads, axis)
        share = reach / max(1, tensors[0].shape[2 + axis]) * (pair[1] - pair[0])
        if pair[0] < 0:
            pair[0] = min(pair[0] + share, 0.0)
        if pair[1] > 1:
            pair[1] = max(pair[1] - share, 1.0)
    return ends[0][0], ends[0][1], ends[1][0], ends[1][1]


def _nth(values: Sequence[int], axis: int) -> int:
    return int(values[axis] if len(values) > axis else values[-1]) if len(values) else 0


def _centered(extent: Extent) -> bool:
    """Whether a map that is stretched over the image lies roughly where it belongs."""
    top, bottom, left, right = extent
    return all(
        abs((first + last) / 2 - 0.5) <= 0.13 and 0.74 <= last - first <= 1.51
        for first, last in ((top, bottom), (left, right))
    )


def _is(kind: str, wanted: str) -> bool:
    """One axis of rows (or columns); an axis of size 1 may stand for anything."""
    return kind in (wanted, "")


def _channel(kind: str) -> bool:
    """Channels, and places within a cell of rows or columns that count as channels."""
    return set(kind) <= {"C", "h", "w"}


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
    if len(dim) == 1:
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


def _merge(one: Dim, other: Dim) -> Dim:
    """The meaning of an axis that two tensors share."""
    if not other or all(kind == "C" for kind, _ in other):
        return one
    if [kind[0] for kind, _ in one] == [kind[0] for kind, _ in other]:
        return one  # Coarse rows of a grid are rows, however they were made.
    if not one or all(kind == "C" for kind, _ in one):
        return other
    return tuple(("?", size) for _, size in one)


def _broadcast(tensors: list[Tensor], labels: list[Labels | None], out: Any) -> Labels | None:
    shape = (out[0] if isinstance(out, tuple | list) else out).shape
    result: list[Dim] = [()] * len(shape)
    for tensor, mine in zip(tensors, labels, strict=True):
        if mine is None:
            continue
        offset = len(shape) - tensor.ndim
        for axis, dim in enumerate(mine):
            if tensor.shape[axis] == shape[offset + axis]:
                result[offset + axis] = _merge(result[offset + axis], dim)
    return tuple(d or (("C", n),) for d, n in zip(result, shape, strict=True))


Rule = Callable[[tuple[Any, ...], dict[str, Any], list[Tensor], list[Any], Any], Any]


def _first(labels: list[Labels | None]) -> Labels:
    if labels[0] is None:
        raise ValueError
    return labels[0]


def _convolved(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = _first(labels)
    return (mine[0], (("C", out.shape[1]),), *mine[2:])


def _resampled(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    return _first(labels)


def _permuted(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = _first(labels)
    return tuple(mine[axis] for axis in args[1])


def _transposed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    one, two = (args[1], args[2]) if len(args) > 2 else (0, len(mine) - 1)
    if len(mine) > 1:
        mine[one], mine[two] = mine[two], mine[one]
    return tuple(mine)


def _viewed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    return regrouped(_first(labels), out.shape)


def regrouped(labels: Labels, shape: Sequence[int]) -> Labels | None:
    """Labels after ``view``: axes joined and split in order."""
    atoms = [atom for dim in labels for atom in dim if atom[1] != 1]
    result: list[Dim] = []
    for size in shape:
        need, mine = int(size), []
        while need > 1:
            if not atoms:
                return None
            kind, have = atoms.pop(0)
            if need % have == 0:
                mine.append((kind, have))
                need //= have
            elif have % need == 0:
                coarse, fine = _cut(kind)
                mine.append((coarse, need))
                atoms.insert(0, (fine, have // need))
                need = 1
            else:
                return None
        result.append(_rejoined(mine))
    return tuple(result)


_cuts = itertools.count()


def _cut(kind: str) -> tuple[str, str]:
    """The two parts of an axis that is split: cells, and places within a cell."""
    if kind == "C":
        return "C", "C"
    if kind[0] in "HW":
        number = next(_cuts)
        return f"{kind}|{number}", f"{kind[0].lower()}{number}"
    return "?", "?"


def _rejoined(dim: list[Atom]) -> Dim:
    """Cells followed by the places within them are one axis again."""
    result: list[Atom] = []
    for kind, size in dim:
        before = result[-1] if result else ("", 0)
        whole, _, number = before[0].rpartition("|")
        if whole and kind == f"{whole[0].lower()}{number}":
            result[-1] = (whole, before[1] * size)
        else:
            result.append((kind, size))
    return tuple(result)


def _unsqueezed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    mine.insert(args[1] % (len(mine) + 1), ())
    return tuple(mine)


def _squeezed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine, shape = _first(labels), tensors[0].shape
    if len(args) > 1:
        axes = {
            a % len(mine) for a in (args[1] if isinstance(args[1], list | tuple) else [args[1]])
        }
    else:
        axes = set(range(len(mine)))
    return tuple(d for a, d in enumerate(mine) if not (a in axes and shape[a] == 1))


def _expanded(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = _first(labels)
    return (*[()] * (out.ndim - len(mine)), *mine)


def _selected(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    del mine[args[1] % len(mine)]
    return tuple(mine)


def _sliced(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    axis = (args[1] if len(args) > 1 else 0) % len(mine)
    old, new = tensors[0].shape[axis], out.shape[axis]
    if old != new and any(kind != "C" for kind, _ in mine[axis]) and len(mine[axis]) != 1:
        mine[axis] = (("?", new),)  # A part of one axis of rows is followed by its extent.
    return tuple(mine)


def _split(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> list[Labels]:
    mine = list(_first(labels))
    axis = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % len(mine)
    whole = all(kind == "C" for kind, _ in mine[axis])
    return [
        tuple(((("C" if whole else "?"), part.shape[a]),) if a == axis else d
              for a, d in enumerate(mine))
        for part in out
    ]  # fmt: skip


def _unbound(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> list[Labels]:
    mine = list(_first(labels))
    del mine[(args[1] if len(args) > 1 else 0) % len(mine)]
    return [tuple(mine)] * len(out)


def _joined(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    if any(item is None for item in labels):
        return None
    result = list(labels[0])
    for item in labels[1:]:
        both = zip(result, item, strict=True)
        result = [_merge(a, b) if n != axis else a for n, (a, b) in enumerate(both)]
    whole = all(kind == "C" for item in labels for kind, _ in item[axis])
    result[axis] = (("C" if whole else "?", out.shape[axis]),)
    return tuple(result)


def _stacked(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    if any(item != labels[0] for item in labels) or labels[0] is None:
        return None
    result = list(labels[0])
    result.insert(axis, (("C", out.shape[axis]),))
    return tuple(result)


def _reduced(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = _first(labels)
    result = out[0] if isinstance(out, tuple | list) else out
    axes = args[1] if len(args) > 1 else kwargs.get("dim")
    if axes is None or (isinstance(axes, list | tuple) and not axes):
        axes = list(range(len(mine)))
    gone = {a % len(mine) for a in (axes if isinstance(axes, list | tuple) else [axes])}
    if result.ndim == len(mine):
        return tuple(() if a in gone else d for a, d in enumerate(mine))
    return tuple(d for a, d in enumerate(mine) if a not in gone)


def _rolled(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = _first(labels)
    axes = args[2] if len(args) > 2 else args[1]
    moved = {a % len(mine) for a in axes}
    return tuple(
        tuple((k if k == "C" else "?", n) for k, n in d) if a in moved else d
        for a, d in enumerate(mine)
    )


def _indexed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    """Entries of one axis by a list of numbers: harmless among channels."""
    mine = list(_first(labels))
    chosen = [(axis, index) for axis, index in enumerate(args[1]) if index is not None]
    if len(chosen) != 1 or chosen[0][1].ndim != 1 or chosen[0][1].dtype == torch.bool:
        return None
    axis = chosen[0][0]
    whole = _channel("".join(kind[0] for kind, _ in mine[axis]))
    mine[axis] = (("C" if whole else "?", out.shape[axis]),)
    return tuple(mine)


def _halved(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    """Gated linear units: one half of an axis gates the other."""
    mine = list(_first(labels))
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", -1)) % len(mine)
    whole = all(kind == "C" for kind, _ in mine[axis])
    mine[axis] = (("C" if whole else "?", out.shape[axis]),)
    return tuple(mine)


def _attended(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    """Attention has the places of its queries."""
    result = out[0] if isinstance(out, tuple | list) else out
    return (*_first(labels)[:-1], (("C", result.shape[-1]),))


def _multiplied(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    one, two = labels[-2:]
    if one is None:
        one = tuple((("?", n),) for n in tensors[-2].shape)
    last: Dim = (("C", out.shape[-1]),) if two is None else two[-1]
    return (*one[:-1], last)


_RULES: dict[str, Rule] = {
    "convolution": _convolved, "_convolution": _convolved, "mkldnn_convolution": _convolved,
    "max_pool2d_with_indices": _resampled, "max_pool2d": _resampled, "avg_pool2d": _resampled,
    "_adaptive_avg_pool2d": _resampled, "adaptive_max_pool2d": _resampled,
    "mkldnn_max_pool2d": _resampled, "fractional_max_pool2d": _resampled,
    "upsample_nearest2d": _resampled, "upsample_bilinear2d": _resampled,
    "upsample_bicubic2d": _resampled, "_upsample_bilinear2d_aa": _resampled,
    "constant_pad_nd": _resampled, "reflection_pad2d": _resampled,
    "replication_pad2d": _resampled, "pixel_shuffle": _resampled, "pixel_unshuffle": _resampled,
    "native_channel_shuffle": _resampled, "channel_shuffle": _resampled,
    "permute": _permuted, "transpose": _transposed, "t": _transposed,
    "view": _viewed, "_unsafe_view": _viewed, "reshape": _viewed, "_reshape_alias": _viewed,
    "unsqueeze": _unsqueezed, "squeeze": _squeezed, "expand": _expanded, "select": _selected,
    "slice": _sliced, "split": _split, "split_with_sizes": _split, "unsafe_split": _split,
    "chunk": _split, "unbind": _unbound, "cat": _joined, "stack": _stacked,
    "mean": _reduced, "sum": _reduced, "amax": _reduced, "amin": _reduced, "var": _reduced,
    "var_mean": _reduced, "linalg_vector_norm": _reduced, "max": _reduced, "std": _reduced,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
    "_scaled_dot_product_attention_math": _attended,
    "_scaled_dot_product_fused_attention_overrideable": _attended,
    "_native_multi_head_attention": _attended, "_transformer_encoder_layer_fwd": _attended,
    "index": _indexed, "glu": _halved, "_upsample_nearest_exact2d": _resampled,
    "_upsample_bicubic2d_aa": _resampled,
    "roll": _rolled, "mm": _multiplied, "bmm": _multiplied, "addmm": _multiplied,
    "baddbmm": _multiplied, "_addmm_activation": _multiplied,
}  # fmt: skip
