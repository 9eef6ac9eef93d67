"""One result of every kind, made by hand: figures must not need a network."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from convscope.attacks import AdversarialPatch, UniversalPerturbation, pgd
from convscope.classifier import Classifier
from convscope.explanations import (
    Explanation,
    Filters,
    Trust,
    TrustRow,
    feature_maps,
    saliency,
    selected_maps,
)
from convscope.models import summarize
from convscope.probe import Cost
from convscope.robustness import (
    Certification,
    DefenseComparison,
    DefenseRow,
    ModelTransfer,
    NoiseTransfer,
    RobustnessCurve,
    RobustnessEvaluation,
    Stage,
    Survival,
    TransformationRobustness,
)
from convscope.scratch import TrainingCurve, addition
from convscope.training import (
    Evaluation,
    Examples,
    LearningRateCurve,
    Measured,
    SearchResult,
    TrainResult,
    Trial,
    space_from_table,
)
from convscope.transfer import TransferMistakes, TransferResult
from convscope.visualizations import (
    Control,
    HeldOutEvaluation,
    LogitTrajectory,
    Nearest,
    Visualization,
)

COST = Cost(forwards=3, backwards=2, seconds=0.1)


def random(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def classifier(names):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, len(names))
    )
    return Classifier(module=net, class_names=names, input_shape=(1, 8, 8))


def measured(step, loss=0.5, error=0.1):
    return Measured(
        step=step,
        epoch=step / 10,
        learning_rate=0.1,
        train_loss=loss,
        train_error=error,
        train_accuracy=1 - error,
        validation_loss=loss,
        validation_error=error,
        validation_accuracy=1 - error,
        validation_images=10,
    )


def evaluation(names, confusion=None):
    k = len(names)
    if confusion is None:
        confusion = torch.eye(k, dtype=torch.int64) * 9 + 1
    counts = torch.zeros(15, dtype=torch.int64)
    counts[7], counts[14] = 3, 9
    rows = torch.arange(3)
    examples = Examples(rows=rows, labels=rows % k, predicted=(rows + 1) % k, confidences=random(3))
    return Evaluation(
        split="test",
        n=int(confusion.sum()),
        class_names=names,
        accuracy=0.9,
        interval=(0.85, 0.95),
        mean_per_class=0.9,
        per_class=confusion.diagonal() / confusion.sum(dim=1),
        loss=0.3,
        top=(1,),
        top_accuracy=(0.9,),
        confusion=confusion,
        calibration_error=0.02,
        calibration_counts=counts,
        calibration_confidence=torch.linspace(0.03, 0.97, 15),
        calibration_accuracy=torch.linspace(0.0, 1.0, 15),
        mistakes=examples,
        sample=examples,
        predicted=rows,
        confidences=random(3),
    )


def transferred(names):
    k = len(names)
    confusion = torch.eye(k, dtype=torch.int64) * 9 + 1
    labels = torch.arange(k)
    return TransferResult(
        data=names[0],
        source=names[0],
        features=names[0],
        feature_size=5,
        classifier="logistic",
        class_names=names,
        parameter="C",
        values=(0.1, 1.0, 10.0),
        fold_scores=random(3, 5).double(),
        value=1.0,
        training_images=40,
        n=int(confusion.sum()),
        accuracy=0.9,
        interval=(0.85, 0.95),
        mean_per_class=0.9,
        mean_per_class_interval=(0.8, 0.95),
        per_class=(confusion.diagonal() / confusion.sum(dim=1)).double(),
        confusion=confusion,
        labels=labels,
        predicted=labels,
        names=names,
        mistakes=TransferMistakes(
            names=names[:1],
            images=torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
            labels=labels[:1],
            predicted=labels[1:2],
            margins=torch.ones(1),
        ),
        weights=random(k, 5),
        bias=random(k),
        computed=4,
        seconds=0.1,
    )


def visualization(names):
    n = len(names)
    images = random(n, 1, 8, 8)
    return Visualization(
        images=images,
        units=names,
        layer="logits",
        channels=torch.arange(n),
        recipe="pca",
        history=random(5, n),
        activations=random(n),
        logits=random(n, n),
        class_names=names,
        max_dataset_activation=random(n),
        max_dataset_images=images,
        held_out=HeldOutEvaluation(
            source="j", probabilities=random(n), labels=torch.arange(n), correct=n
        ),
        nearest=Nearest(images=images, rows=torch.arange(n), distances=random(n)),
        control=Control(images=images),
        cost=COST,
    )


def trajectory(names):
    n = len(names)
    return LogitTrajectory(
        images=random(2, 1, 8, 8),
        units=names[:2],
        layer="pool2",
        activations=random(5, 2),
        logits=random(5, 2, n),
        class_names=names,
        settings={"steps": 4},
        cost=COST,
    )


def transformed(names):
    images, labels = random(4, 1, 8, 8), torch.arange(4) % len(names)
    many = torch.arange(8).view(2, 4) % len(names)
    return TransformationRobustness(
        names=("none", names[0]),
        originals=images,
        adversarials=images,
        labels=labels,
        targets=None,
        originals_predicted=many,
        originals_probabilities=random(2, 4),
        adversarials_predicted=many,
        adversarials_probabilities=random(2, 4),
        label_probabilities=random(2, 4),
        target_probabilities=random(2, 4),
        transformed=random(2, 4, 1, 8, 8),
        class_names=names,
    )


def survival(names):
    network, images = classifier(names), random(4, 1, 8, 8)
    labels = torch.arange(4) % len(names)
    made = pgd(network, images, labels, targets=labels.flip(0), epsilon=0.1, steps=1)
    halves = {"plain": made, "eot": made}
    return Survival(**halves, **{f"{half}_transformed": transformed(names) for half in halves})


def robustness(names):
    images, labels = random(4, 1, 8, 8), torch.arange(4) % len(names)
    stage = Stage(
        attack=names[0], attacked=4, broken=1, accuracy=0.7, robust=0.5, forwards=9,
        backwards=9, seconds=0.1,
    )  # fmt: skip
    many = torch.arange(8).view(2, 4) % len(names)
    return [
        RobustnessCurve(
            attack=names[0],
            norm="linf",
            epsilons=torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64),
            accuracies=torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64),
            smallest=random(4),
            distances=random(4),
            labels=labels,
            cost=COST,
            settings={},
            flags=(),
            class_names=names,
        ),
        RobustnessEvaluation(
            norm="linf",
            epsilon=8 / 255,
            effort="quick",
            clean_accuracy=0.9,
            robust_accuracy=0.5,
            low=0.3,
            high=0.7,
            suite=(stage, stage),
            checks=(),
            labels=labels,
            broken_by=labels,
            originals=images,
            adversarials=images,
            cost=COST,
            class_names=names,
        ),
        transformed(names),
        survival(names),
        NoiseTransfer(
            noises=random(4, 1, 8, 8) - 0.5,
            noise_targets=torch.tensor([0, -1, 1, 2]),
            images=images,
            labels=labels,
            predicted_before=labels,
            predicted=many.repeat(2, 1),
            probabilities=random(4, 4),
            class_names=names,
        ),
        ModelTransfer(
            names=names[:2],
            attack=names[0],
            norm="linf",
            epsilon=0.1,
            rates=torch.tensor([[1.0, 0.5], [float("nan"), 0.2]]),
            counts=torch.ones(2, 2),
            clean=torch.ones(2),
            images=4,
        ),
        Certification(
            std=0.5,
            draws=100,
            alpha=0.001,
            labels=labels,
            predicted=labels,
            radii=random(4),
            votes=labels,
            forwards=400,
            seconds=0.1,
            class_names=names,
        ),
        DefenseComparison(
            attack=names[0],
            norm="linf",
            epsilon=0.1,
            images=4,
            rows=(
                DefenseRow(defense="none", clean=0.9, transfer=0.1, adaptive=0.1),
                DefenseRow(defense=names[0], clean=0.9, transfer=0.8, adaptive=0.2),
            ),
        ),
    ]


def trust(names):
    row = TrustRow(
        method=names[0], deletion=0.2, insertion=0.8, insertion_minus_deletion=0.6, randomized=0.1,
        completeness=None, grid_pointing_game=0.6, relevance_mass=None, pointing_accuracy=None,
        stability=0.3, seconds=0.1,
    )  # fmt: skip
    return Trust(
        rows=(row, replace(row, method="random map")),
        fractions=torch.linspace(0, 1, 5),
        deletion=random(2, 5),
        insertion=random(2, 5),
        stages=names[:2],
        similarity=random(2, 2),
        images=4,
        area=None,
        shrunk=False,
        notes=(names[0],),
    )


def noises(names):
    n = len(names)
    return [
        UniversalPerturbation(
            noises=random(n, 1, 8, 8) - 0.5,
            targets=torch.arange(n),
            epsilon=0.3,
            training_error=random(6, n).where(torch.arange(6)[:, None] > 0, torch.nan),
            training_rates=random(6, n),
            validation_steps=torch.tensor([0, 5]),
            validation_error=random(2, n),
            validation_rates=random(2, n),
            images_used=4,
            cost=COST,
            settings={},
            flags=(),
            class_names=names,
        ),
        AdversarialPatch(
            patches=random(n, 1, 3, 3),
            targets=torch.arange(n),
            training_rates=random(3, n),
            rates=random(n),
            plain_rates=random(n),
            examples=random(n, 1, 8, 8),
            cost=COST,
            settings={},
            flags=(),
            class_names=names,
        ),
    ]


def searched(names):
    """Two trials of a search whose values are names."""
    return SearchResult(
        model=names[0], data=names[1], method="random", objective="accuracy", seed=0,
        space=space_from_table(
            {"freeze": [names[0], names[1]], "learning_rate": {"low": 0.01, "high": 0.1}}
        ),
        settings="",
        trials=tuple(
            Trial(
                number=n, state="complete", value=0.5 + n / 10, curve=(measured(1), measured(2)),
                parameters={"freeze": names[n], "learning_rate": 0.05},
            )
            for n in range(2)
        ),
    )  # fmt: skip


def all_results(names=("cat", "dog", "emu", "fox")):
    """One of each, with these class names wherever names go."""
    net = classifier(names)
    images, labels = random(3, 1, 8, 8), torch.arange(3) % len(names)
    maps = random(3, 2, 8, 8) - 0.5
    points = tuple(measured(step) for step in range(1, 5))
    return [
        TrainResult(classifier=net, run_folder=None, history=points, seconds=1.0),
        evaluation(names),
        Filters(
            layer=names[0],
            weights=random(4, 1, 3, 3),
            pictures=random(4, 1, 3, 3),
            low=torch.zeros(4),
            high=torch.ones(4),
            seen_map=None,
            columns=4,
        ),
        feature_maps(net, images),
        saliency(net, images),
        Explanation(
            images=images,
            maps=maps,
            targets=torch.zeros(3, 2, dtype=torch.int64),
            method=names[0],
            class_names=names,
            layer=names[0],
            settings={"a": names[0]},
            evidence={"completeness": random(3, 2)},
        ),
        visualization(names),
        trajectory(names),
        pgd(net, images, labels, epsilon=0.1, steps=2),
        summarize(net.module, (1, 8, 8)),
        *robustness(names),
        trust(names),
        *noises(names),
        addition("1011", "110"),
        TrainingCurve(
            losses=np.array([2.0, 1.0, 0.5]),
            errors=np.array([0.9, 0.5, 0.2]),
            accuracies=np.array([0.7]),
            steps_per_epoch=3,
        ),
        net.predict(images),
        transferred(names),
        selected_maps(net, images),
        searched(names),
        LearningRateCurve(
            rates=(0.1, 1.0, 10.0),
            losses=(2.0, 1.0, 90.0),
            smoothed=(2.0, 1.5, 30.0),
            steepest=1.0,
            lowest=1.0,
        ),
    ]
