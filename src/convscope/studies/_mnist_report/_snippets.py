"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.models import NetworkSummary


def setup(data: str, data_dir: str | None, seed: int, fast: bool) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import evaluate, recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    as_reported = {"epochs": 10, "batch_size": 64, "learning_rate": 2e-3 if fast else 5e-4}
    settings = recipe(
        "mnist-conv2-fc-bn", data=data, preset="paper", seed=seed, overrides=as_reported
    )
    normalized = train(settings, dataset, out=Path(f"runs/mnist-conv2-fc-bn-{seed}"), resume=True)
    classifier = normalized.classifier
    # The first test image of each digit that is classified correctly.
    right = evaluate(classifier, dataset.test).predicted == dataset.test.labels
    firsts = [int((right & (dataset.test.labels == k)).nonzero()[0]) for k in range(10)]


def batch_normalization(
    dataset: Dataset, data: str, seed: int, fast: bool, as_reported: dict[str, float]
) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    runs, seeds = {}, (seed, seed + 1) if fast else (seed,)
    for model, one in ((m, s) for m in ("mnist-conv2-fc", "mnist-conv2-fc-bn") for s in seeds):
        settings = recipe(model, data=data, preset="paper", seed=one, overrides=as_reported)
        runs[model, one] = train(settings, dataset, out=Path(f"runs/{model}-{one}"), resume=True)
    accuracies = {k: evaluate(run.classifier, dataset.test).accuracy for k, run in runs.items()}
    print(accuracies)  # by network and seed
    return run_curves({m: run.history for (m, one), run in runs.items() if one == seed}, "accuracy")


def tables() -> NetworkSummary:
    from convscope.models import build, summarize

    summary = summarize(build("mnist-conv2-fc"), (1, 28, 28))
    print(summary.parameters, summary.neurons, summary.document_neurons)
    return summary


def feature_maps_of_both_layers(
    classifier: Classifier, dataset: Dataset, firsts: list[int]
) -> Figure:
    from convscope.explanations import feature_maps
    from convscope.figures import draw

    found = feature_maps(classifier, dataset.test.to_float([firsts[3]]), ["relu1", "relu2"])
    print({layer.layer: (layer.maps == 0).float().mean() for layer in found.layers})
    return draw(found)


def occlusion_of_all_digits(classifier: Classifier, dataset: Dataset, firsts: list[int]) -> Figure:
    import torch

    from convscope.explanations import occlusion
    from convscope.figures import draw

    images, labels = dataset.test.to_float(firsts), torch.arange(10)
    found = occlusion(classifier, images, labels, preset="12/4", score="probability")
    if found.table is not None:  # lowest probability of the true class over the positions
        print(found.table.of_label.amin(dim=1))
    return draw(found)


def non_targeted(classifier: Classifier, seed: int) -> Figure:
    import torch

    from convscope.attacks import from_noise
    from convscope.figures import draw

    classes, blank = torch.arange(10), torch.zeros(10, 1, 28, 28)
    found = from_noise(
        classifier, blank, classes, targets=classes, steps=200, confidence=0.9999,
        generator=torch.Generator().manual_seed(1009 * seed + 5),
    )  # fmt: skip
    print(found.steps, found.logits_after.softmax(dim=1).diagonal())
    return draw(found)


def targeted(
    classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.attacks import toward_image
    from convscope.figures import draw

    two, targets, distances = dataset.test.to_float([firsts[2]] * 3), torch.tensor([3, 6, 8]), {}
    for pull in (300.0, 30.0, 1.0):
        found = toward_image(
            classifier, two, torch.tensor([2, 2, 2]), targets=targets, pull=pull,
            steps=150 if fast else 400, generator=torch.Generator().manual_seed(1009 * seed + 6),
        )  # fmt: skip
        distances[pull] = (found.adversarials - two).square().flatten(1).mean(dim=1).sqrt()
        print(pull, int(found.success.sum()), distances[pull].mean())
    return draw(found)  # the last: b = 1


def calculated_noise(
    classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int
) -> Figure:
    import torch

    from convscope.attacks import added_noise, apply_noise
    from convscope.figures import draw

    zeros, targets = dataset.test.to_float([firsts[0]] * 2), torch.tensor([4, 5])
    made = added_noise(classifier, zeros, torch.tensor([0, 0]), targets=targets)
    mixed = torch.Generator().manual_seed(1009 * seed + 11)
    rows = torch.randperm(len(dataset.test), generator=mixed)[:2000]
    images, labels = dataset.test.to_float(rows), dataset.test.labels[rows]
    noises = made.perturbations
    shown = apply_noise(classifier, images, labels, noises=noises, noise_targets=targets)
    print(shown.target_rates, shown.error_rates)
    return draw(shown)


def image_optimization(classifier: Classifier) -> Figure:
    from convscope.figures import draw
    from convscope.visualizations import class_images, zero_l2

    found = class_images(classifier, recipe=zero_l2(steps=200, step_size=0.05), control=False)
    print(-found.history[0], -found.history[-1])  # the cost at first and at the end
    return draw(found)


def inner_maps(classifier: Classifier, seed: int, fast: bool) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.visualizations import logit_trajectory

    noise = torch.Generator().manual_seed(1009 * seed + 9)
    found = logit_trajectory(
        classifier, "pool2:0-5", steps=100 if fast else 200, pull=0.03, generator=noise
    )
    print(found.change)  # of each class's logit, a row per map
    return draw(found)


def defenses(classifier: Classifier, dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    import torch

    from convscope.defenses import blur, threshold
    from convscope.figures import draw
    from convscope.robustness import compare_defenses

    mixed, noise = (torch.Generator().manual_seed(1009 * seed + k) for k in (10, 12))
    rows = torch.randperm(len(dataset.test), generator=mixed)[: 100 if fast else 500]
    defended = {"blur": blur(classifier, std=1.0), "threshold": threshold(classifier, level=0.5)}
    found = compare_defenses(
        classifier, defended, dataset.test.to_float(rows), dataset.test.labels[rows],
        epsilon=0.2, steps=20 if fast else 50, generator=noise,
    )  # fmt: skip
    return draw(found)
