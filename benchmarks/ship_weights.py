"""Put a trained network among the weights that come with the package, with its model card.

Measures the run that `convscope train` wrote and stores it as ``NAME.safetensors`` and
``NAME.json`` in ``src/convscope/models/weights``: in half precision where the accuracy on the
validation images stays within 0.02 points, else in float32. Test images are looked at once, by what
is stored. All weights together may have 12 MB; what would exceed them is refused.

    python benchmarks/ship_weights.py runs/m --data-dir DIR
    python benchmarks/ship_weights.py runs/robust --data-dir DIR --name mnist-conv2-fc-robust
    python benchmarks/ship_weights.py --shipped mnist-conv1 --data-dir DIR

`--shipped` measures weights that are shipped already and whose runs are gone, and gives them a
model card with what their sentence says of their training. The weights stay as they are.

Of a run of adversarial training the accuracy under attack is measured, too.
"""

import argparse
import datetime
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from record import interval, machine

from convscope import robustness
from convscope.classifier import Classifier
from convscope.data import Dataset, open_dataset, sample_rows
from convscope.models import load
from convscope.models._shipped import ship, shipped_config, weights_folder
from convscope.models._weights import save_model
from convscope.training import (
    TrainSettings,
    evaluate,
    overrides_of,
    read_settings,
    recipe,
    training_data,
)

TOLERANCE = 0.0002
"""Largest change of the validation accuracy by half precision: 0.02 points."""


def command(settings: TrainSettings) -> str:
    """The words that train this network again.

    Example:
        >>> command(recipe("mnist-conv1", data="digits", seed=3, epochs=2, nesterov=False))
        'convscope train mnist-conv1 --data digits --preset fast --seed 3 --epochs 2 --no-nesterov'
    """
    words = [settings.model, "--data", settings.data, "--preset", settings.preset]
    words += ["--seed", str(settings.seed)]
    usual = recipe(settings.model, data=settings.data, preset=settings.preset, seed=settings.seed)
    for name, value in overrides_of(settings, usual).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    return f"convscope train {shlex.join(words)}"


def halved(run: Path) -> Classifier:
    """The network with weights that were rounded to half precision, as it is loaded again."""
    classifier = load(run)
    with torch.no_grad():
        for tensor in classifier.module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return classifier


def measured(classifier: Classifier, dataset: Dataset, settings: TrainSettings) -> dict[str, Any]:
    """Accuracy on the test images, with and without test-time augmentation."""
    judged = evaluate(classifier, dataset.test, tta=settings.tta)
    plain = judged.accuracy if settings.tta == "none" else judged.accuracy_without_tta
    assert plain is not None
    figures = {
        "split": "test",
        "n": judged.n,
        "accuracy": round(plain, 5),
        "interval": interval(round(plain * judged.n), judged.n),
    }
    if settings.tta != "none":
        figures["with_tta"] = {
            "tta": settings.tta,
            "accuracy": round(judged.accuracy, 5),
            "interval": interval(round(judged.accuracy * judged.n), judged.n),
        }
    return figures


