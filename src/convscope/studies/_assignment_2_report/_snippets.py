"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.models import NetworkSummary
from convscope.training import TrainResult


def setup(data: str, data_dir: str | None, seed: int) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    settings = recipe("mnist-conv2-fc", data=data, preset="paper", seed=seed)
    run = train(settings, dataset, out=Path("runs/conv2-fc"), resume=True)
    classifier = run.classifier


def training(classifier: Classifier, dataset: Dataset, run: TrainResult) -> Figure:
    from convscope.figures import draw
    from convscope.training import evaluate

    print(evaluate(classifier, dataset.test).accuracy)
    return draw(run)


def parameters(classifier: Classifier) -> NetworkSummary:
    from convscope.models import summarize

    return summarize(classifier.module, classifier.input_shape)


def batch_normalization(dataset: Dataset, data: str, seed: int, run: TrainResult) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    settings = recipe("mnist-conv2-fc-bn", data=data, preset="paper", seed=seed)
    normalized = train(settings, dataset, out=Path("runs/conv2-fc-bn"), resume=True)
    print(evaluate(normalized.classifier, dataset.test).accuracy)
    histories = {"without": run.history, "with batch normalization": normalized.history}
    return run_curves(histories, "accuracy", x="step")


def filters_of_both_layers(classifier: Classifier) -> Figure:
    from convscope.explanations import filters
    from convscope.figures import draw

    first = draw(filters(classifier, "conv1"))
    return draw(filters(classifier, "conv2", seen_map=23))


def activation_maps(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.explanations import feature_maps
    from convscope.figures import draw

    rows = [int((dataset.test.labels == digit).nonzero()[0]) for digit in range(10)]
    found = feature_maps(classifier, dataset.test.to_float(rows), ["relu1", "relu2"])
    return draw(found)  # of the 0; figures.draw_feature_maps(found, row=7) shows the 7


def occlusion_of_two_digits(classifier: Classifier, dataset: Dataset) -> Figure:
    import torch

    from convscope.explanations import occlusion
    from convscope.figures import draw

    rows = [int((dataset.test.labels == digit).nonzero()[0]) for digit in (7, 9)]
    found = occlusion(classifier, dataset.test.to_float(rows), torch.tensor([7, 9]), preset="14/7")
    if found.table is not None:  # probability of the true class and prediction at nine positions
        print(found.table.of_label, found.table.predicted)
    return draw(found)


def non_targeted(classifier: Classifier, seed: int) -> Figure:
    import torch

    from convscope.attacks import from_noise
    from convscope.figures import draw

    classes, blank = torch.arange(10), torch.zeros(10, 1, 28, 28)
    noise = torch.Generator().manual_seed(seed)
    return draw(from_noise(classifier, blank, classes, targets=classes, generator=noise))


def targeted(classifier: Classifier, dataset: Dataset) -> Figure:
    import torch

    from convscope.attacks import toward_image
    from convscope.figures import draw

    seven = dataset.test.to_float([int((dataset.test.labels == 7).nonzero()[0])])
    ten, sevens, classes = seven.expand(10, -1, -1, -1), torch.full((10,), 7), torch.arange(10)
    return draw(toward_image(classifier, ten, sevens, targets=classes, pull=1000.0, steps=100))


def adding_noise(classifier: Classifier, dataset: Dataset) -> Figure:
    import torch

    from convscope.attacks import added_noise, apply_noise
    from convscope.figures import draw

    images, labels = dataset.test.to_float(range(20)), dataset.test.labels[:20]
    row, seven = int((labels != 7).nonzero()[0]), torch.tensor([7])
    found = added_noise(classifier, images[[row]], labels[[row]], targets=seven)
    noise = found.perturbations
    return draw(apply_noise(classifier, images, labels, noises=noise, noise_targets=seven))
