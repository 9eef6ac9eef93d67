"""Kill training runs with SIGKILL at random steps and inside saves; resume; compare every bit.

Each trial starts a fresh run folder, kills the process up to three times at a random passage of a
random point (by count, not by clock, so that every kill lands inside the run), lets the last
attempt finish and compares weights, optimizer, moving average and metrics with a run that nobody
disturbed. Children are forked from a process that has already imported torch.

    python benchmarks/kills.py --kills 100
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch
from record import record

from convscope.data import Dataset, open_dataset
from convscope.training import TrainSettings, recipe, train
from convscope.training import _faults as faults

STEP_POINTS = ("data.read", "step.forward", "step.loss", "step.grad", "step.update", "log.append")
SAVE_POINTS = (
    "ckpt.mkdir",
    "ckpt.write.model",
    "ckpt.write.optimizer",
    "ckpt.write.average",
    "ckpt.write.state",
    "ckpt.write.metrics",
    "ckpt.write.manifest",
    "ckpt.fsync",
    "ckpt.rename",
    "ckpt.prune",
)
END_POINTS = ("model.write", "report.write")


def digest(folder: Path) -> str:
    """SHA-256 of the delivered weights, the metrics and the last checkpoint (with the average)."""
    newest = max((folder / "checkpoints").glob("step-*"))
    whole = hashlib.sha256()
    for path in (folder / "model.safetensors", folder / "metrics.csv", *sorted(newest.iterdir())):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()


def attempt(settings: TrainSettings, dataset: Dataset, folder: Path, fault: str) -> int:
    """Train (or go on) in a child process: 0 finished, -9 killed, anything else is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            faults.arm(fault)
            train(settings, dataset, out=folder, resume=True)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def random_fault(generator: random.Random, steps: int, saves: int) -> str:
    """A passage of a point: half of them inside a save."""
    kind = generator.random()
    if kind < 0.47:
        name = generator.choice(STEP_POINTS)
        most = steps if name != "log.append" else 10
    elif kind < 0.95:
        name, most = generator.choice(SAVE_POINTS), saves
    else:
        name, most = generator.choice(END_POINTS), 1
    return f"{name}:{generator.randint(1, max(1, most))}:kill9"


def measure(settings: TrainSettings, dataset: Dataset, kills: int, seed: int, at: Path) -> dict:
    """Trials until so many kills have happened."""
    generator = random.Random(seed)
    steps = settings.epochs * (len(dataset.train) // settings.batch_size)
    saves = steps // max(1, settings.checkpoint_steps) + settings.epochs
    began = time.monotonic()
    if attempt(settings, dataset, at / "calm", "") != 0:
        raise SystemExit("the undisturbed run failed")
    calm, calm_seconds = digest(at / "calm"), time.monotonic() - began
    struck: Counter[str] = Counter()
    trials = equal = unusable = 0
    while sum(struck.values()) < kills:
        folder = at / "run"
        shutil.rmtree(folder, ignore_errors=True)
        trials += 1
        ended = False
        for _ in range(generator.randint(1, 3)):
            fault = random_fault(generator, steps, saves)
            code = attempt(settings, dataset, folder, fault)
            if code == -signal.SIGKILL:
                struck[fault.split(":")[0]] += 1
            elif code != 0:
                unusable += 1
            ended = ended or code == 0
        if not ended and attempt(settings, dataset, folder, "") != 0:
            unusable += 1
            continue
        equal += digest(folder) == calm
    return {
        "kills": sum(struck.values()),
        "kills_inside_a_save": sum(struck[name] for name in SAVE_POINTS),
        "kills_by_point": dict(sorted(struck.items())),
        "runs": trials,
        "runs_bitwise_equal": equal,
        "unusable_folders": unusable,
        "steps_per_run": steps,
        "seconds_of_an_undisturbed_run": round(calm_seconds, 2),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--model", default="mnist-conv1-bn")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--every", type=int, default=3, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    args = parser.parse_args()
    # One thread: forking a process whose thread pool has started is not safe.
    torch.set_num_threads(1)
    dataset = open_dataset(args.data, data_dir=args.data_dir)
    settings = recipe(
        args.model,
        data=args.data,
        epochs=args.epochs,
        checkpoint_steps=args.every,
        checkpoint_seconds=1e9,
    )
    with tempfile.TemporaryDirectory() as place:
        figures = measure(settings, dataset, args.kills, args.seed, Path(place))
    if args.dry:
        print(figures)
    else:
        record("kills", figures, n=figures["kills"], model=args.model, data=args.data, threads=1)
    return int(figures["runs_bitwise_equal"] != figures["runs"] or figures["unusable_folders"] > 0)


if __name__ == "__main__":
    sys.exit(main())
