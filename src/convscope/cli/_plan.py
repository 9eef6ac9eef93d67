"""``--dry-run``: what a large job takes, from a short rehearsal, before anything of it runs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from convscope._durations import clock
from convscope.cli._output import emit, watching
from convscope.sharding import Judging, Record, Shard, blocks_of

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.cli._large import Subject

FEW, MORE = 16, 48
"""Images of the two rehearsals: a block takes a time that does not depend on its images (every step
is taken as long as one of them stands), and one for each of them; two points tell them apart."""


GPU = "not known without one: give the same command with --device cuda where it is"
"""No formula makes a GPU's time of a processor's: small networks wait for their launches there."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a job is expected to take.

    Attributes:
        images: How many are judged; of a job of pieces, how many pieces there are.
        blocks: Each of which is kept when it is through.
        forwards: Images run through the network.
        backwards: Images whose gradient is computed.
        flops: Floating-point operations of convolutions and matrix products, two per multiply-add.
        memory: Bytes at most, of one process.
        seconds: Wall-clock time of one process, at the pace of the rehearsal, from when network and
            data are open.
        shard_seconds: Time of the longest shard, if there are several.
        rehearsed: Images, or kinds of pieces, that were judged to find this out.
        rehearsal_seconds: How long that took.
        device: Where the network ran meanwhile: the time is the time there.
        unit: What is counted, in words.
    """

    images: int
    blocks: int
    forwards: int
    backwards: int
    flops: int
    memory: int
    seconds: float
    shard_seconds: float
    rehearsed: int
    rehearsal_seconds: float
    device: str = "cpu"
    unit: str = "images"

    def table(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def spoken(self) -> dict[str, str]:
        """For people."""
        pieces = self.unit != "images"
        told = {
            self.unit: f"{self.images:,}" + ("" if pieces else f" in {self.blocks} blocks"),
            "passes": f"about {self.forwards:,} forward, {self.backwards:,} backward",
            "operations": f"about {self.flops:.2g}" if self.flops else "not known",
            "memory": f"about {self.memory / 2**20:,.0f} MB per process",
            "time": f"about {clock(self.seconds)} on {self.device} at the pace of now",
        }
        if self.shard_seconds < self.seconds:
            told["time of a shard"] = f"about {clock(self.shard_seconds)}"
        if self.device.startswith("cpu"):
            told["on a GPU"] = GPU
        kinds = "kinds of blocks" if pieces else "images"
        told["rehearsed"] = f"{self.rehearsed} {kinds} in {self.rehearsal_seconds:.1f} s"
        return told


def show_plan(
    classifier: Classifier,
    split: Subject,
    judging: Judging,
    rehearsal: Callable[[Any], Judging],
    shard: Shard,
    *,
    copies: int = 0,
    times: float = 1.0,
    few: int = FEW,
    more: int = MORE,
    as_json: bool = False,
) -> None:
    """Rehearse a job on a few images, and say what all of it takes.

    Args:
        classifier: The network.
        split: All images.
        judging: The job.
        rehearsal: The same for some images.
        shard: Which worker this is, of how many.
        copies: Floats that the job holds of each pixel.
        times: How much longer an image of the job takes than one of the rehearsal.
        few: Images of the first rehearsal.
        more: Of the second one.
        as_json: For machines.
    """
    from convscope.data import sample_rows
    from convscope.training import forward_flops

    order = sample_rows(split.labels, few + more)
    more = max(1, len(order) - few)
    part = rehearsal(split.subset(order))
    begin = time.perf_counter()
    with watching("rehearsing"):
        # The first call of anything takes longer, in the job, too.
        first = _timed(lambda: part.judge(slice(0, 1), part.head()))[1] if len(order) else 0.0
        head, head_seconds = _timed(part.head)
        beginning = max(first, head_seconds)
        sizes = [min(few, len(order)), more]
        records, seconds = [], []
        for rows in (slice(0, sizes[0]), slice(max(0, len(order) - more), len(order))):
            found, taken = _timed(partial(part.judge, rows, head))
            records.append(found)
            seconds.append(taken)
    blocks = blocks_of(judging.rows, judging.size)
    images = [rows.stop - rows.start for rows in blocks]
    whole = lengths(images, sizes, [times * one for one in seconds])
    mine = [taken for block, taken in enumerate(whole) if shard.takes(block)]
    looked = sum(sizes)
    scale = times * judging.rows / looked
    forwards, backwards = (scale * sum(_passes(r)[place] for r in records) for place in (0, 1))
    pixels = math.prod(classifier.input_shape)
    operations = forward_flops(classifier.module, classifier.input_shape)
    plan = Plan(
        images=judging.rows,
        blocks=len(blocks),
        device=str(classifier.device),
        forwards=round(forwards) + _passes(head)[0],
        backwards=round(backwards) + _passes(head)[1],
        # The gradient of the pixels alone costs about as much as a forward pass.
        flops=round(operations * (forwards + backwards)),
        memory=peak_memory() + 4 * copies * pixels * judging.rows,
        seconds=beginning + sum(whole),
        shard_seconds=beginning + sum(mine),
        rehearsed=looked,
        rehearsal_seconds=time.perf_counter() - begin,
    )
    emit(plan.table() if as_json else plan.spoken(), as_json=as_json)


def lengths(images: Sequence[int], sizes: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """How long each block takes: so much by itself, and so much for each image.

    Args:
        images: Of each block.
        sizes: Images of two rehearsals.
        seconds: What these took.

    Example:
        >>> lengths([10, 100], sizes=[1, 3], seconds=[3.0, 5.0])
        [12.0, 102.0]
    """
    each = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0]) if sizes[1] > sizes[0] else 0.0
    alone = seconds[0] - each * sizes[0]
    if each <= 0 or alone < 0:
        each, alone = sum(seconds) / sum(sizes), 0.0
    return [alone + each * count for count in images]


def _passes(record: Record) -> tuple[int, int]:
    """Forward and backward passes that a record counts."""
    forwards, backwards, _ = record.numbers.get("cost", [0, 0, 0.0])
    return int(forwards), int(backwards)


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.perf_counter()
    return run(), time.perf_counter() - begin


def peak_memory() -> int:
    """Bytes that this process has had at most; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
