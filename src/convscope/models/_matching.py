"""Whether the tensors of a file are the weights of a network, and if not, of which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convscope.errors import CheckpointError, NumericalError, UsageError
from convscope.models._architecture import InputShape
from convscope.models._registry import MODELS

Shapes = Mapping[str, tuple[int, ...]]
_PREFIXES = ("module.", "_orig_mod.")
_SIDES = (28, 32)
OWN_NETWORK = "for a network of your own: package.module:factory --weights"
LIKELY = 0.3
"""Share of agreeing names and shapes from which a network is worth naming."""


@dataclass(frozen=True, kw_only=True)
class KeyTable:
    """How the names and shapes in a file differ from those of a network.

    Attributes:
        missing: In the network, not in the file.
        extra: In the file, not in the network.
        reshaped: In both: (name, shape in the file, shape in the network).
        equal: How many agree.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    equal: int

    def __bool__(self) -> bool:
        """True if anything differs."""
        return bool(self.missing or self.extra or self.reshaped)

    def __str__(self) -> str:
        """One line per difference."""
        rows = [f"missing       {name}" for name in self.missing]
        rows += [f"extra         {name}" for name in self.extra]
        rows += [f"shape differs {name}: {a} in the file, {b} here" for name, a, b in self.reshaped]
        return "\n".join(rows)

    def sentence(self) -> str:
        """All of it on one line, long lists cut."""
        parts = []
        for label, names in (
            ("missing", self.missing),
            ("extra", self.extra),
            ("shape differs", tuple(f"{n} {a} for {b}" for n, a, b in self.reshaped)),
        ):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                parts.append(f"{len(names)} {label}: {', '.join(names[:3])}{more}")
        return "; ".join(parts)


def compare_keys(file: Shapes, network: Shapes) -> KeyTable:
    """The differences between two tables of named shapes.

    Example:
        >>> print(compare_keys({"fc.weight": (5, 4)}, {"fc.weight": (10, 4), "fc.bias": (10,)}))
        missing       fc.bias
        shape differs fc.weight: (5, 4) in the file, (10, 4) here
    """
    both = [name for name in network if name in file]
    reshaped = tuple((n, file[n], network[n]) for n in both if file[n] != network[n])
    return KeyTable(
        missing=tuple(name for name in network if name not in file),
        extra=tuple(name for name in file if name not in network),
        reshaped=reshaped,
        equal=len(both) - len(reshaped),
    )


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes alone."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def without_prefix(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Drop a ``module.`` that DataParallel, or a ``_orig_mod.`` that torch.compile put before."""
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            return stripped, f"the prefix {prefix!r} of every weight was removed"
    return tensors, ""


