"""``--dry-run`` of jobs whose blocks differ: each kind of block is tried for a while.

A block that is not through after some seconds is stopped where it says how far it is, as it does
for progress bars; the rest of it is taken to last as long as that share did.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from convscope.cli._output import emit, watching
from convscope.cli._plan import FEW, MORE, Plan, lengths, peak_memory
from convscope.progress import announce, watch
from convscope.sharding import Judging, Record, Shard, blocks_of, judged_here

if TYPE_CHECKING:
    from convscope.classifier import Classifier

LONGEST = 2.0
"""Seconds after which a trial is stopped, if it has come to `LEAST`; else after ten times those."""

LEAST = 0.02
"""Share of a trial of which the rest may be foretold: its first steps may be others."""


class Trial(NamedTuple):
    """What something takes.

    Attributes:
        seconds: Wall-clock time.
        forwards: Images run through the network.
        backwards: Images whose gradient was computed.
    """

    seconds: float
    forwards: float
    backwards: float

    def times(self, factor: float) -> Trial:
        """The same, so many times over."""
        return Trial(*(factor * value for value in self))


NOTHING = Trial(0, 0, 0)


class _Enough(BaseException):
    """A trial has run long enough: no error, so nothing on its way may take it for one."""


def tried(run: Callable[[], Any], longest: float = LONGEST) -> tuple[Trial, Any]:
    """What a call takes; one that takes long is stopped as soon as it says how far it is.

    Args:
        run: The call. It leaves nothing behind when it is stopped, as after Ctrl-C.
        longest: Seconds before it may be stopped.

    Returns:
        What all of it takes, and what it gave back; None if it was stopped.
    """
    from convscope.probe import counting

    reached, began = 0.0, time.perf_counter()

    def hear(share: float, what: str) -> None:
        nonlocal reached
        reached = share
        seconds = time.perf_counter() - began
        if (share >= LEAST and seconds >= longest) or (share > 0 and seconds >= 10 * longest):
            raise _Enough

    result = None
    with counting() as cost:
        try:
            with watch(hear):
                result = run()
            reached = 1.0
        except _Enough:
            pass
        spent = cost()
    return Trial(spent.seconds, spent.forwards, spent.backwards).times(1 / reached), result


def show_trials(
    classifier: Classifier,
    judging: Judging,
    tried_on: Judging,
    shard: Shard,
    *,
    unit: str,
    after: Callable[[], Trial] | None = None,
    as_json: bool = False,
) -> None:
    """Try each kind of block, and say what all of them take.

    A job may have ``alike``, the kind of each block, and ``counts``, how many images each has; and
    ``some(block, rows, head)``, which judges some images of a block: blocks of many images are then
    tried on a few.

    Args:
        classifier: The network.
        judging: The job.
        tried_on: The same, or one with fewer images in the judging before.
        shard: Which worker this is, of how many.
        unit: What is counted, in words.
        after: What is done once when all blocks are through, tried.
        as_json: For machines.
    """
    from convscope.training import forward_flops

    begin = time.perf_counter()
    with watching("rehearsing"):
        first, head = known_before(judging, tried_on)
        of_blocks = _kinds(tried_on)
        kinds = list(dict.fromkeys(of_blocks))
        known: dict[str, Callable[[int], Trial]] = {}
        once = [first]
        for number, kind in enumerate(kinds):
            announce(number / len(kinds), kind)
            mine = [block for block, name in enumerate(of_blocks) if name == kind]
            beginning, known[kind] = _of_kind(tried_on, mine, head)
            once.append(beginning)
        if after is not None:
            once.append(after())
    counts = _counts(judging)
    each = [
        known[kind](count) if kind in known else NOTHING
        for kind, count in zip(_kinds(judging), counts, strict=True)
    ]
    whole = _sum([*once, *each])
    part = _sum([*once, *(one for block, one in enumerate(each) if shard.takes(block))])
    pixels = forward_flops(classifier.module, classifier.input_shape)
    plan = Plan(
        images=sum(counts) if unit == "images" else len(counts),
        blocks=len(counts),
        unit=unit,
        device=str(classifier.device),
        forwards=round(whole.forwards),
        backwards=round(whole.backwards),
        flops=round(pixels * (whole.forwards + whole.backwards)),
        memory=peak_memory(),
        seconds=whole.seconds,
        shard_seconds=part.seconds,
        rehearsed=len(kinds),
        rehearsal_seconds=time.perf_counter() - begin,
    )
    emit(plan.table() if as_json else plan.spoken(), as_json=as_json)


def known_before(judging: Judging, tried_on: Judging) -> tuple[Trial, Record]:
    """What is known before the first block, and what it takes for all images.

    The first call of the network takes longer, and only once: a first block is tried and thrown
    away, so that this is not multiplied by the number of images.
    """
    before, less = getattr(judging, "before", None), getattr(tried_on, "before", None)
    if before is None or less is None:
        return tried(tried_on.head, math.inf)
    cold, _ = tried(partial(_first_block, less), math.inf)
    warm, _ = tried(partial(_first_block, less), math.inf)
    trial, (_, records) = tried(partial(judged_here, less), math.inf)
    other, head = tried(lambda: tried_on.head_after(records), math.inf)  # type: ignore[attr-defined]
    each = trial.times(before.rows / max(1, less.rows))
    return _sum([_besides(cold, warm), each, other]), head


def _first_block(job: Judging) -> None:
    for rows in blocks_of(job.rows, job.size)[:1]:
        job.judge(rows, job.head())


def _besides(cold: Trial, warm: Trial) -> Trial:
    """What a first call takes besides; its passes are counted where they are made again."""
    return Trial(max(0.0, cold.seconds - warm.seconds), 0, 0)


def _of_kind(
    job: Judging, mine: Sequence[int], head: Record
) -> tuple[Trial, Callable[[int], Trial]]:
    """What the first block of a kind takes besides, and each by its images; one or two are tried.

    The first call of anything takes longer, in the job, too.
    """
    block, count = mine[0], _counts(job)[mine[0]]
    some = getattr(job, "some", None)
    if some is not None and count > 2 * FEW:
        sizes = [FEW, min(MORE, count - FEW)]
        parts = (slice(0, FEW), slice(FEW, FEW + sizes[1]))
        trials = [tried(partial(some, block, rows, head))[0] for rows in parts]
        per_image = _sum(trials).times(1 / sum(sizes))

        def of_images(images: int) -> Trial:
            seconds = lengths([images], sizes, [one.seconds for one in trials])[0]
            return per_image.times(images)._replace(seconds=seconds)

        return NOTHING, of_images
    blocks = blocks_of(job.rows, job.size)
    cold, _ = tried(partial(job.judge, blocks[block], head))
    if len(mine) == 1:
        return NOTHING, cold.times(1 / max(1, count)).times
    other = mine[len(mine) // 2]
    warm, _ = tried(partial(job.judge, blocks[other], head))
    each = warm.times(1 / max(1, _counts(job)[other]))
    return _besides(cold, each.times(count)), each.times


def _kinds(job: Judging) -> list[str]:
    """The kind of each block: those of one kind take as long for each of their images."""
    return list(getattr(job, "alike", ())) or [job.kind] * len(blocks_of(job.rows, job.size))


def _counts(job: Judging) -> list[int]:
    """How many images each block has; 1 if it is no block of images."""
    known = list(getattr(job, "counts", ()))
    return known or [rows.stop - rows.start for rows in blocks_of(job.rows, job.size)]


def _sum(trials: Iterable[Trial]) -> Trial:
    return Trial(*(sum(values) for values in zip(*trials, strict=True)))
