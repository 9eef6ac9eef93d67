"""One process and two: training images per second, test accuracy, and the order of the data.

The same command under torchrun: one process with one thread, one with two, two with one each, in
turns, each with the same seeds. Two processes do the work of a batch in halves and average their
gradients (gloo); batch normalization sees a half. Speed is that of the updates, taken between two
of them with no validation and no checkpoint in between; seconds are those of the whole run. Rows of
every batch are hashed: the order has to be the same in all of them.

    python benchmarks/torchrun.py --only mnist --data-dir DIR
    python benchmarks/torchrun.py --only cifar --data-dir DIR       # added to what is recorded
    python benchmarks/torchrun.py --only mnist --images 2000 --seeds 1 --dry
"""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from record import RESULTS, machine, record

from convscope.data import Dataset, open_dataset
from convscope.training import Stepped, evaluate, recipe, train, tune_allocator
from convscope.training._batches import Batches

CASES: dict[str, dict[str, Any]] = {
    "mnist": {"model": "mnist-conv2-fc-bn", "data": "mnist", "epochs": 2},
    "cifar": {"model": "cifar-best-quick", "data": "cifar10", "epochs": 1},
}
LAYOUTS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes": (2, 1)}
"""Processes, and threads of each."""


def smaller(dataset: Dataset, images: int | None) -> Dataset:
    """`dataset` with the first so many images of each split, to try the script."""
    if images is None:
        return dataset
    parts = {
        split.name: replace(split, images=split.images[:images], labels=split.labels[:images])
        for split in dataset.splits
    }
    return replace(dataset, **parts)


def work(args: argparse.Namespace) -> None:
    """One run, in one of its processes; process 0 writes what was measured to `args.work`."""
    torch.set_num_threads(args.threads)
    tune_allocator()
    case = CASES[args.only[0]]
    dataset = smaller(open_dataset(case["data"], data_dir=args.data_dir), args.images)
    settings = recipe(
        case["model"], data=case["data"], seed=args.first_seed, epochs=case["epochs"],
        evals_per_epoch=1, checkpoint_seconds=3600.0, device="cpu",
    )  # fmt: skip
    order = hashlib.sha256()
    load = Batches.load

    def noting(self: Batches, epoch: int, batch: int, *rest: Any) -> Any:
        order.update(self.rows(epoch, batch).numpy().tobytes())
        return load(self, epoch, batch, *rest)

    Batches.load = noting  # type: ignore[method-assign]
    gaps: list[float] = []
    last = [0.0]

    def on_event(event: Any) -> None:
        now = time.monotonic()
        if isinstance(event, Stepped):
            if last[0]:
                gaps.append(now - last[0])
            last[0] = now
        else:
            last[0] = 0.0

    began = time.monotonic()
    result = train(settings, dataset, out=args.work / "run", on_event=on_event)
    seconds = time.monotonic() - began
    rank = int(os.environ.get("RANK", "0"))
    found = {"order": order.hexdigest(), "steps": result.history[-1].step}
    if rank == 0:
        judged = evaluate(result.classifier, dataset.test, tta=settings.tta)
        found |= {
            "accuracy": round(judged.accuracy, 5),
            "train_loss": round(result.history[-1].train_loss, 5),
            "images_per_second": round(settings.batch_size / statistics.median(gaps), 1),
            "seconds": round(seconds, 2),
        }
    (args.work / f"{rank}.json").write_text(json.dumps(found))


def run(
    case: str, processes: int, threads: int, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One run in processes of its own; what process 0 measured, and the order that each saw."""
    with tempfile.TemporaryDirectory() as place:
        words = [__file__, "--work", place, "--only", case, "--threads", str(threads)]
        words += ["--first-seed", str(seed)]
        words += ["--data-dir", str(args.data_dir)] if args.data_dir else []
        words += ["--images", str(args.images)] if args.images else []
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        start = [*launcher, str(processes)] if processes > 1 else []
        # As the command line does: threads that wait do not spin.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, *start, *words], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        parts = [json.loads((Path(place) / f"{i}.json").read_text()) for i in range(processes)]
    orders = {part["order"] for part in parts}
    assert len(orders) == 1, "the processes do not agree on the order of the images"
    return {"seed": seed, **parts[0]}


def compare(case: str, args: argparse.Namespace) -> dict[str, Any]:
    """All layouts of a case, in turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in LAYOUTS}
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name, (processes, threads) in LAYOUTS.items():
            runs[name].append(run(case, processes, threads, seed, args))
            print(case, name, runs[name][-1], flush=True)
    table: dict[str, Any] = {}
    for name, found in runs.items():
        speeds = [each["images_per_second"] for each in found]
        accuracies = [each["accuracy"] for each in found]
        table[name] = {
            "images_per_second": statistics.median(speeds),
            "images_per_second, smallest and largest": [min(speeds), max(speeds)],
            "seconds": statistics.median(each["seconds"] for each in found),
            "accuracy, mean": round(statistics.mean(accuracies), 5),
            "accuracy, sd": round(statistics.stdev(accuracies), 5) if len(found) > 1 else None,
            "n": len(found),
            "runs": found,
        }
    first, *others = LAYOUTS
    for name in others:
        table[name]["speed over 1 process, 1 thread"] = round(
            table[name]["images_per_second"] / table[first]["images_per_second"], 3
        )
        table[name]["accuracy - that of 1 process, 1 thread, by seed"] = [
            round(ours["accuracy"] - theirs["accuracy"], 5)
            for ours, theirs in zip(runs[name], runs[first], strict=True)
        ]
    same = all(
        len({found[place]["order"] for found in runs.values()}) == 1 for place in range(args.seeds)
    )
    facts = {"same order of data": same, "machine": machine()}
    return {**CASES[case], **facts, "layouts": table}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="of each split, to try the script")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        with contextlib.redirect_stdout(sys.stderr):
            work(args)
        return 0
    figures = {case: compare(case, args) for case in args.only}
    same = all(figure["same order of data"] for figure in figures.values())
    if args.dry or args.images:
        print(json.dumps(figures, indent=2))
    else:
        path = RESULTS / "torchrun.json"
        before = json.loads(path.read_text())["figures"] if path.exists() else {}
        record("torchrun", before | figures)
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
