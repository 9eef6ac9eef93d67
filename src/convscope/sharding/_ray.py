"""The blocks of a job as tasks of Ray: on this machine, or on a cluster that shares no disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convscope.errors import ResourceError, UsageError
from convscope.progress import announce
from convscope.sharding._job import Judging
from convscope.sharding._parts import Part
from convscope.sharding._records import Record

RETRIES = 3
"""Times that a block is given to another worker when one died."""

AHEAD = 2
"""Blocks on the way for each core: records wait in memory until they are written."""

Prepare = Callable[[], dict[str, Any]]
"""Sets a worker up like the one that began, and says what its last bits depend on."""


def judge_by_ray(judging: Judging, part: Part, *, cores: int, prepare: Prepare) -> list[str]:
    """Judge all blocks that the part does not have yet by tasks of Ray, and write each.

    A cluster that ``RAY_ADDRESS`` names is used, else one is begun on this machine. Workers are
    sent what is judged; they write nothing, so no disk is shared.

    Args:
        judging: What is found out.
        part: Where records go; this process alone writes them.
        cores: Of each task.
        prepare: Called in each worker before a block.

    Returns:
        Sentences about workers whose last bits may be others.

    Raises:
        UsageError: M22, Ray is not installed; T28, what is judged cannot be sent to workers.
        ResourceError: T29, Ray cannot be started or reached.
        ConvscopeError: Whatever a block raises.
    """
    ray = _library()
    mine = not ray.is_initialized()
    if mine:
        _start(ray)
    try:
        before = getattr(judging, "before", None)
        if before is not None and not part.has_head():
            inner = part.within(before)
            _run(ray, before, inner, cores, prepare)
            records = [inner.read(block) for block in range(len(inner.job.blocks))]
            part.head(lambda: judging.head_after(records))  # type: ignore[attr-defined]
        return _run(ray, judging, part, cores, prepare)
    finally:
        if mine:
            ray.shutdown()


def _start(ray: Any) -> None:
    """Connect to the cluster, or begin one here.

    Raises:
        ResourceError: T29.
    """
    try:
        ray.init(logging_level="ERROR", log_to_driver=False)
    except Exception as error:  # Ray raises plain exceptions, too
        raise ResourceError(
            f"Ray cannot be started or reached: {type(error).__name__}: {error}",
            code="T29",
            where="--engine ray",
            expected="a cluster at RAY_ADDRESS, or a machine that is not too busy to begin one",
            hint="try again: finished blocks are kept; or --shard I/N, which needs no cluster",
        ) from error


def _run(ray: Any, judging: Judging, part: Part, cores: int, prepare: Prepare) -> list[str]:
    left, blocks = part.missing(), part.job.blocks
    if not left:
        return []
    sent = _sent(ray, judging)
    head = ray.put(part.head(judging.head))
    task = ray.remote(num_cpus=cores, max_retries=RETRIES)(_block)
    most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)) // cores)
    waiting: dict[Any, int] = {}
    done, total, others = 0, len(left), set[str]()
    while left or waiting:
        while left and len(waiting) < most:
            block = left.pop(0)
            waiting[task.remote(sent, head, blocks[block], prepare)] = block
        (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
        block = waiting.pop(ready)
        numbers, arrays, machine = _got(ray, ready)
        part.write(block, Record(numbers, arrays))
        others |= {
            f"{name} {part.job.machine.get(name)} -> {value}"
            for name, value in machine.items()
            if part.job.machine.get(name) != value
        }
        done += 1
        announce(done / total)
    words = "workers are different machines: the last bits are not those of one process"
    return [f"{words} ({', '.join(sorted(others))})"] if others else []


def _block(
    judging: Judging, head: Record, rows: slice, prepare: Prepare
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """One block, in a worker."""
    machine = prepare()
    found = judging.judge(rows, head)
    return found.numbers, {**found.arrays, **judging.inputs(rows)}, machine


def _sent(ray: Any, judging: Judging) -> Any:
    """What is judged, where workers find it.

    Raises:
        UsageError: T28.
    """
    try:
        return ray.put(judging)
    except Exception as error:  # a network of somebody else may hold anything
        raise UsageError(
            f"cannot be sent to workers: {type(error).__name__}: {error}",
            code="T28",
            where="--engine ray",
            expected="a network and data that can be pickled",
            hint="workers that load them by themselves: --shard I/N, torchrun or a SLURM array",
        ) from error


def _got(ray: Any, ready: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What a task returned; what it raised is raised as it was."""
    try:
        found: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    return found


def _library() -> Any:
    """Ray.

    Raises:
        UsageError: M22, it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--engine ray needs Ray, which is not installed",
            code="M22",
            expected="--shard I/N, torchrun or a SLURM array, which need nothing",
            hint='pip install "convscope[ray]"',
        ) from None
    return ray
