"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.training import TrainResult


def setup(data: str, data_dir: str | None, seed: int, fast: bool) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    changes = {"seed": seed, "weight_decay": 1e-4, "batch_size": 16 if fast else 64}
    runs = {}
    for name in ("mnist-conv1", "mnist-conv2", "mnist-conv2-fc"):
        settings = recipe(name, data=data, preset="paper", overrides=changes)
        runs[name] = train(settings, dataset, out=Path("runs") / name, resume=True)
    best = max(runs.values(), key=lambda run: run.history[-1].validation_accuracy)
    classifier = best.classifier


def one_convolution(dataset: Dataset, runs: dict[str, TrainResult]) -> Figure:
    from convscope.figures import draw
    from convscope.training import evaluate

    run = runs["mnist-conv1"]
    found = evaluate(run.classifier, dataset.test)
    print(found.accuracy, found.sample.labels[:10], found.sample.predicted[:10])
    return draw(run)


def two_convolutions(dataset: Dataset, runs: dict[str, TrainResult]) -> Figure:
    from convscope.figures import draw
    from convscope.training import evaluate

    print(evaluate(runs["mnist-conv2"].classifier, dataset.test).accuracy)
    return draw(runs["mnist-conv2"])


def dense_layer(dataset: Dataset, runs: dict[str, TrainResult]) -> Figure:
    from convscope.figures import run_curves
    from convscope.training import evaluate

    print(evaluate(runs["mnist-conv2-fc"].classifier, dataset.test).accuracy)
    return run_curves({name: run.history for name, run in runs.items()}, "error", x="step")


def data(dataset: Dataset) -> str:
    for split in dataset.splits:
        print(split.name, len(split), split.labels.bincount().tolist())
    return dataset.source


def weight_decay(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import recipe, train

    histories = {}
    for strength in (0.0, 1e-3):
        settings = recipe("mnist-conv1", data=data, seed=seed, preset="paper", epochs=2,
                          batch_size=16 if fast else 64, weight_decay=strength)  # fmt: skip
        run = train(settings, dataset, out=Path(f"runs/l2-{strength:g}"), resume=True)
        histories[f"L2 {strength:g}"] = run.history
    return run_curves(histories, "loss", x="step")


def adversarial_noises(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.attacks import uap
    from convscope.figures import draw

    images, labels = dataset.train.to_float(range(300)), dataset.train.labels[:300]
    noises = uap(classifier, images, labels, epsilon=None, update="gradient", steps=20, samples=12)
    return draw(noises)


def nine_images(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.attacks import apply_noise, uap
    from convscope.figures import draw

    images, labels = dataset.train.to_float(range(300)), dataset.train.labels[:300]
    made = uap(classifier, images, labels, epsilon=None, update="gradient", steps=20, samples=12)
    nine = [int((dataset.test.labels == digit).nonzero()[0]) for digit in range(9)]
    images, labels = dataset.test.to_float(nine), dataset.test.labels[nine]
    shown = apply_noise(classifier, images, labels, noises=made.noises, noise_targets=made.targets)
    print(shown.predicted.T)  # a row per image, a column per noise
    return draw(shown)


def logits(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.figures import draw
    from convscope.visualizations import class_images

    real = dataset.train.to_float(range(500))
    return draw(class_images(classifier, recipe="gaussian-gradient", reference=real))


def neurons(dataset: Dataset, runs: dict[str, TrainResult]) -> Figure:
    from convscope.figures import draw
    from convscope.visualizations import neuron_images

    network, real = runs["mnist-conv2-fc"].classifier, dataset.train.to_float(range(500))
    return draw(neuron_images(network, "pool2:0-9", recipe="gaussian-gradient", reference=real))
