"""CIFAR-10 test accuracy of a recipe, with and without test-time augmentation, and what it costs.

Trained on all 50,000 training images, with recipes that were chosen on 40,000 / 10,000 of them.
The test images are looked at once per seed, after training. `--select` trains on the 40,000 and
measures on the 10,000 instead, and records nothing. A row is written after each seed, beside those
that are recorded; runs of other seeds with the same settings stay in it.

`--plain` measures what the same layers need without the recipe, in plain PyTorch: torch's own first
weights, every layer trained, SGD with Nesterov momentum on one cycle (`OneCycleLR`), random flips
and shifts, batches gathered from one tensor in memory, channels last, bfloat16 where the processor
has it. Its clock runs from the first batch to the last update. One seed of ours is timed in the
same process, for the ratio.

`--avx2` measures what a processor without bfloat16 units and AVX-512 would need: oneDNN, ATen and
MKL are held to AVX2, and training is in float32, as it would be there.

    python benchmarks/cifar_accuracy.py --data-dir DIR --model cifar-best-quick --seeds 5
    python benchmarks/cifar_accuracy.py --data-dir DIR --model cifar-best-quick --plain 8 10 12
    python benchmarks/cifar_accuracy.py --data-dir DIR --model cifar-best-quick --seeds 1 --avx2
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "--avx2" in sys.argv:  # read once, when the libraries are loaded
    os.environ |= {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }

import torch
import torch.nn.functional as F
from record import RESULTS, interval, machine, record
from torch import Tensor

from convscope.classifier import Classifier
from convscope.data import Augmentation, Dataset, Split, augment, open_dataset
from convscope.models import MODELS
from convscope.training import evaluate, recipe, train, training_data, tune_allocator

NAME = "cifar_accuracy"
PROMISED = {
    "cifar-best-quick:fast": {"accuracy": 0.90, "flops": 0.07e15},
    "cifar-best:fast": {"accuracy": 0.94, "flops": 0.35e15},
    "cifar-11x11-bn:long": {"accuracy": 0.86},
    "cifar-resnet20:long": {"accuracy": 0.9125},
    "cifar-resnet20:paper": {"accuracy": 0.9125},
}
"""By recipe: mean test accuracy, with test-time augmentation where the recipe has one."""

PLAIN = {"batch_size": 250, "max_lr": 0.2, "weight_decay": 5e-4, "label_smoothing": 0.1}
TARGET = 0.90


def bf16_units() -> bool:
    """Whether the processor multiplies bfloat16."""
    units = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(supported() for supported in units)


def label(args: argparse.Namespace) -> str:
    """What a row is recorded under."""
    name = f"{args.model}:{'plain' if args.plain else args.preset}{':avx2' if args.avx2 else ''}"
    return name if args.epochs is None or args.plain else f"{name}:{args.epochs} epochs"


def recorded() -> dict[str, Any]:
    """The rows of the result file."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["figures"] if path.exists() else {}


