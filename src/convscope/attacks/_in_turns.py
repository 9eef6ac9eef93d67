"""Several attacks one after the other, each only on the rows that still stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from convscope.attacks._result import AttackResult
from convscope.probe import Cost

Turn = Callable[[Tensor], AttackResult]
"""Attacks the given rows of the caller's batch."""


def in_turns(first: AttackResult, turns: Iterable[Turn]) -> AttackResult:
    """Continue `first` with further attacks on the rows that it did not fool.

    Args:
        first: Result for all rows.
        turns: Further attacks.

    Returns:
        `first` with the rows that a later attack fooled in place of its own; costs are summed,
        the history is that of `first`.
    """
    merged = first
    for turn in turns:
        rows = torch.nonzero(~merged.fooled)[:, 0]
        if len(rows) == 0:
            break
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
    return replace(
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
        flags=tuple(dict.fromkeys((*whole.flags, *part.flags))),
    )
