"""Large jobs: parts, shards, resuming; the same for every command that judges in blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import cyclopts

from convscope.cli._options import Flag
from convscope.cli._output import next_step, say, warn, watching
from convscope.errors import GateFailed, PartlyRefused, UsageError
from convscope.sharding import (
    Judging,
    Part,
    Record,
    Shard,
    collected,
    job_of,
    judge,
    judge_by_ray,
    judged_here,
    shard_of_environment,
)

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier

LARGE = cyclopts.Group(
    "Large jobs",
    help="Work that may be killed and goes on, by one process or many. See the page on scale.",
)
OWN = ("--part", "--shard", "--engine")
"""Options with a value that say who does the work, and nothing about what is done."""


class Subject(Protocol):
    """What is judged: images and labels, as a `convscope.data.Split` has them."""

    @property
    def labels(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def to_float(self, rows: Any = None) -> Tensor:
        """Images in [0, 1]."""

    def parts(self) -> Iterator[Tensor]:
        """All images, for their hash."""

    def subset(self, rows: Tensor) -> Subject:
        """Some of them, for a rehearsal."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images that were named one by one, as a `Subject`.

    Attributes:
        images: ``(batch, channel, height, width)`` in [0, 1].
        labels: Their classes.
        rows: Where they stand among all of them.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def to_float(self, rows: Any = None) -> Tensor:
        """Some of the images."""
        return self.images if rows is None else self.images[rows]

    def parts(self) -> Iterator[Tensor]:
        """All images."""
        yield self.images

    def subset(self, rows: Tensor) -> Pictures:
        """Some of them."""
        return Pictures(self.images[rows], self.labels[rows], self.rows[rows])


@dataclass(frozen=True, kw_only=True)
class Large:
    """Whether and where finished work is kept, which of it this process takes, or a plan."""

    part: Path | None = None
    "Folder to keep finished work in; the same command goes on there after a kill, and workers \
share it."
    resume: Flag = False
    "Keep finished work in the user's cache, and go on with what is there."
    shard: str | None = None
    "I/N: do only the I-th of N parts of the work. By default as torchrun says and, with --part, a \
SLURM array."

    engine: Literal["here", "ray"] = "here"
    "ray: blocks are tasks of Ray, on the cluster of RAY_ADDRESS or on this machine (extra ray)."

    dry_run: Flag = False
    "Try a few images or blocks only, and say what all of it takes: passes, memory, time."

    def chosen(self) -> Shard:
        """Which worker this process is.

        Raises:
            UsageError: U05, there is no such worker; U11, Ray shares the work out by itself.
        """
        if self.engine == "ray":
            if self.shard is not None:
                raise UsageError(
                    "--shard with --engine ray",
                    code="U11",
                    expected="one of the two: Ray shares the work out by itself",
                )
            return Shard()
        if self.shard is not None:
            return Shard.parse(self.shard)
        # An array may do anything; only with a folder to share it is known to be one job.
        shared = self.part is not None
        given = {k: v for k, v in os.environ.items() if shared or not k.startswith("SLURM_")}
        return shard_of_environment(given)

    def keeps(self, shard: Shard) -> bool:
        """Whether finished work is kept."""
        return self.part is not None or self.resume or shard.count > 1 or self.engine == "ray"


LargeOptions = Annotated[Large, cyclopts.Parameter(name="*", group=LARGE)]
AT_ONCE = Large()


def without_workers(words: list[str]) -> list[str]:
    """A command line without what says who does the work: the same for all workers.

    Example:
        >>> without_workers(["audit", "m", "--shard", "1/2", "--part=p", "--resume", "--json"])
        ['audit', 'm', '--json']
    """
    kept: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, _ = word.partition("=")
        if name in OWN:
            if not equals and words:
                words.pop(0)
        elif word != "--resume":
            kept.append(word)
    return kept