def measure(args: argparse.Namespace, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The row of a recipe, after each seed.

    Runs of other seeds with the same settings that are recorded by then count, too.
    """
    changes: dict[str, Any] = {"train_split": "train" if args.select else "train+validation"}
    if args.epochs is not None:
        changes["epochs"] = args.epochs
    if args.avx2:
        changes["precision"] = "fp32"
    part = dataset.validation if args.select else dataset.test
    others: list[dict[str, Any]] = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        settings = recipe(args.model, data="cifar10", preset=args.preset, seed=seed, **changes)
        with tempfile.TemporaryDirectory() as place:
            folder = (args.keep or Path(place)) / f"{args.model}-{args.preset}-{seed}"
            wall, cpu = time.monotonic(), time.process_time()
            result = train(settings, dataset, out=folder)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            began = time.monotonic()
            judged = evaluate(result.classifier, part, tta=settings.tta)
        assert judged.accuracy_without_tta is not None
        run = {
            "seed": seed,
            "accuracy": round(judged.accuracy_without_tta, 4),
            f"accuracy with tta {settings.tta}": round(judged.accuracy, 4),
            "training_loss_by_epoch": [
                round(point.train_loss, 4)
                for point in result.history
                if point.epoch == int(point.epoch)
            ],
            "seconds": round(wall, 1),
            "cpu_seconds": round(cpu, 1),
            "evaluation_seconds": round(time.monotonic() - began, 1),
            "training_flops": result.flops,
        } | machine_facts(args)
        print(args.model, args.preset, run, flush=True)
        words = f"{settings.epochs} epochs, {settings.summary()}"
        words += f", {settings.precision}" if args.avx2 else ""
        before = {} if args.dry or args.select else recorded().get(label(args), {})
        kept = before["runs"] if before.get("settings") == words else others
        others = sorted(
            [other for other in kept if other["seed"] != seed] + [run], key=lambda r: r["seed"]
        )
        yield {"settings": words} | summary(others, args, tta=settings.tta)


def summary(runs: list[dict[str, Any]], args: argparse.Namespace, *, tta: str) -> dict[str, Any]:
    """Means and deviations over the seeds, beside what is promised."""
    row: dict[str, Any] = {"n": len(runs)}
    for key in ("accuracy", f"accuracy with tta {tta}"):
        values = [run[key] for run in runs]
        row[f"{key}, mean"] = round(statistics.mean(values), 5)
        row[f"{key}, sd"] = round(statistics.stdev(values), 5) if len(values) > 1 else None
    row["training_flops"] = runs[0]["training_flops"]
    promised = PROMISED.get(f"{args.model}:{args.preset}", {})
    row["promised"] = promised
    row["reached"] = row[f"accuracy with tta {tta}, mean"] >= promised.get("accuracy", 0.0) and row[
        "training_flops"
    ] <= promised.get("flops", math.inf)
    return row | {"runs": runs}


def machine_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What the seconds depend on."""
    return {
        "threads": args.threads,
        "bf16_units": bf16_units() and not args.avx2,
        "vector_instructions": torch.backends.cpu.get_cpu_capability(),
        "machine": machine(),
    }


def plain(args: argparse.Namespace, dataset: Dataset, epochs: int, seed: int) -> dict[str, Any]:
    """One run of the plain recipe."""
    data = training_data(
        dataset,
        recipe(
            args.model,
            data="cifar10",
            train_split="train" if args.select else "train+validation",
        ),
    )
    torch.manual_seed(seed)
    net = MODELS[args.model].network(len(data.class_names), data.input_shape)
    net = net.to(memory_format=torch.channels_last).train()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in data.mean_std())
    images = (data.train.to_float() - mean) / std
    labels, size = data.train.labels, PLAIN["batch_size"]
    steps = len(images) // size
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, nesterov=True,
        weight_decay=PLAIN["weight_decay"], fused=True,
    )  # fmt: skip
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PLAIN["max_lr"], total_steps=epochs * steps, pct_start=0.25,
        anneal_strategy="linear", cycle_momentum=False,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    shifts = Augmentation(flip="random", shift=2, padding="reflection")
    wall, cpu = time.monotonic(), time.process_time()
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator)[: steps * size].split(size):
            batch = augment(images[rows], shifts, generator)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16_units()):
                logits = net(batch.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(
                logits.float(), labels[rows], label_smoothing=PLAIN["label_smoothing"]
            )
            loss.backward()
            optimizer.step()
            cycle.step()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    classifier = Classifier.wrap(
        net.eval(), input_shape=data.input_shape, mean=_tuple(mean), std=_tuple(std)
    )
    part: Split = dataset.validation if args.select else dataset.test
    judged = evaluate(classifier, part, tta="mirror")
    assert judged.accuracy_without_tta is not None
    right = round(judged.accuracy_without_tta * len(part))
    row = {
        "epochs": epochs, "seed": seed, "accuracy": right / len(part),
        "interval": interval(right, len(part)),
        "accuracy with tta mirror": round(judged.accuracy, 4), "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1), "last_loss": round(loss.item(), 4),
    }  # fmt: skip
    print("plain", args.model, row, flush=True)
    return row


def _tuple(values: Tensor) -> tuple[float, ...]:
    return tuple(values.flatten().tolist())


def args_of_ours(args: argparse.Namespace) -> argparse.Namespace:
    """One seed of our recipe, to be timed beside the plain one; it changes no recorded row."""
    return argparse.Namespace(**vars(args) | {"seeds": 1, "dry": True, "epochs": None})


def plain_rows(args: argparse.Namespace, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The row of the plain recipe, at the end of all its runs."""
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    runs = [plain(args, dataset, epochs, seed) for epochs in args.plain for seed in seeds]
    ours = next(measure(args_of_ours(args), dataset))["runs"][0]
    row: dict[str, Any] = {"what": PLAIN, "ours in the same run": ours}
    for key in ("accuracy", "accuracy with tta mirror"):
        means = {
            epochs: statistics.mean(run[key] for run in runs if run["epochs"] == epochs)
            for epochs in args.plain
        }
        fewest = min((epochs for epochs in args.plain if means[epochs] >= TARGET), default=None)
        row |= {
            f"{key} by epochs": {str(epochs): round(mean, 4) for epochs, mean in means.items()},
            f"fewest epochs to 90 % {key}": fewest,
            f"seconds to 90 % {key}": fewest
            and round(statistics.mean(r["seconds"] for r in runs if r["epochs"] == fewest), 1),
        }
        seconds = row[f"seconds to 90 % {key}"]
        row[f"times ours to 90 % {key}"] = seconds and round(seconds / ours["seconds"], 2)
    yield row | {
        **machine_facts(args),
        "runs": runs,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model", default="cifar-best-quick")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--plain", nargs="+", type=int, metavar="EPOCHS",
        help="the plain recipe in place of ours, with each of these lengths",
    )  # fmt: skip
    parser.add_argument("--select", action="store_true", help="on validation images, to choose")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the run folders there")
    parser.add_argument("--avx2", action="store_true", help="no AVX-512, no bfloat16")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    dataset = open_dataset("cifar10", data_dir=args.data_dir)
    rows = plain_rows(args, dataset) if args.plain else measure(args, dataset)
    for row in rows:
        print(json.dumps({label(args): row}, indent=2))
        if not (args.dry or args.select):
            record(NAME, recorded() | {label(args): row}, n=len(dataset.test))
    return int(not row.get("reached", True))


if __name__ == "__main__":
    sys.exit(main())