def fit(
    tensors: dict[str, Tensor], network: nn.Module, *, path: Path, allow_nonfinite: bool = False
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors as `network` wants them, and what is odd about them.

    Floating-point tensors are converted to the network's type (float32 for the registry).
    Nothing is filled in and nothing is left out.

    Args:
        tensors: From a file.
        network: On the meta device: only its names, shapes and types are looked at.
        path: The file, for error texts.
        allow_nonfinite: Let NaN and infinity pass.

    Raises:
        CheckpointError: C10 names or shapes differ, C11 another architecture, C12 another number
            of classes, C14 whole numbers where weights belong, C15 a negative variance.
        NumericalError: C13 NaN or infinity.
    """
    wanted = network.state_dict()
    table = compare_keys(shapes_of(tensors), shapes_of(wanted))
    if table:
        raise _mismatch(table, tensors, wanted, path)
    return fit_all(tensors, wanted, path=path, allow_nonfinite=allow_nonfinite)


def fit_all(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    *,
    path: Path,
    allow_nonfinite: bool = False,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """`tensors` in the types of `wanted`, which has the same names and shapes. See `fit`."""
    ready: dict[str, Tensor] = {}
    notes: list[str] = []
    for name, target in wanted.items():
        tensor = tensors[name]
        if tensor.is_floating_point() != target.is_floating_point():
            raise CheckpointError(
                f"{name} holds {str(tensor.dtype).removeprefix('torch.')}",
                code="C14",
                where=path,
                expected="floating-point weights: float64, float32, float16 or bfloat16",
                hint="quantized weights must be converted back first",
            )
        value = tensor.to(target.dtype)
        if not allow_nonfinite:
            check_finite(name, value, path)
        if name.endswith("running_var") and bool((value < 0).any()):
            raise CheckpointError(f"{name} has a negative variance", code="C15", where=path)
        if name.endswith("running_var") and bool((value == 0).any()):
            notes.append(f"{name} is zero in {int((value == 0).sum())} channels")
        if value.ndim >= 2 and not bool(value.any()):
            notes.append(f"{name} is all zero")
        ready[name] = value
    return ready, tuple(notes)


def check_finite(name: str, value: Tensor, path: Path | str) -> None:
    """Refuse NaN and infinity.

    Raises:
        NumericalError: C13, with how many there are and where.
    """
    bad = value.numel() - int(value.isfinite().sum()) if value.is_floating_point() else 0
    if bad:
        nans = int(value.isnan().sum())
        kinds = " and ".join(
            f"{count} {word}" for count, word in ((nans, "NaN"), (bad - nans, "infinite")) if count
        )
        raise NumericalError(
            f"{kinds} in {name}",
            code="C13",
            where=path,
            hint="training diverged; use an earlier checkpoint, or --allow-nonfinite to look",
        )


def _mismatch(
    table: KeyTable, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path
) -> CheckpointError:
    head = set(list(wanted)[-2:])
    only_classes = all(n in head and file[1:] == here[1:] for n, file, here in table.reshaped)
    if not table.missing and not table.extra and only_classes:
        _, file, here = table.reshaped[0]
        return CheckpointError(
            f"the weights are for {file[0]} classes, the configuration names {here[0]}",
            code="C12",
            where=path,
        )
    near, share = closest(tensors)
    error = CheckpointError(
        table.sentence(),
        code="C10" if table.equal else "C11",
        where=path,
        hint=f"the weights look like {near}"
        if share >= LIKELY
        else f"{OWN_NETWORK} {path.name} (docs/models.md)",
    )
    error.add_note(str(table))
    return error


def closest(tensors: Mapping[str, Tensor]) -> tuple[str, float]:
    """The registered architecture that shares most names and shapes with `tensors`.

    Returns:
        Its name and the share of agreeing entries, 0 to 1.
    """
    best = ("", 0.0)
    for name, _, _, table in _candidates(tensors):
        total = table.equal + len(table.missing) + len(table.extra) + len(table.reshaped)
        if total and table.equal / total > best[1]:
            best = (name, table.equal / total)
    return best


def recognize(tensors: Mapping[str, Tensor], path: Path) -> tuple[str, int, InputShape]:
    """Architecture, number of classes and input shape of weights that come without a config.

    Raises:
        CheckpointError: C11 if none or several registered networks have these names and shapes.
    """
    fitting: dict[str, tuple[int, InputShape]] = {}
    for name, classes, shape, table in _candidates(tensors):
        if not table:
            fitting.setdefault(name, (classes, shape))
    if len(fitting) == 1:
        name, (classes, shape) = next(iter(fitting.items()))
        return name, classes, shape
    if fitting:
        raise CheckpointError(
            f"the weights fit {' and '.join(fitting)}",
            code="C11",
            where=path,
            hint="put a config.json that names the architecture beside the file",
        )
    near, share = closest(tensors)
    raise CheckpointError(
        "no registered network has these names and shapes",
        code="C11",
        where=path,
        expected=f"something like {near}" if share >= LIKELY else f"one of {', '.join(MODELS)}",
        hint=f"{OWN_NETWORK} {path.name} (docs/models.md has an example)",
    )


def _candidates(
    tensors: Mapping[str, Tensor],
) -> Iterator[tuple[str, int, InputShape, KeyTable]]:
    """Every registered network, laid out for the classes and channels that the tensors show."""
    shapes = shapes_of(tensors)
    first = shapes.get("conv1.weight", ())
    channels = first[1] if len(first) == 4 else 1
    # A file keeps no order, so any dense layer may be the last one.
    rows = sorted({shape[0] for shape in shapes.values() if len(shape) == 2 and shape[0]})
    for name, architecture in MODELS.items():
        for classes in rows[:8] or [10]:
            for side in dict.fromkeys((architecture.input_shape[1], *_SIDES)):
                shape = (channels, side, side)
                try:
                    outline = architecture.outline(classes, shape)
                except (UsageError, RuntimeError):
                    continue
                table = compare_keys(shapes, shapes_of(outline.state_dict()))
                yield name, classes, shape, table


def adopt(network: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """Give a network on the meta device its weights; it is ready to judge images."""
    with torch.no_grad():
        network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval()