def measurement() -> dict[str, str]:
    """When and on what a card was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": machine()["processor"],
        "script": "benchmarks/ship_weights.py",
    }


SENTENCE = re.compile(r"(\w+) preset, seed (\d+), trained on ([\d,]+) (?:MNIST|CIFAR-10) images\b")
"""What weights from before there were model cards say of themselves."""


def describe_shipped(name: str, data_dir: Path | None) -> str:
    """Give weights that are shipped without a model card one; returns the new sentence.

    Raises:
        SystemExit: They have one, or their sentence says something else.
    """
    config = shipped_config(name)
    found = SENTENCE.match(config.source)
    if config.extra or found is None:
        raise SystemExit(
            f"{name} has a model card, or says nothing to make one of: {config.source}"
        )
    preset, seed, images = found[1], int(found[2]), int(found[3].replace(",", ""))
    data = "cifar10" if config.input_shape[0] == 3 else "mnist"
    settings = recipe(config.architecture, data=data, preset=preset, seed=seed)
    dataset = open_dataset(data, data_dir=data_dir)
    classifier = load(name)
    test = measured(classifier, dataset, settings)
    card = {
        "trained": {
            "command": command(settings),
            "preset": preset,
            "seed": seed,
            "data": data,
            "images": images,
            "not_kept": "processor, versions, seconds; today's recipe may differ from that of then",
        },
        "test": test,
        "stored_as": "float16",
        "measured": measurement(),
    }
    sentence = described(settings, images, test)
    save_model(
        weights_folder(), module=classifier.module, architecture=config.architecture,
        class_names=config.class_names, input_shape=config.input_shape, mean=config.mean,
        std=config.std, source=sentence, extra=card, name=name, dtype=torch.float16,
    )  # fmt: skip
    return sentence


def attacked(
    classifier: Classifier, dataset: Dataset, *, epsilon: float, count: int, effort: str
) -> dict[str, Any]:
    """Robust accuracy on a sample of the test images."""
    rows = sample_rows(dataset.test.labels, count)
    images, labels = dataset.test.to_float(rows), dataset.test.labels[rows]
    found = robustness.evaluate(classifier, images, labels, epsilon=epsilon, effort=effort)
    return {
        "norm": "linf",
        "epsilon": epsilon,
        "effort": effort,
        "n": len(rows),
        "robust_accuracy": round(found.robust_accuracy, 5),
        "interval": interval(round(found.robust_accuracy * len(rows)), len(rows)),
    }


def described(settings: TrainSettings, images: int, test: dict[str, Any]) -> str:
    """The sentence that reports show: recipe, data, accuracy."""
    low, high = test["interval"]
    sentence = (
        f"{settings.preset} preset, seed {settings.seed}, trained on {images:,} images of "
        f"{settings.data}: {test['accuracy']:.2%} [{low:.2%} to {high:.2%}] of the "
        f"{test['n']:,} test images"
    )
    if settings.tta != "none":
        sentence += f", {test['with_tta']['accuracy']:.2%} with {settings.tta} augmentation"
    return sentence


def model_card(
    run: Path, dataset: Dataset, *, count: int, effort: str
) -> tuple[str, dict[str, Any], torch.dtype]:
    """A sentence, the facts, and the precision in which a finished run is stored.

    Raises:
        SystemExit: There are no validation images to choose the precision by.
    """
    settings = read_settings(run / "config.toml")
    environment = json.loads((run / "env.json").read_text("utf-8"))
    if not len(dataset.validation):
        raise SystemExit(f"{settings.data} has no validation images to compare precisions on")
    whole, half = load(run), halved(run)
    accuracies = [evaluate(each, dataset.validation).accuracy for each in (whole, half)]
    fits = abs(accuracies[0] - accuracies[1]) <= TOLERANCE
    stored = half if fits else whole
    trained_on = len(training_data(dataset, settings).train)
    test = measured(stored, dataset, settings)
    last = environment["sessions"][-1]
    card: dict[str, Any] = {
        "trained": {
            "command": command(settings),
            "preset": settings.preset,
            "seed": settings.seed,
            "data": settings.data,
            "images": trained_on,
            "data_sha256": environment["data"]["sha256"],
            "seconds": round(sum(s.get("seconds", 0) for s in environment["sessions"]), 1),
            "bit_exact": environment["bit_exact"],
            **{
                name: last[name]
                for name in ("torch", "threads", "processes", "precision", "device", "processor")
            },
        },
        "test": test,
        "validation": {
            "n": len(dataset.validation),
            "trained_on": settings.train_split != "train",
            "accuracy": round(accuracies[0], 5),
            "accuracy_in_half_precision": round(accuracies[1], 5),
        },
        "stored_as": "float16" if fits else "float32",
        "measured": measurement(),
    }
    sentence = described(settings, trained_on, test)
    if settings.adversary != "none":
        found = attacked(stored, dataset, epsilon=settings.epsilon, count=count, effort=effort)
        card["robust"] = found
        sentence += (
            f"; {found['robust_accuracy']:.1%} of {found['n']:,} withstand attacks within "
            f"{found['epsilon']:.3g} (L-infinity, effort {effort})"
        )
    return sentence, card, torch.float16 if fits else torch.float32


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", help="a finished run folder")
    parser.add_argument("--shipped", metavar="NAME", help="a card for weights that have none")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--name", default="", help="the architecture's, or ARCHITECTURE-RECIPE")
    parser.add_argument("--attacked", type=int, default=1000, help="images of a robust network")
    parser.add_argument("--effort", default="standard", choices=("quick", "standard", "full"))
    parser.add_argument("--dry", action="store_true", help="measure, store nothing")
    args = parser.parse_args(arguments)
    if (args.run is None) is (args.shipped is None):
        parser.error("either a run folder, or --shipped NAME")
    if args.shipped:
        print(describe_shipped(args.shipped, args.data_dir))
        return 0
    settings = read_settings(args.run / "config.toml")
    dataset = open_dataset(settings.data, data_dir=args.data_dir)
    sentence, card, dtype = model_card(args.run, dataset, count=args.attacked, effort=args.effort)
    print(json.dumps(card, indent=2))
    print(sentence)
    if not args.dry:
        folder = ship(args.run, source=sentence, name=args.name, extra=card, dtype=dtype)
        print(f"wrote {args.name or settings.model} into {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
