"""What an attack noticed: sentences for people, with the code and count that programs use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convscope.attacks._criteria import finite

if TYPE_CHECKING:
    from convscope.attacks._result import AttackResult


class Flag(str):
    """A sentence that knows its code and how many rows it is about.

    Attributes:
        code: What was noticed, such as ``"nonfinite"``; ``"note"`` for a method's own sentences.
        rows: How many rows; 0 where rows are not what it is about.

    Example:
        >>> flag = Flag("budget exceeded in 2 rows", code="outside", rows=2)
        >>> flag.code, flag.rows, flag.startswith("budget")
        ('outside', 2, True)
    """

    code: str
    rows: int

    def __new__(cls, sentence: str, *, code: str = "note", rows: int = 0) -> Flag:
        """The sentence, with its code."""
        made = super().__new__(cls, sentence)
        made.code, made.rows = code, rows
        return made


def code_of(flag: str) -> str:
    """The code of a flag; plain sentences are notes."""
    return flag.code if isinstance(flag, Flag) else "note"


def count_of(flags: Iterable[str], code: str) -> int:
    """How many rows the flags with this code are about."""
    return sum(flag.rows for flag in flags if isinstance(flag, Flag) and flag.code == code)


def notes_of(*many: Iterable[str]) -> tuple[str, ...]:
    """The sentences of the methods themselves, each once."""
    return tuple(dict.fromkeys(f for flags in many for f in flags if code_of(f) == "note"))


def noticed(
    result: AttackResult,
    *,
    outside: int,
    coarse: int,
    helped: bool,
    lost_gradients: int = 0,
    notes: Iterable[str] = (),
) -> tuple[str, ...]:
    """The flags of a result; what can be counted on it is counted here.

    Args:
        result: Whose flags are wanted.
        outside: Rows beyond the budget.
        coarse: Rows for which no 8-bit image lies inside the budget.
        helped: Rows without a gradient followed the margin instead.
        lost_gradients: Rows given up because a gradient was NaN or infinite.
        notes: Sentences of the method itself.
    """
    found: list[str] = list(notes)

    def note(code: str, count: int, sentence: str) -> None:
        if count:
            found.append(Flag(sentence, code=code, rows=count))

    total = len(result)
    zero = int((result.zero_gradients > 0).sum())
    note(
        "zero-gradient-helped" if helped else "zero-gradient",
        zero,
        f"zero gradient in {zero} of {total} rows" + (": margin used instead" if helped else ""),
    )
    # One probability is exactly 1 and the others exactly 0: cross-entropy has no gradient here.
    usable = finite(result.logits_before)
    flat = int((((result.logits_before.softmax(dim=1) % 1) == 0).all(dim=1) & usable).sum())
    if result.logits_before.shape[1] > 1:
        note("saturated", flat, f"logits saturate softmax in {flat} of {total} rows")
    unreadable = int(result.unreadable.sum())
    note(
        "nonfinite",
        unreadable,
        f"NaN or infinite logits in {unreadable} of {total} rows: neither fooled nor robust",
    )
    note(
        "nonfinite-gradient",
        lost_gradients,
        f"NaN or infinite gradients in {lost_gradients} of {total} rows: given up there",
    )
    if result.targets is not None:
        same = int((result.predictions_before == result.targets).sum())
        true = int((result.labels == result.targets).sum())
        note("target-predicted", same, f"target==prediction in {same} rows: not counted")
        note("target-is-label", true, f"target==label in {true} rows: not counted")
    note("outside", outside, f"budget exceeded in {outside} rows")
    note("coarse", coarse, f"no 8-bit image inside the budget for {coarse} rows")
    return tuple(found)
