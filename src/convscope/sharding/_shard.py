"""Which blocks of a job a worker takes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from convscope.errors import UsageError


def blocks_of(rows: int, size: int) -> tuple[slice, ...]:
    """The rows of each block, in order: cut by position alone. No rows are one empty block.

    Example:
        >>> blocks_of(5, 2)
        (slice(0, 2, None), slice(2, 4, None), slice(4, 5, None))
    """
    starts = range(0, max(rows, 1), size)
    return tuple(slice(start, min(start + size, rows)) for start in starts)


def share_of(most: int, rows: slice, total: int) -> int:
    """How many of a sample of `most` among `total` rows belong to these rows.

    The shares of the blocks of a job add up to ``min(most, total)``.

    Example:
        >>> [share_of(10, rows, 40) for rows in blocks_of(40, 16)]
        [4, 4, 2]
    """
    most = min(most, total)
    return most * rows.stop // total - most * rows.start // total if total else 0


@dataclass(frozen=True)
class Shard:
    """One of several workers on a job.

    Attributes:
        index: Its number, from 0.
        count: How many there are.
        source: Where this was said: ``"--shard"``, ``"torchrun"``, ``"SLURM array"``.

    Example:
        >>> [block for block in range(7) if Shard(1, 3).takes(block)]
        [1, 4]
    """

    index: int = 0
    count: int = 1
    source: str = ""

    def takes(self, block: int) -> bool:
        """Whether this worker judges the block: every `count`-th one, so that all end together."""
        return block % self.count == self.index

    def __str__(self) -> str:
        """As on the command line: ``"2/3"``."""
        return f"{self.index + 1}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/3"``, the second of three workers.

        Raises:
            UsageError: U05, there is no such worker.

        Example:
            >>> Shard.parse("2/3").index
            1
        """
        match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", text)
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(
                f"--shard {text!r}",
                code="U05",
                expected="the number of this worker and how many there are, such as 1/4 to 4/4",
            )
        return cls(index - 1, count, "--shard")


def shard_of_environment(environment: Mapping[str, str] | None = None) -> Shard:
    """This worker, as ``torchrun`` and SLURM arrays tell it; the only one where neither does.

    Processes that torchrun starts in each task of an array are numbered through.

    Args:
        environment: By default that of the process.

    Raises:
        UsageError: U05, the variables make no sense, or the numbers of the array have gaps.

    Example:
        >>> str(shard_of_environment({"RANK": "0", "WORLD_SIZE": "2"}))
        '1/2'
        >>> task = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4",
        ...     "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "8"}
        >>> str(shard_of_environment(task))
        '3/4'
    """
    given = os.environ if environment is None else environment
    world = _number(given, "WORLD_SIZE", 1)
    rank = _number(given, "RANK", 0) if "WORLD_SIZE" in given else 0
    task, tasks = 0, 1
    if "SLURM_ARRAY_TASK_ID" in given:
        first = _number(given, "SLURM_ARRAY_TASK_MIN", 0)
        step = max(1, _number(given, "SLURM_ARRAY_TASK_STEP", 1))
        last = _number(given, "SLURM_ARRAY_TASK_MAX", None)
        task, rest = divmod(_number(given, "SLURM_ARRAY_TASK_ID", 0) - first, step)
        tasks = _number(given, "SLURM_ARRAY_TASK_COUNT", (last - first) // step + 1)
        if rest or not 0 <= task < tasks or (last - first) // step + 1 != tasks:
            raise UsageError(
                f"task {given['SLURM_ARRAY_TASK_ID']} of a SLURM array of {tasks} tasks from "
                f"{first} to {last}",
                code="U05",
                expected="an array without gaps, such as --array=0-7",
                hint="or say --shard I/N",
            )
    if not 0 <= rank < world:
        raise UsageError(
            f"RANK={rank}, WORLD_SIZE={world}",
            code="U05",
            expected="variables as torchrun sets them",
            hint="unset them, or say --shard 1/1",
        )
    sources = ["SLURM array"] * (tasks > 1) + ["torchrun"] * (world > 1)
    return Shard(task * world + rank, tasks * world, " and ".join(sources))


def _number(given: Mapping[str, str], name: str, default: int | None) -> int:
    text = given.get(name, "")
    if not text and default is not None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(
            f"{name}={text!r} in the environment",
            code="U05",
            expected="a whole number",
            hint="unset it, or say --shard I/N",
        )
    return int(text)
