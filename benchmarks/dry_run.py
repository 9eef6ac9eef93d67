"""Plan five different jobs with ``--dry-run``, run them, and compare the time.

Each job is a program of its own, so what it takes to begin (importing, opening the data) is in its
time and not in the plan. That is measured by the plan: a dry run is the same program, and says how
many of its seconds were the rehearsal.

    python benchmarks/dry_run.py --data-dir DIR --cifar-dir DIR
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

PROGRAM = [sys.executable, "-m", "convscope", "--threads", "1", "--quiet"]

JOBS = {
    "eval": "eval cifar-best --data cifar10 --count 4000",
    "attack evaluate": "attack evaluate mnist-conv2-fc --data mnist --epsilon 0.1 "
    "--effort quick --count 500",
    "attack certify": "attack certify mnist-conv2-fc --data mnist --sigma 0.25 --count 10",
    "inspect --trust": "inspect mnist-conv2-fc --trust --data mnist",
    "audit": "audit mnist-conv1 --data digits --force",
}
"""About five minutes on two quiet cores, plans included."""

TRIED = {
    "eval": "eval mnist-conv2-fc --data digits --split all",
    "attack evaluate, quick": "attack evaluate mnist-conv1 --data digits --epsilon 0.05 "
    "--effort quick --count 200",
    "attack certify": "attack certify mnist-conv1 --data digits --sigma 0.25 --count 4 "
    "--draws 2000",
}
"""Jobs of seconds on the data that are built in, to try this script."""


def run(words: list[str]) -> tuple[dict[str, Any], float]:
    """What a command printed as JSON, and its wall-clock seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:  # for reports
        done = subprocess.run(
            [*PROGRAM, *words, "--json"], check=True, capture_output=True, text=True, cwd=place
        )
    return json.loads(done.stdout), time.perf_counter() - began


def compared(words: list[str], repeats: int) -> dict[str, Any]:
    """Planned and measured seconds of a job, in turns."""
    planned, measured, plan = [], [], {}
    run([*words, "--dry-run"])  # Files and modules come from the disk only once.
    for _ in range(repeats):
        plan, whole = run([*words, "--dry-run"])
        beginning = whole - plan["rehearsal_seconds"]
        planned.append(plan["seconds"])
        measured.append(run(words)[1] - beginning)
    ratios = [mine / other for mine, other in zip(planned, measured, strict=True)]
    return {
        "images": plan["images"],
        "planned_seconds": [round(value, 2) for value in planned],
        "measured_seconds": [round(value, 2) for value in measured],
        "planned over measured, median": round(statistics.median(ratios), 3),
        "within 30 %": all(0.7 <= ratio <= 1.3 for ratio in ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cifar-dir", type=Path)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--try", dest="tried", action="store_true", help="small jobs, no record")
    given = parser.parse_args()
    folders = {"mnist": given.data_dir, "cifar10": given.cifar_dir or given.data_dir}
    figures = {}
    for name, line in (TRIED if given.tried else JOBS).items():
        words = line.split()
        folder = folders.get(words[words.index("--data") + 1])
        words += [] if folder is None else ["--data-dir", str(folder.resolve())]
        figures[name] = {"command": line, **compared(words, given.repeats)}
        print(name, json.dumps(figures[name]), flush=True)
    if not given.tried:
        record("dry_run", figures, repeats=given.repeats)


if __name__ == "__main__":
    main()
