"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.training import TrainResult

Trainings = list[tuple[str, int, dict[str, Any]]]


def setup(data: str, data_dir: str | None, seed: int, fast: bool) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import evaluate, recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    changes = {"weight_decay": 1e-4, "batch_size": 16 if fast else 64}
    runs = {}
    for name in ("mnist-conv1", "mnist-conv2", "mnist-conv2-fc"):
        settings = recipe(name, data=data, preset="paper", seed=seed, overrides=changes)
        runs[name] = train(settings, dataset, out=Path(f"runs/{name}-paper-{seed}"), resume=True)
    # The best on the validation images, by accuracy and then by loss, comes first.
    ends = {name: run.history[-1] for name, run in runs.items()}
    order = {name: (-end.validation_accuracy, end.validation_loss) for name, end in ends.items()}
    ranked = sorted(order, key=order.__getitem__)
    classifier = runs[ranked[0]].classifier
    # The first test image of each digit that this network classifies correctly.
    right = evaluate(classifier, dataset.test).predicted == dataset.test.labels
    firsts = [int((right & (dataset.test.labels == k)).nonzero()[0]) for k in range(10)]
    # Accuracies are of several trainings: with L2, in full also by the recipe of this package.
    trainings = [("paper", seed, changes), ("paper", seed + 1, changes)]
    if not fast:
        trainings[1:] = [("fast", seed + more, {}) for more in range(3)]


def one_convolution(
    dataset: Dataset, data: str, runs: dict[str, TrainResult], trainings: Trainings
) -> Figure:
    from pathlib import Path

    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    model, accuracies = "mnist-conv1", {}
    for preset, one, more in trainings:
        settings = recipe(model, data=data, preset=preset, seed=one, overrides=more)
        run = train(settings, dataset, out=Path(f"runs/{model}-{preset}-{one}"), resume=True)
        accuracies[preset, one] = evaluate(run.classifier, dataset.test).accuracy
    print(accuracies)  # by recipe and seed
    return draw(runs[model])


def two_convolutions(
    dataset: Dataset, data: str, runs: dict[str, TrainResult], trainings: Trainings
) -> Figure:
    from pathlib import Path

    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    model, accuracies = "mnist-conv2", {}
    for preset, one, more in trainings:
        settings = recipe(model, data=data, preset=preset, seed=one, overrides=more)
        run = train(settings, dataset, out=Path(f"runs/{model}-{preset}-{one}"), resume=True)
        accuracies[preset, one] = evaluate(run.classifier, dataset.test).accuracy
    print(accuracies)  # by recipe and seed
    return draw(runs[model])


def dense_layer(
    dataset: Dataset, data: str, runs: dict[str, TrainResult], trainings: Trainings
) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    model, accuracies = "mnist-conv2-fc", {}
    for preset, one, more in trainings:
        settings = recipe(model, data=data, preset=preset, seed=one, overrides=more)
        run = train(settings, dataset, out=Path(f"runs/{model}-{preset}-{one}"), resume=True)
        accuracies[preset, one] = evaluate(run.classifier, dataset.test).accuracy
    print(accuracies)  # by recipe and seed
    return run_curves({name: run.history for name, run in runs.items()}, "error", x="step")


def data(dataset: Dataset) -> str:
    for split in dataset.splits:
        print(split.name, len(split), split.labels.bincount().tolist())
    return dataset.source


def weight_decay(dataset: Dataset, data: str, seed: int, changes: dict[str, Any]) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    histories, accuracies = {}, {}
    for strength in (0.0, 1e-4, 1e-3):
        settings = recipe("mnist-conv2-fc", data=data, preset="paper", seed=seed,
                          overrides=changes | {"weight_decay": strength})  # fmt: skip
        run = train(settings, dataset, out=Path(f"runs/l2-{strength:g}"), resume=True)
        accuracies[strength] = evaluate(run.classifier, dataset.test).accuracy
        histories[f"L2 {strength:g}"] = run.history
    print(accuracies)
    return run_curves(histories, "loss", x="step")


def adversarial_noises(classifier: Classifier, dataset: Dataset, seed: int, fast: bool) -> Figure:
    import torch

    from convscope.attacks import apply_noise, uap
    from convscope.figures import draw

    draws = [torch.Generator().manual_seed(1009 * seed + k) for k in (61, 62, 63, 6)]
    train, held, test = (
        split.subset(torch.randperm(len(split), generator=mixed)[:most])
        for split, mixed, most in zip(dataset.splits, draws[:3], (10_000, 100 if fast else 1_000,
                                                                  2_000), strict=True)
    )  # fmt: skip
    made = uap(classifier, train.to_float(), train.labels, epsilon=None, update="gradient",
               validation=(held.to_float(), held.labels), steps=40 if fast else 200,
               samples=24 if fast else 64, step_size=0.1, generator=draws[3])  # fmt: skip
    tried = apply_noise(classifier, test.to_float(), test.labels, noises=made.noises,
                        noise_targets=made.targets)  # fmt: skip
    print(tried.target_rates)
    return draw(made)


def nine_images(
    classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.attacks import apply_noise, uap
    from convscope.figures import draw

    draws = [torch.Generator().manual_seed(1009 * seed + k) for k in (61, 6)]
    rows = torch.randperm(len(dataset.train), generator=draws[0])[:10_000]
    images, labels = dataset.train.to_float(rows), dataset.train.labels[rows]
    # The noises of the question before; all these images are for making them.
    made = uap(classifier, images, labels, validation=(images[:9], labels[:9]), epsilon=None,
               update="gradient", step_size=0.1, steps=40 if fast else 200,
               samples=24 if fast else 64, generator=draws[1])  # fmt: skip
    shown = apply_noise(classifier, dataset.test.to_float(firsts[:9]), torch.arange(9),
                        noises=made.noises, noise_targets=made.targets)  # fmt: skip
    print(shown.predicted.T)  # a row per image, a column per noise
    return draw(shown)


def logits(
    classifier: Classifier, dataset: Dataset, runs: dict[str, TrainResult], ranked: list[str],
    seed: int, fast: bool,
) -> Figure:  # fmt: skip
    import torch

    from convscope.figures import draw
    from convscope.visualizations import class_images

    real = dataset.train.to_float(range(500 if fast else 5_000))
    found = class_images(
        classifier, recipe="gaussian-gradient", reference=real,
        evaluator=runs[ranked[1]].classifier,
        generator=torch.Generator().manual_seed(1009 * seed + 8),
    )  # fmt: skip
    print(found.activations, found.held_out)
    return draw(found)


def neurons(
    dataset: Dataset, runs: dict[str, TrainResult], ranked: list[str], seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.visualizations import neuron_images

    best = next(name for name in ranked if name != "mnist-conv1")  # which has one max-pool only
    real = dataset.train.to_float(range(500 if fast else 5_000))
    found = neuron_images(
        runs[best].classifier, "pool2:0-9", at="center", recipe="gaussian-gradient",
        reference=real, control=False, generator=torch.Generator().manual_seed(1009 * seed + 9),
    )  # fmt: skip
    print(found.activations)
    return draw(found)
