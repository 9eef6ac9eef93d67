"""Flags of an attack's result: what can be counted on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convscope.attacks._criteria import is_finite
from convscope.flags import Flag, Severity

if TYPE_CHECKING:
    from convscope.attacks._result import AttackResult

COUNTED = ("zero-gradient", "zero-gradient-helped", "saturated", "nonfinite", "nonfinite-gradient",
           "target-predicted", "target-is-label", "budget-exceeded", "no-8-bit-image")  # fmt: skip
"""Codes that `noticed` gives; all others are the methods' own."""


def notes_of(*many: Iterable[Flag]) -> tuple[Flag, ...]:
    """The flags of the methods themselves, each once."""
    return tuple(dict.fromkeys(f for flags in many for f in flags if f.code not in COUNTED))


def noticed(
    result: AttackResult,
    *,
    outside: int,
    coarse: int,
    helped: bool,
    lost_gradients: int = 0,
    notes: Iterable[Flag] = (),
) -> tuple[Flag, ...]:
    """The flags of a result; what can be counted on it is counted here.

    Args:
        result: Whose flags are wanted.
        outside: Rows beyond the budget.
        coarse: Rows for which no 8-bit image lies inside the budget.
        helped: Rows without a gradient followed the margin instead.
        lost_gradients: Rows given up because a gradient was NaN or infinite.
        notes: Flags of the method itself.
    """
    found: list[Flag] = list(notes)
    total = len(result)

    def note(code: str, severity: Severity, count: int, sentence: str) -> None:
        if count:
            found.append(Flag(code, severity, count, total, sentence))

    zero = int((result.zero_gradients > 0).sum())
    note(
        "zero-gradient-helped" if helped else "zero-gradient",
        "warning",
        zero,
        f"zero gradient in {zero} of {total} rows" + (": margin used instead" if helped else ""),
    )
    # One probability is exactly 1 and the others exactly 0: cross-entropy has no gradient here.
    usable = is_finite(result.logits_before)
    flat = int((((result.logits_before.softmax(dim=1) % 1) == 0).all(dim=1) & usable).sum())
    if result.logits_before.shape[1] > 1:
        note("saturated", "note", flat, f"logits saturate softmax in {flat} of {total} rows")
    lost = int(result.unreadable.sum())
    note(
        "nonfinite",
        "warning",
        lost,
        f"NaN or infinite logits in {lost} of {total} rows: neither fooled nor robust",
    )
    note(
        "nonfinite-gradient",
        "warning",
        lost_gradients,
        f"NaN or infinite gradients in {lost_gradients} of {total} rows: given up there",
    )
    if result.targets is not None:
        same = int((result.predictions_before == result.targets).sum())
        true = int((result.labels == result.targets).sum())
        note("target-predicted", "note", same, f"target==prediction in {same} rows: not counted")
        note("target-is-label", "note", true, f"target==label in {true} rows: not counted")
    note("budget-exceeded", "error", outside, f"budget exceeded in {outside} rows")
    note("no-8-bit-image", "note", coarse, f"no 8-bit image inside the budget for {coarse} rows")
    return tuple(found)
