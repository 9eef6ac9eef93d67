"""The Python of each question, in a few lines: shown on the page and run by the notebook."""

# ruff: noqa: F841

from __future__ import annotations

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
    target = class_number("ship" if fast else "space shuttle", classifier.class_names)
    if fast:  # generated shapes of four kinds, the first of each that is not predicted as a ship
        scenes = shape_scenes("test", 60, difficulty="easy")
        images = scenes.images.float() / 255
        others = (classifier.predict(images, top=1).labels[:, 0] != target).nonzero()[:, 0]
        first = {int(scenes.labels[row]): row for row in reversed(others.tolist())}
        photos = images[sorted(first.values())[:4]]
    else:  # the peppers, and three photos spread evenly over the names of the others
        files = [file for file in sorted(folder.glob("photos/*")) if file.suffix != ".txt"]
        peppers = [file for file in files if "peppers" in file.stem.lower()]
        rest = [file for file in files if "pepper" not in file.stem.lower()]
        spread = [rest[round((i + 0.5) * len(rest) / 3 - 0.5)] for i in range(3)]
        photos = select_images([peppers[0], *spread], like=classifier).images


def peppers(classifier: Classifier, photos: Tensor) -> Figure:
    from convscope.figures import draw

    predicted = classifier.predict(photos, top=3)
    print(predicted.names(0), predicted.probabilities[0])
    return draw(predicted)


def feature_maps_of_three_layers(classifier: Classifier, photos: Tensor) -> Figure:
    from convscope.explanations import selected_maps
    from convscope.figures import draw

    maps = selected_maps(classifier, photos[:1], count=5)
    for layer in maps.layers:
        print(layer.layer, layer.channels[0])
    return draw(maps)


def transfer_to_pets(classifier: Classifier, data_dir: str | None, seed: int, fast: bool) -> Figure:
    import torch

    from convscope.data import SHAPE_NAMES, Dataset, Split, shape_scenes
    from convscope.figures import draw
    from convscope.transfer import transfer

    parts = {}  # with --fast in place of pets: 600, 100 and 300 generated shapes without clutter
    for name, count in (("train", 600), ("validation", 100), ("test", 300)):
        scenes = shape_scenes(name, count, difficulty="easy")
        parts[name] = Split(name=name, images=scenes.images, labels=scenes.labels)
    shapes = Dataset(name="shapes", class_names=SHAPE_NAMES, train=parts["train"],
                     validation=parts["validation"], test=parts["test"], source="generated",
                     hashes={})  # fmt: skip
    folds = torch.Generator().manual_seed(1009 * seed + 2)
    found = transfer(classifier, shapes if fast else "pets", data_dir=data_dir, generator=folds)
    print(found.mean_per_class, found.features)
    return draw(found)


def network_11x11(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.explanations import filters
    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    how = {"train_split": "train+validation", "evals_per_epoch": 1}  # all images that may be
    how |= {"epochs": 6} if fast else {"precision": "auto"}
    settings = recipe("cifar-11x11", data=data, preset="paper", seed=seed, overrides=how)
    run = train(settings, dataset, out=Path("runs/cifar-11x11"), resume=True)
    found = evaluate(run.classifier, dataset.test)
    print(found.accuracy)
    return draw(filters(run.classifier, "conv1"))


def with_batch_normalization(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.figures import run_curves
    from convscope.training import evaluate, recipe, train

    how = {"train_split": "train+validation", "evals_per_epoch": 1}
    how |= {"epochs": 6} if fast else {"precision": "auto"}
    accuracies, histories = {}, {}
    for model in ("cifar-11x11", "cifar-11x11-bn"):
        settings = recipe(model, data=data, preset="paper", seed=seed, overrides=how)
        run = train(settings, dataset, out=Path("runs") / model, resume=True)
        accuracies[model] = evaluate(run.classifier, dataset.test).accuracy
        histories[model] = run.history
    print(accuracies)
    return run_curves(histories, "loss", parts=("training",))


def deeper_network(dataset: Dataset, data: str, seed: int, fast: bool) -> Figure:
    from pathlib import Path

    from convscope.figures import draw
    from convscope.training import evaluate, recipe, train

    how = {"train_split": "train+validation", "evals_per_epoch": 1}
    how |= {"epochs": 3, "batch_size": 100, "learning_rate": 0.1} if fast else {}
    model = "cifar-best-quick" if fast else "cifar-best"
    settings = recipe(model, data=data, seed=seed, overrides=how)
    deep = train(settings, dataset, out=Path("runs/deeper"), resume=True).classifier
    found, views = evaluate(deep, dataset.test), evaluate(deep, dataset.test, tta=settings.tta)
    print(found.accuracy, views.accuracy)
    return draw(found)


def fooling(classifier: Classifier, photos: Tensor, target: int, fast: bool) -> Figure:
    import torch

    from convscope.attacks import pgd
    from convscope.figures import as_saved, draw_fooled

    labels = classifier.predict(photos, top=1).labels[:, 0]
    targets = torch.full_like(labels, target)
    epsilon, steps = (4 / 255, 12) if fast else (2 / 255, 40)
    fooled = as_saved(pgd(classifier, photos, labels, targets=targets, epsilon=epsilon,
                          steps=steps, keep="best"))  # fmt: skip
    print(fooled.logits_after.softmax(dim=1)[:, target])
    return draw_fooled(fooled)


def transformed(
    classifier: Classifier, photos: Tensor, target: int, seed: int, fast: bool
) -> Figure:
    import torch

    from convscope.figures import draw
    from convscope.robustness import survival

    labels = classifier.predict(photos, top=1).labels[:, 0]
    targets = torch.full_like(labels, target)
    found = survival(
        classifier, photos, labels, targets=targets, epsilon=4 / 255 if fast else 2 / 255,
        steps=12 if fast else 40, eot_samples=4 if fast else 8,
        generator=torch.Generator().manual_seed(1009 * seed + 8),
    )  # fmt: skip
    print(found.plain_transformed.target_probabilities.mean(dim=1))  # after each transformation
    return draw(found)


def binary_adder() -> Figure:
    from convscope.figures import draw
    from convscope.scratch import addition

    pairs = [(a, b) for a in range(64) for b in range(64)]
    right = sum(int(addition(f"{a:b}", f"{b:b}").total, 2) == a + b for a, b in pairs)
    print(right, "of", len(pairs), "sums are right")
    return draw(addition("100111", "110010"))


def paper_with_code() -> list[tuple[str, str, str]]:
    from convscope.studies import STUDIES

    # On the command line: convscope study homework-2 --pdf
    questions = STUDIES["homework-2"].questions
    listing = [(one.heading, one.answer.__module__, one.answer.__name__) for one in questions]
    print(len(listing), "questions")
    return listing
