"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.models import NetworkSummary
from convscope.training import TrainResult


def setup(data: str, data_dir: str | None, seed: int, fast: bool) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    as_reported = {"epochs": 10, "batch_size": 64, "learning_rate": 2e-3 if fast else 5e-4}
    settings = recipe(
        "mnist-conv2-fc-bn", data=data, preset="paper", seed=seed, overrides=as_reported
    )
    normalized = train(settings, dataset, out=Path("runs/with-bn"), resume=True)
    classifier = normalized.classifier


def batch_normalization(
    dataset: Dataset, data: str, seed: int, as_reported: dict[str, float], normalized: TrainResult
) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    settings = recipe("mnist-conv2-fc", data=data, preset="paper", seed=seed, overrides=as_reported)
    runs = {"with": normalized, "without": train(settings, dataset, out=Path("runs/without-bn"),
                                                 resume=True)}  # fmt: skip
    print({name: evaluate(run.classifier, dataset.test).accuracy for name, run in runs.items()})
    return run_curves({name: run.history for name, run in runs.items()}, "accuracy")


def tables(classifier: Classifier) -> NetworkSummary:
    from convscope.models import summarize

    return summarize(classifier.module, classifier.input_shape)


def feature_maps_of_both_layers(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.explanations import feature_maps
    from convscope.figures import draw

    image = dataset.test.to_float([int((dataset.test.labels == 3).nonzero()[0])])
    return draw(feature_maps(classifier, image, ["relu1", "relu2"]))


def occlusion_of_all_digits(classifier: Classifier, dataset: Dataset) -> Figure:
    import torch

    from convscope.explanations import occlusion
    from convscope.figures import draw

    rows = [int((dataset.test.labels == digit).nonzero()[0]) for digit in range(10)]
    images, labels = dataset.test.to_float(rows), torch.arange(10)
    found = occlusion(classifier, images, labels, preset="12/4", score="probability")
    return draw(found)


def non_targeted(classifier: Classifier, seed: int) -> Figure:
    import torch

    from convscope.attacks import from_noise
    from convscope.figures import draw

    classes, blank = torch.arange(10), torch.zeros(10, 1, 28, 28)
    found = from_noise(
        classifier, blank, classes, targets=classes, steps=200, confidence=0.9999,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return draw(found)


def targeted(classifier: Classifier, dataset: Dataset, fast: bool) -> Figure:
    import torch

    from convscope.attacks import toward_image
    from convscope.figures import draw

    two = dataset.test.to_float([int((dataset.test.labels == 2).nonzero()[0])] * 3)
    labels, targets = torch.tensor([2, 2, 2]), torch.tensor([3, 6, 8])
    steps = 100 if fast else 400
    return draw(toward_image(classifier, two, labels, targets=targets, pull=1.0, steps=steps))


def calculated_noise(classifier: Classifier, dataset: Dataset) -> Figure:
    import torch

    from convscope.attacks import added_noise, apply_noise
    from convscope.figures import draw

    zero = dataset.test.to_float([int((dataset.test.labels == 0).nonzero()[0])] * 2)
    targets = torch.tensor([4, 5])
    found = added_noise(classifier, zero, torch.tensor([0, 0]), targets=targets)
    images, labels = dataset.test.to_float(range(20)), dataset.test.labels[:20]
    noises = found.perturbations
    return draw(apply_noise(classifier, images, labels, noises=noises, noise_targets=targets))


def image_optimization(classifier: Classifier) -> Figure:
    from convscope.figures import draw
    from convscope.visualizations import class_images, zero_l2

    return draw(class_images(classifier, recipe=zero_l2(steps=200, step_size=0.05), control=False))


def inner_maps(classifier: Classifier) -> Figure:
    from convscope.figures import draw
    from convscope.visualizations import logit_trajectory

    return draw(logit_trajectory(classifier, "pool2:0-3", steps=100))


def defenses(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.defenses import blur, threshold
    from convscope.figures import draw
    from convscope.robustness import compare_defenses

    defended = {"blur": blur(classifier, std=1.0), "threshold": threshold(classifier, level=0.5)}
    images, labels = dataset.test.to_float(range(50)), dataset.test.labels[:50]
    found = compare_defenses(classifier, defended, images, labels, epsilon=0.2, steps=20)
    return draw(found)
