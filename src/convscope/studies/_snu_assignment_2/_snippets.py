"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset


def setup(data: str, data_dir: str | None, seed: int, fast: bool) -> None:
    from functools import partial
    from pathlib import Path

    import convscope
    from convscope.data import Augmentation
    from convscope.training import evaluate, recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    made = partial(
        recipe, "mnist-conv2" if fast else "cifar-inception", data=data, seed=seed,
        label_smoothing=0.0, evals_per_epoch=3 if fast else 2,
    )  # fmt: skip
    base = made()
    rates = {"learning_rate": base.learning_rate, "nonfilter_lr": base.nonfilter_lr}
    explored = {
        "recipe": made,
        "rate / 3": partial(made, overrides={k: float(f"{r / 3:.3g}") for k, r in rates.items()}),
        "rate x 3": partial(made, overrides={k: float(f"{r * 3:.3g}") for k, r in rates.items()}),
        "batch / 2": partial(made, batch_size=base.batch_size // 2),
        "no augmentation": partial(made, augment=Augmentation()),
        "SGD": partial(made, optimizer="sgd", learning_rate=0.1, nonfilter_lr=0.0, momentum=0.9,
                       weight_decay=5e-4),
    }  # fmt: skip
    validation = {}
    for name, how in explored.items():
        out = Path("runs") / name.replace(" / ", "-by-").replace(" ", "-")
        run = train(how(epochs=3 if fast else 2), dataset, out=out, resume=True)
        validation[name] = run.history[-1].validation_accuracy
    # The best of the six is trained longer, and all pictures are made of its network.
    chosen = max(validation, key=validation.__getitem__)
    settings = explored[chosen](epochs=6 if fast else 8)
    run = train(settings, dataset, out=Path("runs/chosen"), resume=True)
    classifier = run.classifier
    # The first test image of each class that it classifies correctly.
    right = evaluate(classifier, dataset.test).predicted == dataset.test.labels
    firsts = [int((right & (dataset.test.labels == k)).nonzero()[0]) for k in range(10)]


def layers_by_hand(seed: int) -> Figure:
    import numpy as np

    from convscope.figures import draw_gradient_checks
    from convscope.scratch import Convolution, MaxPool, apart, check_layer

    draw = np.random.default_rng(seed)
    layer = Convolution(2, 3, 3, padding="same", generator=draw, dtype=np.float64)
    layer.parameters["bias"] += 0.1 * draw.standard_normal(3)
    checks = check_layer("convolution 3x3, same", layer, apart((2, 2, 6, 7), draw), draw)
    draw = np.random.default_rng(seed)
    checks += check_layer("max-pool 2x2", MaxPool(2), apart((2, 3, 6, 6), draw), draw)
    print([(check.name, check.quantity, check.error) for check in checks])
    return draw_gradient_checks(checks)


def convolution_and_padding(dataset: Dataset) -> bool:
    import numpy as np

    from convscope.scratch import convolve, padding_arithmetic

    picture = dataset.train.to_float([0]).double().mean(dim=1, keepdim=True).numpy()
    paddings = [padding_arithmetic(picture.shape[2], k, padding="same") for k in range(1, 8)]
    for kernel, axis in enumerate(paddings, start=1):
        print(kernel, axis.left, axis.right, axis.total, axis.output)
    sobel = np.array([[[[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]]])
    correlated, convolved = (convolve(picture, sobel, flip=flip) for flip in (False, True))
    print(np.abs(correlated - convolved).max())
    return bool(np.allclose(convolved, convolve(picture, sobel[:, :, ::-1, ::-1])))


def cifar_10(
    classifier: Classifier, dataset: Dataset, validation: dict[str, float], chosen: str
) -> Figure:
    from convscope.figures import draw
    from convscope.training import evaluate

    found = evaluate(classifier, dataset.test)
    print(validation)  # accuracies after the short trainings
    print(chosen, found.accuracy, found.interval)
    return draw(found)


def inception() -> float:
    import numpy as np

    from convscope.models import build, summarize
    from convscope.scratch import Inception

    summary = summarize(build("cifar-inception"), (3, 32, 32))
    weights = []  # of the first block of GoogLeNet, biases apart: with 1 x 1 reductions and without
    for reduce3, reduce5 in ((96, 16), (None, None)):
        block = Inception(192, ones=64, threes=128, fives=32, pool=32, reduce3=reduce3,
                          reduce5=reduce5, generator=np.random.default_rng(0))  # fmt: skip
        named = block.parameters.items()
        weights.append(sum(array.size for name, array in named if name.endswith("weight")))
    factor = weights[1] / weights[0]
    print(summary.parameters, factor)
    return factor


def saliency_maps(classifier: Classifier, dataset: Dataset, firsts: list[int]) -> Figure:
    from convscope.explanations import saliency
    from convscope.figures import draw

    found = saliency(classifier, dataset.test.to_float(firsts), dataset.test.labels[firsts])
    print(found.maps.amax(dim=(1, 2, 3)))  # the largest saliency of each image
    return draw(found)


def class_representatives(classifier: Classifier, seed: int, fast: bool) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.models import load
    from convscope.visualizations import class_images, l2_blur

    shipped = load("cifar-resnet20")  # in full it judges what is made for the network above
    network, judge = (shipped, None) if fast else (classifier, shipped)
    how = l2_blur(steps=40 if fast else 300, step_size=0.4, pull=1e-3, every=5, blur_std=0.7)
    noise = torch.Generator().manual_seed(1009 * seed + 5)
    found = class_images(network, recipe=how, evaluator=judge, control=False, generator=noise)
    print(found.logits.diagonal())
    return draw(found)


def adversarial_examples(
    classifier: Classifier, dataset: Dataset, firsts: list[int], seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.attacks import l2_gradient_ascent
    from convscope.figures import draw

    test, steps = dataset.test, 100 if fast else 200
    draws = [torch.Generator().manual_seed(1009 * seed + k) for k in (6, 7)]
    rows = torch.randperm(len(test), generator=draws[0])[: 60 if fast else 500]
    images, labels = test.to_float(rows), test.labels[rows]
    targets = (labels + 1 + torch.randint(9, labels.shape, generator=draws[1])) % 10
    wide = l2_gradient_ascent(classifier, images, labels, targets=targets, steps=steps)
    tasks = ~wide.already_misclassified
    rate = float((wide.success & tasks).sum() / tasks.sum())  # of random images and targets
    images, labels = test.to_float(firsts), test.labels[firsts]
    found = l2_gradient_ascent(classifier, images, labels, targets=(labels + 1) % 10, steps=steps)
    print(rate, found.steps)
    return draw(found)  # the first image of each class, toward the class that follows it


def notebooks() -> Figure:
    import torch

    import convscope
    from convscope.explanations import occlusion
    from convscope.figures import draw

    network = convscope.load("mnist-conv2")  # or "keras:net.keras", or "onnx:net.onnx"
    box = convscope.Classifier.from_function(
        lambda pixels: network.logits(torch.tensor(pixels)).detach().numpy(),
        input_shape=(1, 28, 28),
    )
    digits = convscope.open_dataset("digits").test.to_float(range(100))
    known, found = (one.predict(digits, top=1).labels for one in (network, box))
    print(int((known == found).sum()), "of 100 predictions are the same")
    return draw(occlusion(box, digits[:1]))
