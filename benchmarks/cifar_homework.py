"""The 11x11 network of "CS 5787 Homework 2", problem 3: with and without batch normalization.

`cifar-11x11` and `cifar-11x11-bn` are trained with one identical recipe (the `paper` preset by
default: the same for both, and compared here field by field), in the two ways that the course
documents ask for: on all 50,000 training images, and on 40,000 with 10,000 for validation. Recorded
are the training loss of both over the epochs, at which epochs normalization is not better, test
accuracy and test error (the test images are looked at once per run, at the end), how weights were
initialized, and the hyper-parameters. With `--pictures DIR` all 64 filters of the first layer are
written as a 4 x 16 array of color pictures, each filter minus its smallest value and divided by
what is then its largest, and the loss curves.

    python benchmarks/cifar_homework.py --data-dir DIR --seeds 3 --pictures DIR
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from record import RESULTS, interval, machine, record

from convscope.data import Dataset, open_dataset
from convscope.explanations import filters
from convscope.figures import draw
from convscope.models import MODELS
from convscope.training import TrainResult, evaluate, recipe, train, tune_allocator

NAME = "cifar_homework"
NETWORKS = ("cifar-11x11", "cifar-11x11-bn")
SPLITS = ("train+validation", "train")


def one_run(
    model: str, split: str, seed: int, dataset: Dataset, args: argparse.Namespace
) -> dict[str, Any]:
    """Losses by epoch, test accuracy and error of one network."""
    changes: dict[str, Any] = {} if args.epochs is None else {"epochs": args.epochs}
    if args.precision:
        changes["precision"] = args.precision
    settings = recipe(
        model, data="cifar10", preset=args.preset, seed=seed, train_split=split,
        evals_per_epoch=1, **changes,
    )  # fmt: skip
    other = recipe(
        next(name for name in NETWORKS if name != model), data="cifar10", preset=args.preset,
        seed=seed, train_split=split, evals_per_epoch=1, **changes,
    )  # fmt: skip
    assert replace(other, model=model) == settings, "the two networks have other recipes"
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        result = train(settings, dataset, out=Path(place) / "run")
        seconds = time.monotonic() - began
        judged = evaluate(result.classifier, dataset.test)
    if args.pictures and seed == args.first_seed:
        save_filters(result, args.pictures / f"filters-{model}-{settings.preset}-{split}.png")
    right = round(judged.accuracy * judged.n)
    row = {
        "seed": seed,
        "test_accuracy": round(judged.accuracy, 4),
        "test_error": round(1 - judged.accuracy, 4),
        "interval": interval(right, judged.n),
        "validation_accuracy": round(result.history[-1].validation_accuracy, 4),
        "training_loss": [round(point.train_loss, 4) for point in result.history],
        "validation_loss": [round(point.validation_loss, 4) for point in result.history],
        "seconds": round(seconds, 1),
        "training_flops": result.flops,
        "hyper_parameters": f"{settings.epochs} epochs, {settings.summary()}",
        "first_weights": MODELS[model].initialization,
    }
    if split == "train+validation":
        del row["validation_accuracy"], row["validation_loss"]
    print(model, split, row, flush=True)
    return row


def save_filters(result: TrainResult, path: Path) -> None:
    """All filters of the first layer, 16 in a row."""
    found = filters(result.classifier)
    assert found.columns == 16, "64 filters are shown in 4 rows of 16"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(found).savefig(path, dpi=200)


def save_curves(losses: dict[str, list[float]], path: Path) -> None:
    """Training loss over the epochs, a line per network."""
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    for name, values in losses.items():
        axes.plot(range(1, len(values) + 1), values, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), help="default: the preset's"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tune_allocator()
    dataset = open_dataset("cifar10", data_dir=args.data_dir)
    rows: dict[str, Any] = {}
    for split in args.splits:
        table: dict[str, Any] = {}
        losses: dict[str, list[float]] = {}
        for model in NETWORKS:
            runs = [
                one_run(model, split, seed, dataset, args)
                for seed in range(args.first_seed, args.first_seed + args.seeds)
            ]
            accuracies = [run["test_accuracy"] for run in runs]
            by_epoch = zip(*(run["training_loss"] for run in runs), strict=True)
            losses[model] = [round(statistics.mean(values), 4) for values in by_epoch]
            table[model] = {
                "test_accuracy_mean": round(statistics.mean(accuracies), 4),
                "test_error_mean": round(1 - statistics.mean(accuracies), 4),
                "test_accuracy_sd": round(statistics.stdev(accuracies), 4) if len(runs) > 1 else 0,
                "training_loss_mean": losses[model],
                "runs": runs,
            }
        plain, normalized = (losses[model] for model in NETWORKS)
        pairs = enumerate(zip(plain, normalized, strict=True), start=1)
        table["epochs where normalization has no lower training loss"] = [
            epoch for epoch, (without, with_it) in pairs if with_it >= without
        ]
        rows[f"{args.preset}:{split}"] = table | {"threads": args.threads, "machine": machine()}
        if args.pictures:
            save_curves(losses, args.pictures / f"loss-{args.preset}-{split}.png")
    print(json.dumps(rows, indent=2))
    if not args.dry:
        path = RESULTS / f"{NAME}.json"
        before = json.loads(path.read_text())["figures"] if path.exists() else {}
        record(NAME, before | rows, n=len(dataset.test))
    return 0


if __name__ == "__main__":
    sys.exit(main())
