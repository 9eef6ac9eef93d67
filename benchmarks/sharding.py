"""Judge robustness or audit by many workers, kill them, compare every byte with one process.

Workers are programs of their own: 1, 2, 4 and 8 shards by hand, as processes of torchrun, and with
the environment of a SLURM array. Then workers are killed with SIGKILL at random moments and started
again until so many kills have struck. Each way must write the tables, figures and JSON (without
times) of one process that nobody disturbed.

    python benchmarks/sharding.py --data-dir DIR --kills 50
    python benchmarks/sharding.py --data-dir DIR --job audit --count 50
    python benchmarks/sharding.py --data-dir DIR --job audit --data digits --shards 2 --ray
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

PROGRAM = [sys.executable, "-m", "convscope", "--threads", "1", "--quiet"]
ARRAY = "SLURM_ARRAY_TASK_"


TIMED = ("seconds", "created", "subtitle")
"""Keys, and columns of tables, that are times or the date."""
CLOCK = "Time per image"
"""Label of a tile."""


def without_times(tree: Any) -> Any:
    """JSON without times: keys, columns of tables, and the tile of the time per image."""
    if isinstance(tree, list):
        kept = [one for one in tree if not (isinstance(one, dict) and one.get("label") == CLOCK)]
        return [without_times(value) for value in kept]
    if not isinstance(tree, dict):
        return tree
    columns = tree.get("columns")  # of a grid: how many
    listed = columns if isinstance(columns, list) else ()
    titles = [column.get("title") for column in listed if isinstance(column, dict)]
    if "seconds" in titles:
        place = titles.index("seconds")
        tree = {**tree, "rows": [[*row[:place], *row[place + 1 :]] for row in tree["rows"]]}
    return {key: without_times(value) for key, value in tree.items() if key not in TIMED}


def without_seconds(text: str) -> list[list[str]]:
    """A table without its column of seconds."""
    rows = list(csv.reader(text.splitlines()))
    kept = [place for place, head in enumerate(rows[0]) if head not in TIMED]
    return [[row[place] for place in kept] for row in rows]


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a folder of results: its bytes, or JSON and tables without times."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = without_times(json.loads(path.read_text()))
        else:
            found[name] = (
                without_seconds(path.read_text()) if path.suffix == ".csv" else path.read_bytes()
            )
    return found


def started(words: list[str], where: Path, **environment: str) -> subprocess.Popen:
    """A worker; all workers of a job have the same folder to work in."""
    where.mkdir(exist_ok=True)
    given = {**os.environ, "XDG_CACHE_HOME": str(where / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=given | environment, cwd=where, stdout=subprocess.DEVNULL)


def merged(part: Path, out: Path) -> dict[str, Any]:
    """The report of a part; that of an audit is a folder beside its page."""
    subprocess.run([*PROGRAM, "merge", str(part), "--out", str(out)], check=True)
    return contents(out)


def words_of(given: argparse.Namespace) -> list[str]:
    """The command without the options of workers."""
    place = str(given.data_dir.resolve())
    about = [given.model, "--data", given.data, "--data-dir", place, "--epsilon", given.epsilon,
             "--effort", "quick", "--count", str(given.count), "--out", "report",
             "--force"]  # fmt: skip
    return [*PROGRAM, *(["audit"] if given.job == "audit" else ["attack", "evaluate"]), *about]


def killed(words: list[str], where: Path, kills: int, seed: int) -> int:
    """Start two workers over and over, and kill each at a random moment; how many kills struck."""
    draws, struck, longest, part = random.Random(seed), 0, 4.0, where / "part"
    while struck < kills:
        pair = [started([*words, "--part", "part", "--shard", f"{i}/2"], where) for i in (1, 2)]
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
    parser.add_argument("--job", choices=["evaluate", "audit"], default="evaluate")
    parser.add_argument("--ray", action="store_true", help="also by tasks of Ray")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--model", default="mnist-conv2-fc")
    parser.add_argument("--epsilon", default="0.1")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    words = words_of(given)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        at = Path(place)

        def timed(*workers: subprocess.Popen) -> float:
            began = time.monotonic()
            failed = [worker.args for worker in workers if worker.wait() != 0]
            assert not failed, failed
            return round(time.monotonic() - began, 2)

        def judged(name: str, where: Path, *workers: subprocess.Popen) -> None:
            seconds = timed(*workers)
            figures[name] = {
                "seconds": seconds,
                "equal": contents(where / "report") == alone,
                "merged equal": merged(where / "part", where / "merged") == alone,
            }

        first = at / "alone"
        seconds = timed(started(words, first))
        alone = contents(first / "report")
        figures["one process"] = {"seconds": seconds, "files": len(alone)}
        kept = [*words, "--part", "part"]
        judged("one process that keeps its blocks", at / "kept", started(kept, at / "kept"))
        for count in given.shards:
            where = at / f"shards-{count}"
            shards = [started([*kept, "--shard", f"{i + 1}/{count}"], where) for i in range(count)]
            judged(f"{count} shards by hand", where, *shards)
        run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m",
               "convscope", *kept[3:]]  # fmt: skip
        judged("torchrun, 2 processes", at / "torchrun", started(run, at / "torchrun"))
        array = {f"{ARRAY}COUNT": "3", f"{ARRAY}MIN": "5", f"{ARRAY}MAX": "7"}
        tasks = [
            started(kept, at / "array", **array, **{f"{ARRAY}ID": task}) for task in ("5", "6", "7")
        ]
        judged("an array of 3 tasks", at / "array", *tasks)
        if given.ray:
            judged("tasks of Ray", at / "ray", started([*kept, "--engine", "ray"], at / "ray"))
        if given.kills:
            began = time.monotonic()
            where = at / "killed"
            struck = killed(words, where, given.kills, given.seed)
            judged("workers killed at random moments", where, started(kept, where))
            figures["workers killed at random moments"] |= {
                "kills": struck,
                "seconds": round(time.monotonic() - began, 2),
            }
    name = "sharding-audit" if given.job == "audit" else "sharding"
    record(name, figures, images=given.count, model=given.model, data=given.data)


if __name__ == "__main__":
    main()
