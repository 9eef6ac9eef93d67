"""Several attacks one after the other, each only on the rows that still stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convscope._watched import stretch
from convscope.attacks._flags import count_of, notes_of, noticed
from convscope.attacks._result import AttackResult
from convscope.probe import Cost

Turn = Callable[[Tensor], AttackResult]
"""Attacks the given rows of the caller's batch."""


def in_turns(everyone: Tensor, turns: Sequence[Turn]) -> AttackResult:
    """Run the first attack on all rows, and each later one on the rows that nothing fooled yet.

    Args:
        everyone: All rows of the caller's batch.
        turns: Attacks, at least one.

    Returns:
        The first result with the rows that a later attack fooled in place of its own; costs are
        summed, the history is that of the first.
    """
    with stretch(0, 1 / len(turns)):
        merged = turns[0](everyone)
    for number, turn in enumerate(turns[1:], 1):
        rows = torch.nonzero(~merged.fooled)[:, 0]
        if len(rows) == 0:
            break
        with stretch(number / len(turns), (number + 1) / len(turns)):
            merged = _overlay(merged, rows, turn(rows))
    return merged


def _overlay(whole: AttackResult, rows: Tensor, part: AttackResult) -> AttackResult:
    hit = part.fooled
    place = rows[hit]

    def put(into: Tensor, new: Tensor) -> Tensor:
        into = into.clone()
        into[place] = new[hit]
        return into

    zeros = whole.zero_gradients.clone()
    zeros[rows] += part.zero_gradients
    nonfinite = whole.unreadable
    nonfinite[rows] |= part.unreadable
    merged = replace(
        whole,
        adversarials=put(whole.adversarials, part.adversarials),
        saved=put(whole.saved, part.saved),
        logits_after=put(whole.logits_after, part.logits_after),
        logits_saved=put(whole.logits_saved, part.logits_saved),
        steps=put(whole.steps, part.steps),
        zero_gradients=zeros,
        cost=Cost(
            forwards=whole.cost.forwards + part.cost.forwards,
            backwards=whole.cost.backwards + part.cost.backwards,
            seconds=whole.cost.seconds + part.cost.seconds,
        ),
        nonfinite=nonfinite,
    )
    both = (*whole.flags, *part.flags)
    found = noticed(
        merged,
        outside=count_of(both, "outside"),
        coarse=max(count_of(whole.flags, "coarse"), count_of(part.flags, "coarse")),
        helped=count_of(both, "zero-gradient") == 0,
        lost_gradients=max(
            count_of(whole.flags, "nonfinite-gradient"), count_of(part.flags, "nonfinite-gradient")
        ),
        notes=notes_of(whole.flags, part.flags),
    )
    return replace(merged, flags=found)
