"""The blocks of a job as tasks of Ray: on this machine, or on a cluster that shares no disk."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from convscope.errors import ResourceError, UsageError
from convscope.progress import announce
from convscope.sharding._job import Judging
from convscope.sharding._parts import Part
from convscope.sharding._records import Record

ADDRESS = "RAY_ADDRESS"
"""Environment variable in which Ray finds a cluster."""

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
        ResourceError: T29, Ray cannot be started or reached, no machine of the cluster has so many
            cores, or workers die.
        ConvscopeError: Whatever a block raises.
    """
    ray = _library()
    with _connected(ray, cores):
        before = getattr(judging, "before", None)
        if before is not None and not part.has_head():
            inner = part.within(before)
            _run(ray, before, inner, cores, prepare)
            records = [inner.read(block) for block in range(len(inner.job.blocks))]
            part.head(lambda: judging.head_after(records))  # type: ignore[attr-defined]
        return _run(ray, judging, part, cores, prepare)


@contextmanager
def _connected(ray: Any, cores: int) -> Iterator[None]:
    """A cluster to give tasks to; one that was begun here ends here, whatever happens.

    Raises:
        ResourceError: T29.
    """
    if ray.is_initialized():
        _check_cores(ray, cores)
        yield
        return
    with _signals_kept() as hear_sigterm:
        try:
            _start(ray, cores)
            hear_sigterm()
            _check_cores(ray, cores)
            yield
        finally:  # A cluster may be half begun, too.
            _shutdown(ray)


def _start(ray: Any, cores: int) -> None:
    """Connect to the cluster, or begin one here.

    Raises:
        ResourceError: T29.
    """
    address = os.environ.get(ADDRESS) or "local"
    # Ray counts what a container is given, threads are counted by others: a task has to fit.
    own = {"num_cpus": max(cores, _cores_here())} if address == "local" else {}
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, **own)
    except SystemExit as stop:  # Ray's own handler, while it begins
        raise SystemExit(
            128 + signal.SIGTERM if stop.code == signal.SIGTERM else stop.code
        ) from None
    except Exception as error:  # Ray raises plain exceptions, too
        raise ResourceError(
            f"Ray cannot be started or reached: {type(error).__name__}: {error}",
            code="T29",
            where="--engine ray",
            expected="a cluster at RAY_ADDRESS, or a machine that is not too busy to begin one",
            hint="try again: finished blocks are kept; or --shard I/N, which needs no cluster",
        ) from error


def _cores_here() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_cores(ray: Any, cores: int) -> None:
    """Refuse tasks that fit on no machine: Ray would wait for one for ever.

    Raises:
        ResourceError: T29.
    """
    largest = max((node.get("Resources", {}).get("CPU", 0) for node in ray.nodes()), default=0)
    if largest < cores:
        raise ResourceError(
            f"no machine of the cluster has {cores} cores for a task: the largest has {largest:g}",
            code="T29",
            where="--engine ray",
            expected="a task takes as many cores as --threads says",
            hint=f"convscope --threads {max(1, int(largest))} ...",
        )


def _shutdown(ray: Any) -> None:
    """End what was begun, or leave the cluster: when this returns, no process is left."""
    waits = "wait_for_processes" in inspect.signature(ray.shutdown).parameters
    ray.shutdown(**({"wait_for_processes": True} if waits else {}))


@contextmanager
def _signals_kept() -> Iterator[Callable[[], None]]:
    """SIGTERM as it was, for Ray puts a handler of its own there and leaves it.

    Yields:
        To be called when Ray has begun: the caller's handler hears SIGTERM again, and where there
        is none, it is an exception, so that nothing goes on without this process.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield lambda: None  # Only the main thread sets handlers: Ray has not, either.
        return

    def hear() -> None:
        signal.signal(signal.SIGTERM, _leave if before == signal.SIG_DFL else before)

    try:
        yield hear
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


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
    try:
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
    finally:
        for reference in waiting:  # Somebody else's cluster goes on: nobody wants these any more.
            with suppress(Exception):  # Why this ends matters more.
                ray.cancel(reference, force=True)
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
    except ray.exceptions.RayError as error:
        raise ResourceError(
            f"a block was not finished: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}",
            code="T29",
            where="--engine ray",
            expected="workers that live until a block is through; is there enough memory?",
            hint="give the same command again: finished blocks are kept",
        ) from error
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
