"""CIFAR-10: train, evaluate, explore settings, and look at the test images once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convscope.classifier import Classifier
from convscope.data import Augmentation, Split
from convscope.figures import per_class_bars, run_curves
from convscope.pages import name_of
from convscope.progress import stage
from convscope.stats import wilson
from convscope.studies._chosen import random_rows
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.training import Evaluation, TrainResult, TrainSettings, evaluate, recipe

FAST, FULL = "mnist-conv2", "cifar-inception"
EXPLORING = 0.6
"""Share of the time that goes into short trainings."""

GUESSING = 1.3
"""An accuracy below this many times that of guessing is as good as it."""

SHOWN = 10
"""Random test images."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was explored.

    Attributes:
        name: What is different from the first one.
        changes: Fields of `TrainSettings` that differ from the recipe.
        settings: All of them.
        run: Its training.
    """

    name: str
    changes: dict[str, Any]
    settings: TrainSettings
    run: TrainResult

    @property
    def validation(self) -> float:
        """Accuracy on the validation images at the end."""
        return float(self.run.history[-1].validation_accuracy)


def model_of(study: Study) -> str:
    """The network: with inception blocks on CIFAR-10, a small one on digits."""
    return study.pick(FAST, FULL)


def explored_changes(base: TrainSettings) -> dict[str, dict[str, Any]]:
    """What is tried: one thing changed at a time.

    Args:
        base: The first setting.

    Returns:
        Name to fields that differ.

    Example:
        >>> changes = explored_changes(recipe("mnist-conv2", data="digits"))
        >>> changes["rate / 3"]
        {'learning_rate': 0.00167}
    """

    def rates(factor: float) -> dict[str, Any]:
        names = ("learning_rate", "nonfilter_lr")  # 0: the second is the same as the first
        values = {name: getattr(base, name) * factor for name in names}
        return {name: float(f"{value:.3g}") for name, value in values.items() if value}

    return {
        "recipe": {},
        "rate / 3": rates(1 / 3),
        "rate x 3": rates(3),
        "batch / 2": {"batch_size": base.batch_size // 2},
        "no augmentation": {"augment": Augmentation()},
        "SGD": {"optimizer": "sgd", "learning_rate": 0.1, "nonfilter_lr": 0.0, "momentum": 0.9,
                "weight_decay": 5e-4},
    }  # fmt: skip


def trials(study: Study) -> list[Trial]:
    """Short trainings with the settings that are explored."""
    base = recipe(model_of(study), data=study.data, preset="fast", overrides=_common(study))
    made = []
    tried = explored_changes(base)
    for done, (name, changes) in enumerate(tried.items()):
        own = {"epochs": study.pick(3, 2), **_common(study), **changes}
        settings = recipe(base.model, data=study.data, preset="fast", overrides=own)
        with stage(done / len(tried), (done + 1) / len(tried)):
            run = study.trained(base.model, preset="fast", **own)
        made.append(Trial(name=name, changes=changes, settings=settings, run=run))
    return made


def _common(study: Study) -> dict[str, Any]:
    """What all runs have: no smoothed labels, which change scores and so all pictures of them."""
    return {"label_smoothing": 0.0, "evals_per_epoch": study.pick(3, 2)}


def chosen(study: Study) -> tuple[Trial, TrainResult]:
    """The setting that is best on the validation images, and the network trained longer with it."""
    with stage(0.0, EXPLORING):
        best = max(trials(study), key=lambda trial: trial.validation)
    with stage(EXPLORING, 1.0):
        run = study.trained(
            model_of(study), preset="fast", epochs=study.pick(6, 8), **_common(study),
            **best.changes,
        )  # fmt: skip
    return best, run


def own_network(study: Study) -> Classifier:
    """The network with the chosen settings, which all pictures are made of."""
    return chosen(study)[1].classifier


def cifar_10(study: Study, question: Question) -> None:
    """The split, six settings by validation accuracy, and the chosen one on the test images."""
    dataset = study.dataset()
    best, run = chosen(study)
    tried = trials(study)
    found = evaluate(run.classifier, dataset.test)
    low, high = found.interval
    splits = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    wanted = {"training": 40_000, "validation": 10_000, "test": 10_000}
    question.find(
        f"{100 * found.accuracy:.2f} % of {found.n:,} test images are classified correctly (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f} %), by the best of {len(tried)} settings on "
        f"the validation images (“{best.name}”)."
    )
    question.tile("test accuracy", f"{100 * found.accuracy:.2f} %",
                  detail=f"best of {len(tried)} settings")  # fmt: skip
    for name, split in splits.items():
        question.compare(
            f"{name} images", document=f"{wanted[name]:,}", measured=len(split), unit="count",
            note="on digits, not CIFAR-10" if study.fast else "",
        )  # fmt: skip
    question.compare("test accuracy", document="none is given", measured=found.accuracy,
                     unit="share", note=f"{model_of(study)}, {run.history[-1].epoch:g} epochs, one "
                     "seed")  # fmt: skip
    _split_table(question, splits, len(dataset.class_names))
    _trial_table(question, tried, best)
    question.figure(
        "final-loss", run_curves({"": run.history}, "loss", parts=("training", "validation")),
        alt="Training and validation loss of the chosen setting over the epochs",
        caption="The chosen setting, trained longer: cross-entropy over the epochs, logarithmic. "
        "Training: mean since the point before; validation: images that are not trained on.",
    )  # fmt: skip
    question.figure(
        "final-accuracy",
        run_curves({"": run.history}, "accuracy", parts=("training", "validation")),
        alt="Training and validation accuracy of the chosen setting over the epochs",
        caption="Accuracy over the same epochs.",
    )
    question.figure(
        "per-class", per_class_bars(found), alt="Test accuracy of each class",
        caption="Test accuracy on the images of each class.",
    )  # fmt: skip
    question.confusions(
        found, labels=dataset.test.labels, predicted=found.predicted,
        images=dataset.test.to_float, confidences=found.confidences,
    )  # fmt: skip
    _random_images(study, question, run)
    _numbers(question, tried, best, found)
    question.discuss(_words(tried, best, found, dataset.validation))
    question.deviate(
        "which network and which settings is left to the student",
        f"{model_of(study)}; one setting is changed at a time",
        "Six short trainings say what matters; a full search is the command convscope search.",
    )
    if study.fast:
        question.deviate("CIFAR-10", "the digits of scikit-learn",
                         "--fast needs no files; the full run is on CIFAR-10.")  # fmt: skip


def _split_table(question: Question, splits: dict[str, Split], classes: int) -> None:
    number = {"kind": "number"}
    rows = []
    for name, split in splits.items():
        counts = split.labels.bincount(minlength=classes)
        rows.append([name, len(split), int(counts.min()), int(counts.max())])
    question.table(
        "splits",
        ["images", *(number | {"title": t} for t in ("number", "of the rarest class",
                                                     "of the most frequent class"))],
        rows,
        caption="No image is in two of them. Training images are learned from, validation images "
        "choose the setting, test images are looked at once, at the end.",
    )  # fmt: skip


def _trial_table(question: Question, tried: list[Trial], best: Trial) -> None:
    number, share = {"kind": "number"}, {"kind": "percent"}
    rows = []
    for trial in tried:
        settings, last = trial.settings, trial.run.history[-1]
        name = {"value": trial.name, "tone": "good" if trial.name == best.name else ""}
        rows.append(
            [name, settings.optimizer, settings.learning_rate, settings.batch_size,
             "no" if settings.augment == Augmentation() else "yes", last.train_loss,
             last.validation_loss, trial.validation]
        )  # fmt: skip
    question.table(
        "settings",
        ["setting", {"title": "optimizer", "kind": "code"}, number | {"title": "learning rate"},
         number | {"title": "batch"}, "augmented", number | {"title": "training loss"},
         number | {"title": "validation loss"}, share | {"title": "validation accuracy"}],
        rows,
        caption=f"The recipe, and what is changed in it: {len(tried)} settings, "
        f"{tried[0].run.history[-1].epoch:g} epochs each, same seed; green: chosen. Losses "
        "are cross-entropies at the end, in nats.",
        wide=True,
    )  # fmt: skip
    for what in ("accuracy", "loss"):
        question.figure(
            f"explored-{what}",
            run_curves({trial.name: trial.run.history for trial in tried}, what),
            alt=f"Validation {what} of all settings over the epochs",
            caption=f"Validation {what} of all settings over the epochs, and the value at the end.",
        )  # fmt: skip


def _random_images(study: Study, question: Question, run: TrainResult) -> None:
    split, classifier = study.dataset().test, run.classifier
    rows = random_rows(split, SHOWN, study.generator(1))
    predicted = classifier.predict(split.to_float(rows), top=1)
    cells = []
    for i, row in enumerate(rows.tolist()):
        true, got = int(split.labels[row]), int(predicted.labels[i, 0])
        names = [name_of(classifier.class_names, label) for label in (got, true)]
        cells.append(
            Picture(image=split.to_float([row])[0], title=names[0], detail=f"is: {names[1]}",
                    tone="good" if got == true else "bad",
                    alt=f"Test image {row}: predicted {names[0]}, true {names[1]}")
        )  # fmt: skip
    half = SHOWN // 2
    question.pictures(
        "random-images", [""] * half, [("", cells[:half]), ("", cells[half:])],
        caption="Random test images with the predicted class (orange: wrong) and the true one.",
    )  # fmt: skip


def _numbers(question: Question, tried: list[Trial], best: Trial, found: Evaluation) -> None:
    question.number("validation_accuracies", {trial.name: trial.validation for trial in tried})
    question.number("chosen", best.name)
    question.number("test_accuracy", found.accuracy)
    question.number("test_interval", list(found.interval))


def _words(tried: list[Trial], best: Trial, found: Evaluation, split: Split) -> str:
    images, classes = len(split), int(split.labels.max()) + 1
    ordered = sorted(tried, key=lambda trial: -trial.validation)
    second, worst = ordered[1], ordered[-1]
    low, _ = wilson(round(best.validation * images), images)
    near = [trial.name for trial in ordered[1:] if trial.validation >= low]
    return (
        f"After the short trainings “{best.name}” leads with {100 * best.validation:.1f} % of "
        f"{images:,} validation images, before “{second.name}” with {100 * second.validation:.1f} "
        f"%; “{worst.name}” comes last with {100 * worst.validation:.1f} %"
        + (
            f", no better than guessing among {classes} classes: it did not learn in so few steps. "
            if worst.validation < GUESSING / classes
            else ". "
        )
        + (
            f"Within the 95 % interval of the first lie {len(near)} others ({', '.join(near)}): "
            "between these, chance decides. "
            if near
            else "No other lies within the 95 % interval of the first. "
        )
        + "What is best after a short training need not be best after a long one: without "
        "augmentation, for one, a network learns faster and less. The choice was made "
        f"without the test images, so that {100 * found.accuracy:.2f} % is an honest estimate for "
        "new ones."
    )
