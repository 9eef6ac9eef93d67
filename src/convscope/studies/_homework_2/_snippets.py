"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from convscope.classifier import Classifier
from convscope.data import Dataset


def setup(data: str, data_dir: str | None, fast: bool) -> None:
    import convscope
    from convscope.data import class_number, data_folder, select_images, shape_scenes

    dataset = convscope.open_dataset(data, data_dir=data_dir)
    folder = data_folder(data_dir)  # in full: with the folders imagenet and photos, and the pets
    classifier = convscope.load("cifar-resnet20" if fast else f"hf:{folder / 'imagenet'}")
    shapes = shape_scenes("test", 4).images.float() / 255
    files = sorted(folder.glob("photos/*"), key=lambda file: "peppers" not in file.name)[:4]
    photos = shapes if fast else select_images(files, like=classifier).images
    target = class_number("ship" if fast else "space shuttle", classifier.class_names)


def peppers(classifier: Classifier, photos: Tensor) -> Figure:
    from convscope.figures import draw

    predicted = classifier.predict(photos, top=3)
    print(predicted.names(0), predicted.probabilities[0])
    return draw(predicted)


def feature_maps_of_three_layers(classifier: Classifier, photos: Tensor) -> Figure:
    from convscope.explanations import selected_maps
    from convscope.figures import draw

    return draw(selected_maps(classifier, photos[:1], count=5))


def transfer_to_pets(classifier: Classifier, dataset: Dataset, folder: Path, fast: bool) -> Figure:
    import convscope
    from convscope.figures import draw
    from convscope.transfer import transfer

    # Fast: from MNIST's digits to those of scikit-learn; in full: from ImageNet to breeds of pets.
    known = convscope.load("mnist-conv2-fc") if fast else classifier
    found = transfer(known, dataset if fast else "pets", data_dir=None if fast else folder)
    print(found.mean_per_class, found.features)
    return draw(found)


def network_11x11(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.explanations import filters
    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    how = {"preset": "paper", "train_split": "train+validation", "seed": seed}
    how["precision"] = "fp32" if fast else "auto"
    epochs = 2 if fast else 20
    settings = recipe("cifar-11x11", data=data, epochs=epochs, overrides=how)
    run = train(settings, dataset, out=Path("runs/cifar-11x11"), resume=True)
    print(evaluate(run.classifier, dataset.test).accuracy)
    return draw(filters(run.classifier, "conv1"))


def with_batch_normalization(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    how = {"preset": "paper", "train_split": "train+validation", "seed": seed}
    how["precision"] = "fp32" if fast else "auto"
    epochs, histories = 2 if fast else 20, {}
    for model in ("cifar-11x11", "cifar-11x11-bn"):
        settings = recipe(model, data=data, epochs=epochs, overrides=how)
        run = train(settings, dataset, out=Path("runs") / model, resume=True)
        print(model, evaluate(run.classifier, dataset.test).accuracy)
        histories[model] = run.history
    return run_curves(histories, "loss", parts=("training",))


def deeper_network(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    model = "cifar-best-quick" if fast else "cifar-best"
    how = {"epochs": 1, "batch_size": 100, "learning_rate": 0.1} if fast else {}
    settings = recipe(model, data=data, seed=seed, overrides=how)
    deep = train(settings, dataset, out=Path("runs/deeper"), resume=True)
    return draw(evaluate(deep.classifier, dataset.test, tta=settings.tta))


def fooling(classifier: Classifier, photos: Tensor, target: int) -> Figure:
    import torch

    from convscope.attacks import linf_gradient_ascent
    from convscope.figures import draw_fooled

    labels = classifier.predict(photos, top=1).labels[:, 0]
    targets = torch.full_like(labels, target)
    fooled = linf_gradient_ascent(classifier, photos, labels, targets=targets, epsilon=4 / 255)
    return draw_fooled(fooled)


def transformed(classifier: Classifier, photos: Tensor, target: int) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.robustness import survival

    labels = classifier.predict(photos, top=1).labels[:, 0]
    targets = torch.full_like(labels, target)
    found = survival(classifier, photos, labels, targets=targets, steps=10, eot_samples=2)
    return draw(found)


def binary_adder() -> Figure:
    from convscope.figures import draw
    from convscope.scratch import addition

    return draw(addition("100111", "110010"))


def paper_with_code() -> list[tuple[str, str, str]]:
    from convscope.studies import STUDIES

    # On the command line: convscope study homework-2 --pdf
    questions = STUDIES["homework-2"].questions
    return [(one.heading, one.answer.__module__, one.answer.__name__) for one in questions]
