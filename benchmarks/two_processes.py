"""Judge 1,000 images plainly, by one process that keeps its blocks, and by two shards, in turns.

How much faster two are, and what keeping blocks costs one. Each process has one thread. Times are
those of whole programs, with importing and opening the data; of two shards, until the second has
ended. Ratios are of turns that lie side by side.

    python benchmarks/two_processes.py --data-dir DIR --repeats 5
    python benchmarks/two_processes.py --data-dir DIR --repeats 9 --only overhead
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record
from sharding import PROGRAM, started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model", default="mnist-conv2-fc")
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["overhead"], help="leave the two shards out")
    parser.add_argument("--dry", action="store_true", help="write no record, to try the script")
    given = parser.parse_args()
    words = [*PROGRAM, "attack", "evaluate", given.model, "--data", "mnist", "--data-dir",
             str(given.data_dir.resolve()), "--epsilon", "0.1", "--effort", given.effort,
             "--count", str(given.count)]  # fmt: skip
    kept = [*words, "--part", "part"]
    ways = {PLAIN: [words], ONE: [[*kept, "--shard", "1/1"]]}
    if given.only != "overhead":
        ways[TWO] = [[*kept, "--shard", f"{i}/2"] for i in (1, 2)]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(given.repeats):
        names = list(ways) if turn % 2 == 0 else list(reversed(ways))  # nobody is always first
        for name in names:
            with tempfile.TemporaryDirectory() as place:
                began = time.monotonic()
                workers = [started(way, Path(place)) for way in ways[name]]
                assert all(worker.wait() == 0 for worker in workers)
                seconds[name].append(round(time.monotonic() - began, 2))
                print(name, seconds[name][-1], flush=True)
        figures: dict[str, Any] = {f"{name}, seconds": took for name, took in seconds.items()}
        over = ratios(seconds[ONE], seconds[PLAIN])
        figures["one that keeps its blocks / plain"] = over | {
            "promised": 1.02,
            "reached": over["median"] <= 1.02,
        }
        if TWO in seconds:
            faster = ratios(seconds[ONE], seconds[TWO])
            figures["times faster"] = faster | {
                "promised": 1.7,
                "reached": faster["median"] >= 1.7,
            }
        name = "sharding_overhead" if given.only else "two_processes"
        if not given.dry:
            record(name, figures, images=given.count, model=given.model, effort=given.effort)
    print(figures)
    return 0


PLAIN, ONE, TWO = "one process", "one shard, kept", "two shards"


def ratios(these: list[float], those: list[float]) -> dict[str, Any]:
    """Of turns that lie side by side: median, smallest and largest."""
    found = [round(one / other, 3) for one, other in zip(these, those, strict=True)]
    return {"median": round(statistics.median(found), 3), "spread": [min(found), max(found)],
            "n": len(found)}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