@contextmanager
def judged(
    judging: Judging,
    large: Large,
    title: str,
    *,
    classifier: Classifier,
    subject: Subject,
    facts: Mapping[str, Any],
    unit: str = "images",
    again: Sequence[str] = (),
) -> Iterator[tuple[Record, list[Record]] | None]:
    """The head and records of all blocks, judged here or by many workers.

    The block reports them; what was kept in the user's cache goes when it is through.

    Args:
        judging: What is found out.
        large: The options of the command.
        title: Of the progress bar.
        classifier: The network.
        subject: The images.
        facts: What a report says about the job.
        unit: What is counted, in words.
        again: Words that make the report of a part; by default `merge` does.

    Yields:
        Head and records; None while other workers are not through, or if one of them reports.
    """
    shard = large.chosen()
    if not large.keeps(shard):
        with watching(title):
            found = judged_here(judging, inputs=True)
        yield found
        return
    part = _begun(judging, large, classifier, subject, facts)
    _say_what(part, shard, unit)
    with part.working(shard), watching(title):
        whole = (
            _judged_by_ray(judging, part) if large.engine == "ray" else judge(judging, part, shard)
        )
    if not part.folder.exists():
        say("another worker has reported")
        yield None
        return
    if not whole:
        left = len(part.missing())
        say(f"shard {shard} is judged; {left} of {len(part.job.blocks)} blocks are not yet")
        _next(part, again)
        yield None
        return
    with part.reporting() as first:
        if shard.count > 1 and not first:
            say("another worker reports")
            if part.folder.exists():
                _next(part, again)
            yield None
            return
        head, records, _ = collected([part])
        try:
            yield head, records
        except (GateFailed, PartlyRefused):
            _put_away(part, large)
            raise
        _put_away(part, large)


def _judged_by_ray(judging: Judging, part: Part) -> bool:
    """Whether Ray has judged all blocks."""
    import torch

    from convscope import __version__

    threads = torch.get_num_threads()
    prepare = partial(_like_here, threads=threads, version=__version__)
    for note in judge_by_ray(judging, part, cores=threads, prepare=prepare):
        warn(note)
    return not part.missing()


def _like_here(*, threads: int, version: str) -> dict[str, Any]:
    """Make a worker of Ray like the process that began.

    Raises:
        UsageError: T23, it has another convscope.
    """
    import torch

    from convscope import __version__
    from convscope._identity import machine

    if __version__ != version:
        raise UsageError(
            f"a worker of Ray has convscope {__version__}",
            code="T23",
            expected=f"convscope {version}, as here",
            hint="install it on all machines of the cluster",
        )
    torch.set_num_threads(threads)
    return machine()


def _begun(
    judging: Judging,
    large: Large,
    classifier: Classifier,
    subject: Subject,
    facts: Mapping[str, Any],
) -> Part:
    from convscope import __version__
    from convscope._identity import images_digest, machine, network_digest
    from convscope.data import cache_folder

    with classifier.probe() as probe:
        answers = probe.logits(subject.to_float(slice(0, 2))).cpu().tolist()
    job = job_of(
        judging,
        network=network_digest(classifier),
        data=images_digest(subject),
        device=classifier.device.type,
        version=__version__,
        answers=answers,
        machine=machine(),
        facts=dict(facts),
    )
    part, notes = Part.begun(large.part or cache_folder() / "parts" / job.digest[:32], job)
    for note in notes:
        warn(note)
    return part


def _say_what(part: Part, shard: Shard, unit: str) -> None:
    job = part.job
    blocks = [rows for number, rows in enumerate(job.blocks) if shard.takes(number)]
    mine = sum(rows.stop - rows.start for rows in blocks)
    where = f" ({shard.source})" if shard.source else ""
    who = f"shard {shard}{where}: {mine:,} of {job.rows:,} {unit}; " if shard.count > 1 else ""
    done = len(part.blocks())
    before = f", {done} of {len(job.blocks)} blocks are there" if done else ""
    say(f"{who}kept in {part.folder}{before}")


def _next(part: Part, again: Sequence[str]) -> None:
    if again:
        next_step(*again, "--part", str(part.folder))
    else:
        next_step("convscope merge", str(part.folder))


def _put_away(part: Part, large: Large) -> None:
    part.reported()
    if large.part is None:
        part.remove()
