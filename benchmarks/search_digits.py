"""Search settings on digits with two processes, kill one at a random moment, count the trials.

Each repeat starts `convscope search` twice on one storage, sends SIGKILL to one of them at a random
moment, starts it again, and lets both end. Then the storage is asked: every trial must be there
once, no run may be left behind, and no trial may have been ended by two processes. For random
search, the table must be that of an undisturbed search in one process.

    python benchmarks/search_digits.py --repeats 3
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

from convscope.data import open_dataset
from convscope.training import SearchResult, read_space, recipe, search

MODEL, DATA = "mnist-conv1", "digits"
SPACE = """
learning_rate = { low = 0.0003, high = 0.1, log = true }
batch_size = [32, 64, 128]
[augment]
shift = [0, 1]
"""


def words(place: Path, storage: str, method: str, trials: int, epochs: int) -> list[str]:
    """The command that every process runs."""
    return [
        *(sys.executable, "-m", "convscope.cli", "search", MODEL, "--data", DATA),
        *("--space", str(place / "space.toml"), "--storage", storage, "--method", method),
        *("--trials", str(trials), "--epochs", str(epochs), "--threads", "1"),
    ]


def started(command: list[str], log: Path) -> subprocess.Popen:
    """One process; what it says of trials goes to a file."""
    with log.open("a") as file:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)


def found_in(place: Path, storage: str, method: str, trials: int, epochs: int) -> SearchResult:
    """What the storage holds; nothing is left to run."""
    return search(
        recipe(MODEL, data=DATA, epochs=epochs),
        open_dataset(DATA),
        space=read_space(place / "space.toml"),
        storage=storage,
        method=method,
        trials=trials,
    )


def repeat(
    method: str, trials: int, epochs: int, generator: random.Random, calm: SearchResult | None
) -> dict:
    """One search with one kill."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "space.toml").write_text(SPACE)
        storage = str(place / ("search.journal" if method == "tpe" else "search"))
        command = words(place, storage, method, trials, epochs)
        logs = [place / "first.log", place / "second.log"]
        began = time.monotonic()
        first, second = (started(command, log) for log in logs)
        # From the first trial on: before, there is nothing to lose.
        while "trial " not in "".join(log.read_text() for log in logs):
            time.sleep(0.05)
        time.sleep(generator.uniform(0, 8))
        killed = first.poll() is None
        if killed:
            first.send_signal(signal.SIGKILL)
            first.wait()
            at = time.monotonic() - began
            first = started(command, logs[0])
        codes = [first.wait(), second.wait()]
        seconds = time.monotonic() - began
        said = [
            line.split()[1]
            for log in logs
            for line in log.read_text().splitlines()
            if line.startswith("trial ")
        ]
        left = [str(p) for p in place.rglob("checkpoints")]
        found = found_in(place, storage, method, trials, epochs)
    numbers = [trial.number for trial in found.trials]
    return {
        "killed_after_seconds": round(at, 2) if killed else None,
        "exit_codes": codes,
        "trials": len(numbers),
        "lost": len(set(range(trials)) - set(numbers)),
        "doubled": len(said) - len(set(said)),
        "trials_run_again": sum(trial.attempts > 1 for trial in found.trials),
        "pruned": found.count("pruned"),
        "failed": found.count("failed"),
        "runs_left_behind": len(left),
        "table_of_an_undisturbed_search": None if calm is None else found.table() == calm.table(),
        "best_validation_accuracy": found.best.value if found.best else None,
        "seconds": round(seconds, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["tpe", "random"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    generator = random.Random(args.seed)
    figures: dict[str, list] = {}
    for method in args.methods:
        calm = None
        if method != "tpe":
            with tempfile.TemporaryDirectory() as name:
                (Path(name) / "space.toml").write_text(SPACE)
                calm = found_in(Path(name), f"{name}/calm", method, args.trials, args.epochs)
        figures[method] = [
            repeat(method, args.trials, args.epochs, generator, calm) for _ in range(args.repeats)
        ]
    every = [run for runs in figures.values() for run in runs]
    whole = {
        "searches": len(every),
        "kills": sum(run["killed_after_seconds"] is not None for run in every),
        "trials_of_each": args.trials,
        "lost": sum(run["lost"] for run in every),
        "doubled": sum(run["doubled"] for run in every),
        "trials_run_again": sum(run["trials_run_again"] for run in every),
        **figures,
    }
    if args.dry:
        print(json.dumps(whole, indent=2))
    else:
        record(
            "search_digits", whole, n=len(every), peers=("optuna",), model=MODEL, data=DATA,
            epochs=args.epochs, processes=2, threads=1,
        )  # fmt: skip
    bad = whole["lost"] or whole["doubled"] or any(run["exit_codes"] != [0, 0] for run in every)
    return int(bool(bad) or any(run["table_of_an_undisturbed_search"] is False for run in every))


if __name__ == "__main__":
    sys.exit(main())
