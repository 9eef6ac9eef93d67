"""Judge 1,000 images by one process and by two shards at a time, in turns: how much faster two are.

Each process has one thread. Times are those of whole programs, with importing and opening the data;
of two shards, until the second has ended.

    python benchmarks/two_processes.py --data-dir DIR --repeats 3
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record
from sharding import PROGRAM, started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model", default="mnist-conv2-fc")
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    words = [*PROGRAM, "attack", "evaluate", given.model, "--data", "mnist", "--data-dir",
             str(given.data_dir.resolve()), "--epsilon", "0.1", "--effort", given.effort,
             "--count", str(given.count), "--part", "part"]  # fmt: skip
    one: list[float] = []
    two: list[float] = []
    for _ in range(given.repeats):
        for seconds, shards in ((one, ["1/1"]), (two, ["1/2", "2/2"])):
            with tempfile.TemporaryDirectory() as place:
                began = time.monotonic()
                workers: list[subprocess.Popen] = [
                    started([*words, "--shard", shard], Path(place)) for shard in shards
                ]
                assert all(worker.wait() == 0 for worker in workers)
                seconds.append(round(time.monotonic() - began, 2))
                print(shards, seconds[-1], flush=True)
        ratios = [a / b for a, b in zip(one, two, strict=True)]
        record(
            "two_processes",
            {
                "one process, seconds": one,
                "two shards, seconds": two,
                "times faster, median": round(statistics.median(ratios), 3),
                "times faster": [round(ratio, 3) for ratio in ratios],
                "promised": 1.7,
                "reached": statistics.median(ratios) >= 1.7,
            },
            images=given.count, model=given.model, effort=given.effort,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
