"""Rules of how each operation of torch moves the axes of its inputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Atom = tuple[str, int]
"""``("N" | "H" | "W" | "C" | "?", size)``: image, row, column, neither, unknown. Rows that ``view``
has cut into cells are ``"H|7"``, the coarse rows, and ``"h7"``, the places within a cell; next to
each other, in this order, they are rows again. ``"H~3"`` are rows rolled by 3. ``"T1:7:9:0"`` are
tokens: 1 that has no place, such as a class token, 7 rows of 9, and none after them."""


Dim = tuple[Atom, ...]


Labels = tuple[Dim, ...]


def is_channel(kind: str) -> bool:
    """Channels, and places within a cell of rows or columns that count as channels."""
    return set(kind) <= {"C", "h", "w"}


def tokens_of(dim: Dim) -> tuple[int, int, int, int] | None:
    """(tokens before, rows, columns, tokens after) of an axis of positions in row-major order.

    Example:
        >>> tokens_of((("H", 7), ("W", 9))), tokens_of((("T1:7:9:0", 64),)), tokens_of((("C", 5),))
        ((0, 7, 9, 0), (1, 7, 9, 0), None)
    """
    if len(dim) == 1 and dim[0][0][0] == "T":
        before, rows, columns, after = map(int, dim[0][0][1:].split(":"))
        return before, rows, columns, after
    if [kind[0] for kind, _ in dim] == ["H", "W"] and not any("~" in kind for kind, _ in dim):
        return 0, dim[0][1], dim[1][1], 0
    return None


def _tokens(before: int, rows: int, columns: int, after: int) -> Dim:
    """The axis that `tokens_of` describes."""
    if before == after == 0:
        return (("H", rows), ("W", columns))
    return ((f"T{before}:{rows}:{columns}:{after}", before + rows * columns + after),)


def _part(dim: Dim, first: int, last: int) -> Dim:
    """Tokens from `first` to before `last`: all places, none of them, or nothing to be said."""
    found = tokens_of(dim)
    if found is not None:
        before, rows, columns, _ = found
        end = before + rows * columns
        if first <= before and last >= end:
            return _tokens(before - first, rows, columns, last - end)
        if last <= before or first >= end:
            return (("C", last - first),)
    return (("?", last - first),)


def merge(one: Dim, other: Dim) -> Dim:
    """The meaning of an axis that two tensors share."""
    if not other or all(kind == "C" for kind, _ in other):
        return one
    if [_place(kind) for kind, _ in one] == [_place(kind) for kind, _ in other]:
        return one  # Coarse rows of a grid are rows, however they were made.
    if not one or all(kind == "C" for kind, _ in one):
        return other
    return tuple(("?", size) for _, size in one)


def _place(kind: str) -> str:
    """Rows, columns and the like without the number of their cut; tokens and rolls in full."""
    return kind if kind[0] == "T" or "~" in kind else kind[0]


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


def _repeated(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    """An axis of size 1 is extended; places that are put behind each other are none."""
    mine = _expanded(args, kwargs, tensors, labels, out)
    return tuple(
        dim if times == 1 or all(kind == "C" for kind, _ in dim) else (("?", size),)
        for dim, times, size in zip(mine, args[1], out.shape, strict=True)
    )


def _selected(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    del mine[args[1] % len(mine)]
    return tuple(mine)


def _sliced(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    axis = (args[1] if len(args) > 1 else 0) % len(mine)
    old, new = tensors[0].shape[axis], out.shape[axis]
    several = len(mine[axis]) != 1 or mine[axis][0][0][0] == "T"
    if old != new and any(kind != "C" for kind, _ in mine[axis]) and several:
        # A part of one axis of rows, without tokens, is followed by its extent.
        first = args[2] if len(args) > 2 and args[2] is not None else 0
        first = max(0, min(first + old if first < 0 else first, old))
        step = args[4] if len(args) > 4 else 1
        mine[axis] = _part(mine[axis], first, first + new) if step == 1 else (("?", new),)
    return tuple(mine)


def _split(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> list[Labels]:
    mine = list(_first(labels))
    axis = (args[2] if len(args) > 2 else kwargs.get("dim", 0)) % len(mine)
    whole = all(kind == "C" for kind, _ in mine[axis])
    found, first = [], 0
    for part in out:
        last = first + part.shape[axis]
        one: Dim = (("C", last - first),) if whole else _part(mine[axis], first, last)
        found.append(tuple(one if a == axis else d for a, d in enumerate(mine)))
        first = last
    return found


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
        result = [merge(a, b) if n != axis else a for n, (a, b) in enumerate(both)]
    result[axis] = _in_a_row([item[axis] for item in labels], [x.shape[axis] for x in tensors])
    return tuple(result)


def _in_a_row(dims: list[Dim], sizes: list[int]) -> Dim:
    """Channels behind channels, or places with tokens before and after that have none."""
    places = [n for n, dim in enumerate(dims) if any(kind[0] not in "C" for kind, _ in dim)]
    if not places:
        return (("C", sum(sizes)),)
    found = tokens_of(dims[places[0]])
    if len(places) > 1 or found is None:
        return (("?", sum(sizes)),)
    before, rows, columns, after = found
    return _tokens(
        before + sum(sizes[: places[0]]), rows, columns, after + sum(sizes[places[0] + 1 :])
    )


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


def _normed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    return _reduced((args[0], *args[2:]), kwargs, tensors, labels, out)


def _unfolded(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    """Cells side by side: places within them behind the channels, and an axis of cells."""
    image, channels, rows, columns = _first(labels)
    kernel, dilation, padding, stride = args[1:5]
    height, width = kernel
    if not _side_by_side(kernel, dilation, padding, stride, tensors[0].shape[2:]):
        return None
    cut = regrouped(
        (rows, columns),
        (tensors[0].shape[2] // height, height, tensors[0].shape[3] // width, width),
    )
    if cut is None or any(kind[0] == "?" for dim in cut for kind, _ in dim):
        return None
    return image, (*channels, *cut[1], *cut[3]), (*cut[0], *cut[2])


def _folded(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    """`_unfolded` cells put together again; in another order they are no rows and columns."""
    image, inside, cells = _first(labels)
    sides, kernel, dilation, padding, stride = args[1:6]
    (height, width), (high, wide) = sides, kernel
    if not _side_by_side(kernel, dilation, padding, stride, sides):
        return None
    parts = (out.shape[1], high, wide), (height // high, width // wide)
    within, coarse = regrouped((inside,), parts[0]), regrouped((cells,), parts[1])
    if within is None or coarse is None:
        return None
    rows, columns = (*coarse[0], *within[1]), (*coarse[1], *within[2])
    return image, within[0], _rejoined(list(rows)), _rejoined(list(columns))


def _side_by_side(kernel: Any, dilation: Any, padding: Any, stride: Any, sides: Any) -> bool:
    """Whether cells of this form cover an image, each place once."""
    return (
        list(stride) == list(kernel)
        and set(dilation) == {1}
        and set(padding) == {0}
        and all(side % size == 0 for side, size in zip(sides, kernel, strict=True))
    )


def _rolled(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels:
    mine = list(_first(labels))
    axes = args[2] if len(args) > 2 else []
    shifts = args[1] if isinstance(args[1], list | tuple) else [args[1]]
    if not axes:
        return tuple(tuple((k if k == "C" else "?", n) for k, n in d) for d in mine)
    for axis, shift in zip(axes, shifts, strict=True):
        dim = mine[axis % len(mine)]
        if len(dim) == 1 and dim[0][0][0] in "HW":  # Windows are rolled there and back.
            kind, _, before = dim[0][0].partition("~")
            moved = (int(before or 0) + int(shift)) % dim[0][1]
            dim = ((f"{kind}~{moved}" if moved else kind, dim[0][1]),)
        else:
            dim = tuple((k if k == "C" else "?", n) for k, n in dim)
        mine[axis % len(mine)] = dim
    return tuple(mine)


def _indexed(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    """Entries of one axis by a list of numbers: harmless among channels."""
    mine = list(_first(labels))
    chosen = [(axis, index) for axis, index in enumerate(args[1]) if index is not None]
    if len(chosen) != 1 or chosen[0][1].ndim != 1 or chosen[0][1].dtype == torch.bool:
        return None
    axis = chosen[0][0]
    whole = is_channel("".join(kind[0] for kind, _ in mine[axis]))
    mine[axis] = (("C" if whole else "?", out.shape[axis]),)
    return tuple(mine)


def _flipped(args: Any, kwargs: Any, tensors: Any, labels: Any, out: Any) -> Labels | None:
    """Axes in reverse order: harmless among channels, such as blue, green, red."""
    mine = list(_first(labels))
    for axis in args[1] if len(args) > 1 else kwargs["dims"]:
        if not is_channel("".join(kind[0] for kind, _ in mine[axis])):
            return None
        mine[axis] = (("C", out.shape[axis]),)
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


RULES: dict[str, Rule] = {
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
    "repeat": _repeated, "im2col": _unfolded, "col2im": _folded,
    "slice": _sliced, "split": _split, "split_with_sizes": _split, "unsafe_split": _split,
    "chunk": _split, "unbind": _unbound, "cat": _joined, "stack": _stacked,
    "mean": _reduced, "sum": _reduced, "amax": _reduced, "amin": _reduced, "var": _reduced,
    "var_mean": _reduced, "linalg_vector_norm": _normed, "max": _reduced, "std": _reduced,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
    "_scaled_dot_product_attention_math": _attended,
    "_scaled_dot_product_fused_attention_overrideable": _attended,
    "_native_multi_head_attention": _attended, "_transformer_encoder_layer_fwd": _attended,
    "index": _indexed, "flip": _flipped, "glu": _halved, "_upsample_nearest_exact2d": _resampled,
    "_upsample_bicubic2d_aa": _resampled,
    "roll": _rolled, "mm": _multiplied, "bmm": _multiplied, "addmm": _multiplied,
    "baddbmm": _multiplied, "_addmm_activation": _multiplied,
}  # fmt: skip
