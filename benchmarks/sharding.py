"""Judge robustness by many workers, kill them at random, compare every byte with one process.

Workers are programs of their own: 1, 2, 4 and 8 shards by hand, as processes of torchrun, and with
the environment of a SLURM array. Then workers are killed with SIGKILL at random moments and started
again until so many kills have struck. Each way must write the tables, figures and JSON (without
times) of one process that nobody disturbed.

    python benchmarks/sharding.py --data-dir DIR --kills 50
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

PROGRAM = [sys.executable, "-m", "convscope", "--threads", "1", "--quiet"]
ARRAY = "SLURM_ARRAY_TASK_"


def without_times(tree: Any) -> Any:
    """JSON without seconds."""
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key != "seconds"}
    return [without_times(value) for value in tree] if isinstance(tree, list) else tree


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a folder of results: its bytes, or its JSON without times."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.suffix == ".json"
        found[str(path.relative_to(folder))] = (
            without_times(json.loads(path.read_text())) if text else path.read_bytes()
        )
    return found


def started(words: list[str], cache: Path, **environment: str) -> subprocess.Popen:
    """A worker."""
    given = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(words, env=given, stdout=subprocess.DEVNULL)


def merged(part: Path, out: Path) -> dict[str, Any]:
    """The report of a part."""
    subprocess.run([*PROGRAM, "merge", str(part), "--out", str(out)], check=True)
    return contents(out)


def killed(words: list[str], part: Path, cache: Path, kills: int, seed: int) -> int:
    """Start two workers over and over, and kill each at a random moment; how many kills struck."""
    draws, struck, longest = random.Random(seed), 0, 4.0
    while struck < kills:
        pair = [started([*words, "--part", str(part), "--shard", f"{i}/2"], cache) for i in (1, 2)]
        for worker in draws.sample(pair, 2):
            time.sleep(draws.uniform(0.5, longest))
            worker.kill()
            struck += worker.wait() == -9
        if not any(part.glob("block-*")) and struck > 4:
            longest *= 1.3  # A slow machine is still importing.
        if part.exists() and (part / "reported").exists() and struck < kills:
            # They were through: take some blocks away, so that the rest of the kills can strike.
            for path in draws.sample(sorted(part.glob("block-*")), 3):
                path.unlink()
            (part / "reported").unlink()
    return struck


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--model", default="mnist-conv2-fc")
    parser.add_argument("--epsilon", default="0.1")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    words = [
        *PROGRAM, "attack", "evaluate", given.model, "--data", given.data, "--data-dir",
        str(given.data_dir), "--epsilon", given.epsilon, "--effort", "quick", "--count",
        str(given.count),
    ]  # fmt: skip
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)
        cache = at / "cache"

        def timed(*workers: subprocess.Popen) -> float:
            began = time.monotonic()
            failed = [worker.args for worker in workers if worker.wait() != 0]
            assert not failed, failed
            return round(time.monotonic() - began, 2)

        seconds = timed(started([*words, "--out", str(at / "alone")], cache))
        alone = contents(at / "alone")
        figures["one process"] = {"seconds": seconds, "files": len(alone)}
        seconds = timed(started([*words, "--part", str(at / "kept")], cache))
        figures["one process that keeps its blocks"] = {
            "seconds": seconds, "equal": merged(at / "kept", at / "kept-out") == alone,
        }  # fmt: skip
        for count in given.shards:
            part = at / f"shards-{count}"
            shards = [
                started([*words, "--part", str(part), "--shard", f"{i + 1}/{count}"], cache)
                for i in range(count)
            ]
            seconds = timed(*shards)
            figures[f"{count} shards by hand"] = {
                "seconds": seconds, "equal": merged(part, at / f"out-{count}") == alone,
            }  # fmt: skip
        run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m",
               "convscope", *words[3:], "--part", str(at / "torchrun")]  # fmt: skip
        seconds = timed(started(run, cache))
        figures["torchrun, 2 processes"] = {
            "seconds": seconds, "equal": merged(at / "torchrun", at / "torchrun-out") == alone,
        }  # fmt: skip
        array = {f"{ARRAY}COUNT": "3", f"{ARRAY}MIN": "5", f"{ARRAY}MAX": "7"}
        tasks = [
            started([*words, "--part", str(at / "array")], cache, **array, **{f"{ARRAY}ID": task})
            for task in ("5", "6", "7")
        ]
        seconds = timed(*tasks)
        figures["an array of 3 tasks"] = {
            "seconds": seconds, "equal": merged(at / "array", at / "array-out") == alone,
        }  # fmt: skip
        if given.kills:
            began = time.monotonic()
            struck = killed(words, at / "killed", cache, given.kills, given.seed)
            timed(started([*words, "--part", str(at / "killed")], cache))
            shutil.rmtree(at / "killed-out", ignore_errors=True)
            figures["workers killed at random moments"] = {
                "kills": struck,
                "seconds": round(time.monotonic() - began, 2),
                "equal": merged(at / "killed", at / "killed-out") == alone,
            }
    record("sharding", figures, images=given.count, model=given.model, data=given.data)


if __name__ == "__main__":
    main()
