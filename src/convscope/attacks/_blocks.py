"""Run an attack over blocks of images, and several attacks in turn."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, ParamSpec

import torch
from torch import Generator, Tensor

from convscope._random import source
from convscope.attacks._criteria import success_criterion
from convscope.attacks._result import AttackResult, notes_of, result_flags
from convscope.flags import count_of
from convscope.progress import stage

P = ParamSpec("P")

VALUES = 2**20
"""Pixels of a block: 4 MiB per copy of it. Larger blocks are no faster."""

LEAST_ROWS = 32
"""Rows of a block of large images."""


def block_rows(shape: Sequence[int]) -> int:
    """Rows that are attacked at once: a power of two, so that chunks of the Probe fit.

    Example:
        >>> block_rows((1, 28, 28)), block_rows((3, 32, 32)), block_rows((3, 224, 224))
        (1024, 256, 32)
    """
    rows = VALUES // max(1, math.prod(shape))
    return max(LEAST_ROWS, 2 ** max(0, rows.bit_length() - 1))


def in_blocks(
    rows: Tensor,
    run: Callable[[Tensor], AttackResult],
    *,
    size: int,
    generator: Generator | None = None,
) -> Iterator[tuple[Tensor, AttackResult]]:
    """Results of `run` on blocks of `rows`, each of which sees the same draws.

    Args:
        rows: Positions in the caller's batch.
        run: Attacks some of them.
        size: Rows at once.
        generator: What `run` draws from. It is reset for every block, and in the end is
            where the block that drew most has left it.

    Yields:
        The rows of a block and its result. No rows give one empty block.
    """
    begin = None if generator is None else generator.get_state()
    end, most = begin, (False, -1)
    parts = torch.split(rows, size) if len(rows) else (rows,)
    for number, part in enumerate(parts):
        if generator is not None and begin is not None:
            generator.set_state(begin)
        with stage(number / len(parts), (number + 1) / len(parts)):
            result = run(part)
        if generator is not None:
            # A row that nothing broke has seen every draw; else the longest run has.
            draws = (not bool(result.success.all()), int(result.steps.max()) if len(part) else 0)
            if draws > most:
                most, end = draws, generator.get_state()
        yield part, result
    if generator is not None and end is not None:
        generator.set_state(end)


def streamed(attack: Callable[P, AttackResult]) -> Callable[P, AttackResult]:
    """`attack`, taking more rows than `block_rows` block by block."""
    signature = inspect.signature(attack)

    @functools.wraps(attack)
    def run(*args: P.args, **kwargs: P.kwargs) -> AttackResult:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return attack(*args, **kwargs)  # It says what is wrong with its arguments.
        images = given.get("images")
        if not isinstance(images, Tensor) or images.ndim != 4:
            return attack(*args, **kwargs)
        size = block_rows(images.shape[1:])
        if len(images) <= size:
            return attack(*args, **kwargs)
        return _whole(attack, given, size, "generator" in signature.parameters)

    return run


def _whole(
    attack: Callable[..., AttackResult], given: dict[str, Any], size: int, draws: bool
) -> AttackResult:
    classifier, images = given["classifier"], given["images"]
    settings = {k: v for k, v in given.items() if k not in ("classifier", "images", "labels")}
    criterion = success_criterion(classifier, images, given["labels"], settings.get("targets"))
    if criterion.targets is not None:
        settings["targets"] = criterion.targets
    if draws:
        settings["generator"] = source(settings.get("generator"))
    count = len(images)

    def run(rows: Tensor) -> AttackResult:
        first, last = int(rows[0]), int(rows[-1]) + 1
        block = slice(first, last)
        part = {name: part_of_setting(value, block, count) for name, value in settings.items()}
        return attack(classifier, images[first:last], criterion.labels[first:last], **part)

    everyone = torch.arange(count, device=images.device)
    whole = _Whole(images)
    for rows, result in in_blocks(
        everyone, run, size=size, generator=settings.get("generator") if draws else None
    ):
        whole.add(int(rows[0]), result)
    return whole.result()


def part_of_setting(value: Any, rows: slice, count: int) -> Any:
    """A setting of some of `count` rows: tensors with one entry per image are cut."""
    if isinstance(value, Tensor) and value.ndim > 0 and len(value) == count:
        return value[rows]
    return value


def put_together(images: Tensor, parts: Sequence[AttackResult]) -> AttackResult:
    """The results of blocks as that of all rows.

    Args:
        images: ``(batch, channel, height, width)``, what was attacked.
        parts: Results of blocks of them, in order.
    """
    whole, first = _Whole(images), 0
    for part in parts:
        whole.add(first, part)
        first += len(part)
    return whole.result()


class _Whole:
    """The results of blocks, written into one: never two copies of all images."""

    EACH = ("adversarials", "quantized", "labels", "logits_before", "logits_after",
            "logits_quantized", "steps", "zero_gradients", "originals", "targets",
            "nonfinite")  # fmt: skip
    REST = ("history", "epsilon", "settings", "flags", "cost")

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.filled: dict[str, Tensor] = {}
        self.last: AttackResult | None = None
        self.rest: dict[str, list[Any]] = {name: [] for name in self.REST}

    def add(self, first: int, part: AttackResult) -> None:
        """Write a block down."""
        last = first + len(part)
        for name in self.EACH:
            block = getattr(part, name)
            if block is None:
                continue
            if name == "originals" and block.data_ptr() == self.images[first:last].data_ptr():
                continue
            if name not in self.filled:
                self.filled[name] = block.new_empty((len(self.images), *block.shape[1:]))
            self.filled[name][first:last] = block
        for name in self.REST:
            self.rest[name].append(getattr(part, name))
        self.last = part

    def result(self) -> AttackResult:
        """All rows together."""
        assert self.last is not None
        flags, costs = self.rest["flags"], self.rest["cost"]
        filled: dict[str, Any] = {"originals": self.images, **self.filled}
        whole = replace(
            self.last,
            **filled,
            history=torch.cat(_as_long(self.rest["history"]), dim=1),
            epsilon=_largest(self.rest["epsilon"]),
            settings=_settings(self.rest["settings"]),
            cost=reduce(add, costs),
        )
        every = [flag for some in flags for flag in some]
        return replace(
            whole,
            flags=result_flags(
                whole,
                outside=count_of(every, "budget-exceeded"),
                coarse=count_of(every, "no-8-bit-image"),
                helped=count_of(every, "zero-gradient") == 0,
                lost_gradients=count_of(every, "nonfinite-gradient"),
                notes=notes_of(*flags),
            ),
        )


def _as_long(histories: list[Tensor]) -> list[Tensor]:
    """Histories of the same length: NaN where a block was through before."""
    longest = max(len(one) for one in histories)
    return [
        one
        if len(one) == longest
        else torch.cat([one, one.new_full((longest - len(one), one.shape[1]), torch.nan)])
        for one in histories
    ]


def _largest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _settings(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Settings of the first block; sizes that rows have of their own are the largest of all."""
    merged = dict(parts[0])
    for name, value in merged.items():
        if isinstance(value, float):
            merged[name] = max(part[name] for part in parts)
    return merged


