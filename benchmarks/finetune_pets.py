"""Fine-tune an ImageNet network on the pets that are here, by the preset, and kill it on the way.

One run that nobody disturbs gives time and accuracy: the preset ``finetune`` as it is, validation
images from the official training list, the official test list looked at once, at the end. A second
run is killed with SIGKILL at random passages of random points, resumed each time, and its bits are
compared with those of the first.

    python benchmarks/finetune_pets.py --model hf:DIRECTORY --data-dir DIR --kills 10
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from kills import SAVE_POINTS, STEP_POINTS, digest
from record import record

from convscope.data import open_dataset
from convscope.models import load
from convscope.stats import wilson
from convscope.training import evaluate, recipe, train, tune_allocator

# Every passage of these is reached: the preset keeps no moving average.
POINTS = (*STEP_POINTS[:5], *(name for name in SAVE_POINTS if name != "ckpt.write.average"))


def attempt(options: argparse.Namespace, folder: Path) -> dict:
    """Train, or go on, in this process."""
    torch.set_num_threads(options.threads)
    tune_allocator()
    began = time.monotonic()
    base = load(options.model)
    data = open_dataset(
        "pets", data_dir=options.data_dir, input_shape=base.input_shape, resize=base.resize
    )
    opened = time.monotonic() - began
    changes = {} if options.epochs is None else {"epochs": options.epochs}
    settings = recipe(options.model, data="pets", preset="finetune", overrides=changes)
    # More often than the preset: a kill shall cost little of this measurement.
    settings = replace(settings, checkpoint_steps=4)
    result = train(base, data, out=folder, settings=settings, spec=options.model, resume=True)
    return {"data": data, "settings": settings, "result": result, "open_seconds": opened}


def killed(options: argparse.Namespace, folder: Path, steps: int) -> dict:
    """A run that is killed `options.kills` times before it may end."""
    generator = random.Random(options.seed)
    words = [sys.executable, __file__, "--child", str(folder), "--model", options.model]
    words += ["--data-dir", str(options.data_dir), "--threads", str(options.threads)]
    words += [] if options.epochs is None else ["--epochs", str(options.epochs)]
    struck: list[str] = []
    tries = 0
    while len(struck) < options.kills and tries < 4 * options.kills:
        tries += 1
        # Passages are counted from where the run goes on: so few that every kill lands before its
        # end, whatever the others were.
        name = generator.choice(POINTS)
        most = max(1, steps // options.kills - 2) if name in STEP_POINTS else 1
        fault = f"{name}:{generator.randint(1, most)}:kill9"
        done = subprocess.run(words, env={**os.environ, "CONVSCOPE_FAULTS": fault})
        if done.returncode == -signal.SIGKILL:
            struck.append(fault)
        elif done.returncode:
            raise SystemExit(f"{fault}: exit code {done.returncode}")
        else:
            break
    if subprocess.run(words).returncode:
        raise SystemExit("the resumed run failed")
    return {"kills": len(struck), "struck": struck}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--child", type=Path)
    parser.add_argument("--dry", action="store_true", help="record nothing")
    options = parser.parse_args()
    if options.child:
        attempt(options, options.child)
        return
    at = Path(tempfile.mkdtemp())
    try:
        began, began_cpu = time.monotonic(), time.process_time()
        done = attempt(options, at / "calm")
        seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
        data, settings = done["data"], done["settings"]
        found = evaluate(done["result"].classifier, data.test)
        right = int(found.confusion.diagonal().sum())
        steps = settings.epochs * (len(data.train) // settings.batch_size)
        figures = {
            "mean_per_class": found.mean_per_class,
            "accuracy": found.accuracy,
            "accuracy_95": list(wilson(right, found.n)),
            "n_test": found.n,
            "per_class": dict(zip(data.class_names, found.per_class.tolist(), strict=True)),
            "validation_accuracy": done["result"].history[-1].validation_accuracy,
            "n_validation": len(data.validation),
            "n_train": len(data.train),
            "seconds": seconds,
            "cpu_seconds": cpu,
            "seconds_to_open_network_and_images": done["open_seconds"],
            "epochs": settings.epochs,
            "steps": steps,
            "threads": options.threads,
        }
        if options.kills:
            figures |= killed(options, at / "killed", steps)
            figures["same_bits"] = digest(at / "killed") == digest(at / "calm")
        print(figures)
        if not options.dry:
            record("finetune_pets", figures, peers=("transformers",), preset="finetune")
    finally:
        shutil.rmtree(at)


if __name__ == "__main__":
    main()
