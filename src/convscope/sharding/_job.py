"""What is judged, and the loop over its blocks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from convscope.errors import UsageError
from convscope.progress import stage
from convscope.sharding._records import Record, canonical
from convscope.sharding._shard import Shard, blocks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from convscope.sharding._parts import Part

SAME = 1e-3
"""Difference of logits, as a share of their range, up to which two machines run the same network:
float32 logits agree to about 1e-6 of it, TF32 and half precision to about 1e-3."""


class Judging(Protocol):
    """What is to be found out about every image of some data.

    A judging may have more: ``before``, another judging whose records all workers have to know, and
    which ``head_after(records)`` is then called with in place of ``head``; ``addresses``, what its
    blocks are called, if they are no rows; ``weights``, which share of the work each block is.
    """

    @property
    def kind(self) -> str:
        """The command that does it, such as ``"attack evaluate"``."""

    @property
    def rows(self) -> int:
        """How many images there are."""

    @property
    def size(self) -> int:
        """How many of them are a block."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the answer depends on besides network and images, as JSON can hold it."""

    def head(self) -> Record:
        """What has to be known before the first block: the same for every worker."""

    def judge(self, rows: slice, head: Record) -> Record:
        """A block. Nothing of it may depend on other blocks, or on what ran before."""

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """What a report shows of the images of a block, for whoever does not have the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What is judged: two workers with equal jobs may share a part.

    Attributes:
        kind: Of the `Judging`.
        rows: Images.
        size: Images of a block.
        judged: What must be equal: hashes of network and data, the device, convscope's version.
        settings: Of the `Judging`; they must be equal, too.
        answers: Logits of the first images, of whoever began: code has no hash, so it is asked.
        machine: Versions, threads and processor, which the last bits may depend on.
        facts: What reports say about it.
        addresses: What blocks are called; empty: by their rows.
    """

    kind: str
    rows: int
    size: int
    judged: dict[str, Any]
    settings: dict[str, Any]
    answers: list[list[float]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The rows of each block."""
        return blocks_of(self.rows, self.size)

    @property
    def digest(self) -> str:
        """SHA-256 of what must be equal."""
        same = [self.kind, self.rows, self.size, self.judged, self.settings]
        return hashlib.sha256(canonical(same).encode()).hexdigest()

    def address(self, block: int) -> str:
        """What a block is called: ``"rows 0 to 127"``, or a name of its own."""
        rows = self.blocks[block]
        return (
            self.addresses[block]
            if self.addresses
            else f"rows {rows.start} to {max(rows.start, rows.stop - 1)}"
        )

    def table(self) -> dict[str, Any]:
        """For JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def check_same(self, other: Job, *, where: object) -> list[str]:
        """Refuse another job.

        Args:
            other: Of a part or worker that is to be put together with this one.
            where: For the error.

        Returns:
            Sentences about differences that may change the last bits.

        Raises:
            UsageError: T23, another network, other data or settings; it names the first difference.
        """
        mine, theirs = _flat(self), _flat(other)
        for name in mine | theirs:
            if mine.get(name) != theirs.get(name):
                raise UsageError(
                    f"holds another job: {name} is {_short(theirs.get(name))} there and "
                    f"{_short(mine.get(name))} here",
                    code="T23",
                    where=where,
                    expected="the same network, data and settings",
                    hint="give another --part folder, or the settings it began with",
                )
        furthest = _furthest(self.answers, other.answers)
        if furthest > SAME:
            raise UsageError(
                "holds another job: the network now gives other logits for the first images",
                code="T23",
                where=where,
                expected="the same network, data and settings",
                hint="give another --part folder; was the network's code changed?",
            )
        drift = [
            f"{name} {before} -> {self.machine.get(name)}"
            for name, before in other.machine.items()
            if self.machine.get(name) != before
        ]
        if furthest > 0:
            drift.append("logits of the first images differ by rounding")
        words = "parts are of different machines: the last bits are not those of one process"
        return [f"{words} ({', '.join(drift)})"] if drift else []


def job_of(
    judging: Judging,
    *,
    network: str,
    data: str,
    device: str,
    version: str,
    answers: list[list[float]],
    machine: dict[str, Any],
    facts: dict[str, Any],
) -> Job:
    """The job of a judging.

    Args:
        judging: What is found out.
        network: Hash of the network.
        data: Hash of the images and labels.
        device: Kind of device, ``"cpu"`` or ``"cuda"``.
        version: Of convscope.
        answers: Logits of the first images.
        machine: Versions, threads, processor.
        facts: For reports.
    """
    return Job(
        kind=judging.kind,
        rows=judging.rows,
        size=judging.size,
        judged={"network": network, "data": data, "device": device, "convscope": version},
        settings=judging.settings,
        answers=answers,
        machine=machine,
        facts=facts,
        addresses=list(getattr(judging, "addresses", ())),
    )


def judge(judging: Judging, part: Part, shard: Shard) -> bool:
    """Judge the blocks of a worker that the part does not have yet, and write each.

    Args:
        judging: What is found out.
        part: Where records go.
        shard: Which worker this is.

    Returns:
        Whether the part now has all blocks, whoever judged them.

    Raises:
        DataError: T24, a record of the part is damaged.
        ResourceError: The disk says no; what was finished stays.
    """
    blocks = part.job.blocks
    mine = [block for block in range(len(blocks)) if shard.takes(block)]
    spans = _spans(judging, mine)
    head = None
    for block in mine:
        if part.has(block):
            continue
        if head is None:
            head = _head_in(judging, part, shard)
        with stage(*spans[block]):
            found = judging.judge(blocks[block], head)
        arrays = {**found.arrays, **judging.inputs(blocks[block])}
        part.write(block, Record(found.numbers, arrays))
    return not part.missing()


def judged_here(judging: Judging, *, inputs: bool = False) -> tuple[Record, list[Record]]:
    """The head and all records, in memory.

    Args:
        judging: What is found out.
        inputs: Whether records have the inputs of their blocks, too, as those of a part do.
    """
    blocks = blocks_of(judging.rows, judging.size)
    spans = _spans(judging, range(len(blocks)))
    before = getattr(judging, "before", None)
    with stage(0.0, spans[0][0]):
        head = judging.head() if before is None else _after(judging, judged_here(before)[1])
    records = []
    for number, rows in enumerate(blocks):
        with stage(*spans[number]):
            found = judging.judge(rows, head)
        more = judging.inputs(rows) if inputs else {}
        records.append(Record(found.numbers, {**found.arrays, **more}))
    return head, records


def _after(judging: Any, records: Sequence[Record]) -> Record:
    head: Record = judging.head_after(records)
    return head


def _head_in(judging: Judging, part: Part, shard: Shard) -> Record:
    """The head, from the part or made.

    What it rests on is judged in a part inside of the part: each worker begins with its share, and
    goes on with what the others have not finished by then. So nobody waits for anybody.
    """
    before = getattr(judging, "before", None)
    if before is None or part.has_head():
        return part.head(judging.head)
    inner = part.within(before)
    for some in (shard, Shard()):
        with stage(0.0, _spans(judging, range(1))[0][0]):
            judge(before, inner, some)
    records = [inner.read(block) for block in range(len(inner.job.blocks))]
    return part.head(lambda: _after(judging, records))


BEFORE = 0.05
"""Share of the work that a judging before is announced as."""


def _spans(judging: Judging, blocks: Iterable[int]) -> dict[int, tuple[float, float]]:
    """Where in the whole each block begins and ends, as shares."""
    weights = getattr(judging, "weights", None)
    done = BEFORE if getattr(judging, "before", None) is not None else 0.0
    parts = {block: 1.0 if weights is None else weights[block] for block in blocks}
    scale = (1.0 - done) / max(sum(parts.values()), 1e-30)
    spans = {}
    for block, part in parts.items():
        end = min(1.0, done + scale * part)
        spans[block] = (done, end)
        done = end
    return spans


def _flat(job: Job) -> dict[str, str]:
    """What must be equal, by name."""
    rows = (
        {"blocks": job.rows}
        if job.addresses
        else {"images": job.rows, "images of a block": job.size}
    )
    same = {"command": job.kind, **rows, **job.judged}
    same |= {f"setting {name}": value for name, value in job.settings.items()}
    return {name: canonical(value) for name, value in same.items()}


def _short(text: str | None) -> str:
    return "nothing" if text is None else text if len(text) <= 40 else f"{text[:20]}..."


def _furthest(mine: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """The largest difference as a share of the range; infinite for other shapes."""
    if [len(row) for row in mine] != [len(row) for row in theirs]:
        return math.inf
    here, there = list(_values(mine)), list(_values(theirs))
    if not here or here == there:
        return 0.0
    usable = [value for value in (*here, *there) if math.isfinite(value)]
    pairs = zip(here, there, strict=True)
    if any(math.isfinite(a) != math.isfinite(b) for a, b in pairs):
        return math.inf
    wide = max(usable) - min(usable) if usable else 0.0
    gaps = [abs(a - b) for a, b in zip(here, there, strict=True) if math.isfinite(a)]
    return max(gaps, default=0.0) / max(wide, 1e-30)


def _values(rows: Sequence[Sequence[float]]) -> Iterator[float]:
    return (float(value) for row in rows for value in row)
