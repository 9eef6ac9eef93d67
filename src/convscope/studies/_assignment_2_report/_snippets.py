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
    from convscope.training import evaluate, recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    settings = recipe("mnist-conv2-fc", data=data, preset="paper", seed=seed)
    run = train(settings, dataset, out=Path(f"runs/mnist-conv2-fc-paper-{seed}"), resume=True)
    classifier = run.classifier
    # The first test image of each digit that is classified correctly.
    right = evaluate(classifier, dataset.test).predicted == dataset.test.labels
    firsts = [int((right & (dataset.test.labels == k)).nonzero()[0]) for k in range(10)]
    # Accuracies are of several trainings: by the recipe of the report, in full by this package's.
    trainings = [("paper", seed), ("paper", seed + 1)]
    if not fast:
        trainings = [("paper", seed), *(("fast", seed + more) for more in range(3))]


def training(
    dataset: Dataset, data: str, run: TrainResult, trainings: list[tuple[str, int]]
) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    accuracies = {}
    for preset, one in trainings:
        settings = recipe("mnist-conv2-fc", data=data, preset=preset, seed=one)
        again = train(
            settings, dataset, out=Path(f"runs/mnist-conv2-fc-{preset}-{one}"), resume=True
        )
        accuracies[preset, one] = evaluate(again.classifier, dataset.test).accuracy
    print(accuracies)  # by recipe and seed
    return run_curves({"": run.history}, "loss", parts=("training", "validation"), x="step")


def parameters(classifier: Classifier) -> NetworkSummary:
    from convscope.models import summarize

    summary = summarize(classifier.module, classifier.input_shape)
    print(summary.parameters, summary.neurons, summary.document_neurons)
    return summary


def batch_normalization(
    dataset: Dataset, data: str, run: TrainResult, trainings: list[tuple[str, int]]
) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    accuracies, histories = {}, {"without": run.history}
    for preset, one in trainings:
        settings = recipe("mnist-conv2-fc-bn", data=data, preset=preset, seed=one)
        normalized = train(
            settings, dataset, out=Path(f"runs/mnist-conv2-fc-bn-{preset}-{one}"), resume=True
        )
        accuracies[preset, one] = evaluate(normalized.classifier, dataset.test).accuracy
        histories.setdefault("with batch normalization", normalized.history)
    print(accuracies)  # with batch normalization, by recipe and seed
    return run_curves(histories, "accuracy", x="step")


def filters_of_both_layers(classifier: Classifier) -> Figure:
    from convscope.explanations import filters
    from convscope.figures import draw

    first, second = filters(classifier, "conv1"), filters(classifier, "conv2", seen_map=23)
    print(first.weights.min(), first.weights.max())
    draw(first)
    return draw(second)


def activation_maps(classifier: Classifier, dataset: Dataset, firsts: list[int]) -> Figure:
    from convscope.explanations import feature_maps
    from convscope.figures import draw_feature_maps

    found = feature_maps(classifier, dataset.test.to_float(firsts), ["relu1", "relu2"])
    for layer in found.layers:  # zeros and dead maps over an image of each digit
        print(layer.layer, (layer.maps == 0).float().mean(), layer.dead.nonzero()[:, 0])
    return draw_feature_maps(found, row=7)


def occlusion_of_two_digits(classifier: Classifier, dataset: Dataset, firsts: list[int]) -> Figure:
    import torch

    from convscope.explanations import occlusion
    from convscope.figures import draw

    images = dataset.test.to_float([firsts[7], firsts[9]])
    found = occlusion(classifier, images, torch.tensor([7, 9]), preset="14/7")
    if found.table is not None:  # probability of the true class and prediction at nine positions
        print(found.table.of_label, found.table.predicted)
    return draw(found)


def non_targeted(classifier: Classifier, seed: int) -> Figure:
    import torch

    from convscope.attacks import from_noise
    from convscope.figures import draw

    classes, blank = torch.arange(10), torch.zeros(10, 1, 28, 28)
    noise = torch.Generator().manual_seed(1009 * seed + 7)
    found = from_noise(classifier, blank, classes, targets=classes, generator=noise)
    print(found.steps, found.logits_after.softmax(dim=1).diagonal())
    return draw(found)


def targeted(
    classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.attacks import toward_image
    from convscope.figures import draw

    classes, steps, reached = torch.arange(10), 100 if fast else 300, {}
    for digit in (2, 7):
        ten = dataset.test.to_float([firsts[digit]] * 10)
        for pull in (30.0, 100.0, 300.0, 1000.0):
            found = toward_image(
                classifier, ten, torch.full((10,), digit), targets=classes, pull=pull, steps=steps,
                generator=torch.Generator().manual_seed(1009 * seed + 8),
            )  # fmt: skip
            reached[digit, pull] = int((found.logits_after.argmax(dim=1) == classes).sum())
    print(reached)  # of ten targets, by digit and beta
    return draw(found)  # the last: like a 7, beta 1000


def adding_noise(classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int) -> Figure:
    import torch

    from convscope.attacks import added_noise, apply_noise
    from convscope.figures import draw

    two, labels, targets = dataset.test.to_float([firsts[3], firsts[9]]), [3, 9], [7, 4]
    made = added_noise(classifier, two, torch.tensor(labels), targets=torch.tensor(targets))
    mixed = torch.Generator().manual_seed(1009 * seed + 10)
    rows = torch.randperm(len(dataset.test), generator=mixed)[:2000]
    shown = apply_noise(
        classifier, dataset.test.to_float(rows), dataset.test.labels[rows],
        noises=made.perturbations, noise_targets=torch.tensor(targets),
    )  # fmt: skip
    print(shown.target_rates, shown.error_rates)
    return draw(shown)