Turn = Callable[[Tensor], AttackResult]
"""Attacks the given rows of the caller's batch."""


def in_turns(images: Tensor, turns: Sequence[Turn]) -> AttackResult:
    """Run the first attack on all rows, each later one on the rows that are not yet adversarial.

    Args:
        images: The caller's batch.
        turns: Attacks, at least one.

    Returns:
        The first result with the rows that a later attack broke in place of its own; costs are
        summed, the history is that of the first.
    """
    with stage(0, 1 / len(turns)):
        merged = turns[0](torch.arange(len(images), device=images.device))
    for number, turn in enumerate(turns[1:], 1):
        rows = torch.nonzero(~merged.success)[:, 0]
        if len(rows) == 0:
            break
        with stage(number / len(turns), (number + 1) / len(turns)):
            merged = _overlay(merged, rows, turn(rows))
    return merged


def _overlay(whole: AttackResult, rows: Tensor, part: AttackResult) -> AttackResult:
    fooled = part.success

    def put(into: Tensor, new: Tensor) -> Tensor:
        into = into.clone()
        into[rows[fooled]] = new[fooled]
        return into

    zeros = whole.zero_gradients.clone()
    zeros[rows] += part.zero_gradients
    nonfinite = whole.unreadable
    nonfinite[rows] |= part.unreadable
    merged = replace(
        whole,
        adversarials=put(whole.adversarials, part.adversarials),
        quantized=put(whole.quantized, part.quantized),
        logits_after=put(whole.logits_after, part.logits_after),
        logits_quantized=put(whole.logits_quantized, part.logits_quantized),
        steps=put(whole.steps, part.steps),
        zero_gradients=zeros,
        cost=whole.cost + part.cost,
        nonfinite=nonfinite,
    )
    both = (*whole.flags, *part.flags)
    noted = result_flags(
        merged,
        outside=count_of(both, "budget-exceeded"),
        coarse=max(count_of(whole.flags, "no-8-bit-image"), count_of(part.flags, "no-8-bit-image")),
        helped=count_of(both, "zero-gradient") == 0,
        lost_gradients=max(
            count_of(whole.flags, "nonfinite-gradient"), count_of(part.flags, "nonfinite-gradient")
        ),
        notes=notes_of(whole.flags, part.flags),
    )
    return replace(merged, flags=noted)
