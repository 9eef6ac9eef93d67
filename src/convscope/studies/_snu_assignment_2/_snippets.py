"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.classifier import Classifier
from convscope.data import Dataset


def setup(data: str, data_dir: str | None, seed: int) -> None:
    from pathlib import Path

    import convscope
    from convscope.training import recipe, train

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    model, epochs = ("cifar-inception", 8) if data == "cifar10" else ("mnist-conv2", 6)
    settings = recipe(model, data=data, seed=seed, epochs=epochs, label_smoothing=0.0)
    run = train(settings, dataset, out=Path("runs/assignment-2"), resume=True)
    classifier = run.classifier


def layers_by_hand(seed: int) -> Figure:
    import numpy as np

    from convscope.figures import draw_gradient_checks
    from convscope.scratch import Convolution, MaxPool, apart, check_layer

    random = np.random.default_rng(seed)
    layer = Convolution(2, 3, 3, padding="same", generator=random, dtype=np.float64)
    checks = check_layer("convolution 3x3", layer, apart((2, 2, 6, 7), random), random)
    checks += check_layer("max-pool 2x2", MaxPool(2), apart((2, 2, 6, 6), random), random)
    return draw_gradient_checks(checks)


def convolution_and_padding() -> bool:
    import numpy as np

    from convscope.scratch import convolve, padding_arithmetic

    for kernel in range(1, 8):
        print(kernel, padding_arithmetic(32, kernel, padding="same"))
    picture, k = np.random.default_rng(0).random((1, 1, 32, 32)), np.arange(9.0).reshape(1, 1, 3, 3)
    true_convolution = convolve(picture, k, stride=2, flip=True)
    turned = convolve(picture, k[:, :, ::-1, ::-1], stride=2)
    return bool(np.allclose(true_convolution, turned))


def cifar_10(classifier: Classifier, dataset: Dataset, data: str, seed: int) -> Figure:
    from convscope.figures import draw
    from convscope.training import evaluate, recipe, search

    model = "cifar-inception" if data == "cifar10" else "mnist-conv2"
    base = recipe(model, data=data, seed=seed, epochs=2, label_smoothing=0.0)
    rates = [base.learning_rate / 3, base.learning_rate, base.learning_rate * 3]
    found = search(
        base, dataset, space={"learning_rate": rates}, method="grid", storage="runs/search"
    )
    print(found.table())
    return draw(evaluate(classifier, dataset.test))


def inception() -> tuple[int, int]:
    from functools import partial

    import numpy as np

    from convscope.models import build, summarize
    from convscope.scratch import Inception

    print(summarize(build("cifar-inception"), (3, 32, 32)))
    block = partial(Inception, 192, ones=64, threes=128, fives=32, pool=32)
    reduced = block(reduce3=96, reduce5=16, generator=np.random.default_rng(0))
    plain = block(generator=np.random.default_rng(0))
    return reduced.parameter_count, plain.parameter_count


def saliency_maps(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.explanations import saliency
    from convscope.figures import draw

    images, labels = dataset.test.to_float(range(5)), dataset.test.labels[:5]
    return draw(saliency(classifier, images, labels))


def class_representatives(seed: int) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.models import load
    from convscope.visualizations import class_images, l2_blur

    noise = torch.Generator().manual_seed(seed)
    network, how = load("cifar-resnet20"), l2_blur(steps=20, step_size=0.4, every=5)
    return draw(class_images(network, [0, 5, 8], recipe=how, control=False, generator=noise))


def adversarial_examples(classifier: Classifier, dataset: Dataset) -> Figure:
    from convscope.attacks import l2_gradient_ascent
    from convscope.figures import draw

    images, labels = dataset.test.to_float(range(5)), dataset.test.labels[:5]
    targets = (labels + 1) % classifier.num_classes
    return draw(l2_gradient_ascent(classifier, images, labels, targets=targets))


def notebooks(dataset: Dataset) -> Figure:
    import torch

    from convscope import Classifier
    from convscope.explanations import occlusion
    from convscope.figures import draw
    from convscope.models import load

    network = load("mnist-conv2")  # or load("keras:net.keras"), load("onnx:net.onnx")
    box = Classifier.from_function(
        lambda pixels: network.logits(torch.tensor(pixels)).detach().numpy(),
        input_shape=(1, 28, 28),
    )
    return draw(occlusion(box, dataset.test.to_float([0])))
