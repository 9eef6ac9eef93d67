"""The sentences above the sections of an audit, at the edges."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from convscope.attacks import pgd
from convscope.classifier import Classifier
from convscope.explanations import filters
from convscope.reports import Report
from convscope.stats import wilson
from convscope.studies import _noises
from convscope.studies._audit import network_name
from convscope.studies._explanations import _occlusion_table
from convscope.studies._fooling import finding as attacks_finding
from convscope.studies._inside import _filters_finding, effects
from convscope.studies._network import training_finding
from convscope.studies._noises import finding as noises_finding
from convscope.studies._overfitting import ends, overfitting_words
from convscope.studies._performance import _classes
from convscope.studies._robustness import finding as robustness_finding
from convscope.training import Evaluation, Measured
from convscope.visualizations import Visualization
from tests.figures.results import all_results

NAN = float("nan")


def attack(method, after, *, epsilon, size=0.1, before=0):
    """A result: every image is class 0; `after` are the classes predicted afterwards."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
    count = len(after)
    images, labels = torch.full((count, 1, 2, 2), 0.5), torch.zeros(count).long()
    result = pgd(classifier, images, labels, epsilon=0.1, steps=1)
    logits = [
        20.0 * nn.functional.one_hot(torch.tensor(classes), 2).float()
        for classes in ([before] * count, after)
    ]
    return replace(
        result, method=method, epsilon=epsilon, adversarials=images + size / 2,
        logits_before=logits[0], logits_after=logits[1], logits_quantized=logits[1],
    )  # fmt: skip


def test_only_attacks_without_a_budget_that_succeed_have_smallest_changes():
    done = [
        attack("fgsm", [1, 0], epsilon=0.1, size=0.001),
        attack("pgd", [1, 1], epsilon=0.1, size=0.002),
        attack("deepfool", [1, 0], epsilon=None, size=0.003),
        attack("cw", [1, 1], epsilon=None, size=0.5),
        attack("ddn", [1, 1], epsilon=None, size=0.4),
    ]
    assert attacks_finding(done) == (
        "`pgd` fools 100.0\u00a0% of the images that were classified correctly within L∞ ≤ 0.1; "
        "without a budget, `ddn` needs the smallest changes: median L2 0.4."
    )
    assert "smallest" not in attacks_finding(done[:3])


def test_attacks_on_images_that_were_wrong_before_say_so():
    done = [attack("pgd", [1, 1], epsilon=0.1, before=1)]
    assert attacks_finding(done) == "No attacked image was classified correctly before."
    assert attacks_finding([]) == ""


def curve(accuracies):
    epsilons = torch.tensor([0.0, 0.05, 0.1, 0.2])
    return SimpleNamespace(
        epsilons=epsilons, accuracies=torch.tensor(accuracies), labels=torch.zeros(8)
    )


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ([1.0, 0.8, 0.6, 0.4], "lower accuracy from 100.0\u00a0% to 60.0\u00a0%; "
         "more than half is lost at 0.2."),
        ([1.0, 0.8, 0.6, 0.5], "lower accuracy from 100.0\u00a0% to 60.0\u00a0%."),
        ([0.9, 0.9, 0.9, 0.9], "Changes of at most 0.1 per pixel leave accuracy at 90.0\u00a0%."),
        ([0.0, 0.0, 0.0, 0.0], "None of 8 images is classified correctly, even without a change"),
    ],
)  # fmt: skip
def test_the_fall_of_the_accuracy_is_told_truly(accuracies, words):
    assert words in robustness_finding(curve(accuracies), 0.1)


def point(step, epoch, loss, accuracy=0.9):
    return Measured(
        step=step, epoch=epoch, learning_rate=0.1, train_loss=loss, train_error=0.1,
        train_accuracy=0.9, validation_loss=loss, validation_error=1 - accuracy,
        validation_accuracy=accuracy, validation_images=8,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("last", "best", "words"),
    [
        ((9, 1.0, 0.5), (9, 1.0, 0.5), "After 1 epoch: validation accuracy 90.00\u00a0%, "
         "validation loss 0.5, the lowest of the run."),
        ((9, 1000.0, 2550.0), (4, 2.5, 0.25), "After 1,000 epochs: validation accuracy "
         "90.00\u00a0%, validation loss 2,550; the lowest was 0.25 at epoch 2.5."),
        ((9, 3.0, NAN, NAN), (4, 2.0, 0.25), "After 3 epochs: validation accuracy –, validation "
         "loss is NaN or infinite; the lowest was 0.25 at epoch 2."),
        ((9, 3.0, NAN), (4, 2.0, NAN), "After 3 epochs no validation loss is finite."),
        ((9, 3.0, math.inf), (9, 3.0, math.inf), "After 3 epochs no validation loss is finite."),
    ],
)  # fmt: skip
def test_the_end_of_a_run_is_told_truly(last, best, words):
    assert training_finding(point(*last), point(*best)) == words


def test_the_loss_on_a_part_of_the_images_is_no_lowest_and_no_last():
    easy = [replace(point(2 * i, i - 0.5, 0.01), validation_images=2) for i in (1, 2, 3)]
    whole = [point(2 * i + 1, float(i), loss) for i, loss in ((1, 0.5), (2, 0.4), (3, 0.45))]
    rows = sorted([*easy, *whole], key=lambda row: row.epoch)
    assert ends(rows) == (whole[2], whole[1])
    assert ends([*rows, replace(easy[0], epoch=3.5, step=99)]) == (whole[2], whole[1])
    assert ends(easy) == (easy[2], easy[2])


def test_the_end_of_a_run_without_validation_images_is_told_truly():
    last = replace(point(9, 2.0, 0.5), validation_loss=NAN, validation_images=0)
    assert training_finding(last, last) == (
        "After 2 epochs: training loss 0.5; there were no validation images."
    )


def test_noises_are_judged_on_images_of_other_classes():
    assert noises_finding(torch.tensor([0.5, 1.0, NAN]), 0.3) == (
        "One noise per class, at most 0.3 per pixel, makes the network predict its class for "
        "75\u00a0% of unseen images of other classes: 50\u00a0% for the hardest class, "
        "100\u00a0% for the easiest."
    )
    assert noises_finding(torch.tensor([0.5]), 8 / 255).endswith("images of other classes.")
    assert "cannot be judged" in noises_finding(torch.tensor([NAN]), 0.3)


def test_the_only_convolution_is_not_the_first_of_one():
    net = nn.Sequential(nn.Conv2d(1, 300, 3), nn.Flatten(), nn.Linear(1200, 2))
    found = filters(Classifier.wrap(net, input_shape=(1, 4, 4)))
    low, high = float(found.low.min()), float(found.high.max())
    assert _filters_finding(found, 1) == (
        f"The only convolution, `0 (Conv2d)`, has 300 filters of 1 x 3 x 3 weights, from {low:.3g} "
        f"to {high:.3g}."
    )
    assert _filters_finding(found, 5).startswith("The first of 5 convolutions, `0 (Conv2d)`, has")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("mnist-conv1, fast preset, seed 0: 99.3 % (shipped, sha256 0123456789ab)", "mnist-conv1"),
        ("mnist-conv1, mnist-conv1 trained on digits (preset fast, seed 0) (runs/a, sha256 01)",
         "mnist-conv1"),
        ("cat.nets:make, weights cat.pt", "cat.nets:make"),
        ("hf:apple/mobilenet (mobilenet_v2)", "hf:apple/mobilenet"),
        ("ResNet in memory", "ResNet"),
        ("a net", "a net"),
    ],
)  # fmt: skip
def test_a_heading_names_the_network_by_its_source(source, name):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert network_name(Classifier.wrap(net, input_shape=(1, 2, 2), source=source)) == name


@pytest.mark.parametrize(("weight", "changes"), [(0.0, False), (10.0, True)])
def test_that_no_position_of_a_window_changes_the_class_is_said_only_if_so(weight, changes):
    """One bright pixel decides for class 0 against the bias; without it, class 1 is predicted."""
    layer = nn.Linear(64, 2)
    layer.weight.data.zero_()[0, 0] = weight
    layer.bias.data = torch.tensor([1.0, 0.0] if weight == 0 else [-5.0, 0.0])
    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 0, 0] = 1.0
    classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 8, 8))
    section = Report(title="t").section("occlusion", "Occlusion")
    work = SimpleNamespace(classifier=classifier, shown=(images, torch.tensor([0])))
    _occlusion_table(work, section, 0)
    assert ("No position of the window changes" in json.dumps(section.blocks)) is not changes


def test_effects_of_neurons_are_a_table_if_they_were_measured():
    found = next(result for result in all_results() if isinstance(result, Visualization))
    classes, count = len(found.class_names), len(found.units)
    effect = torch.zeros(count, classes).scatter(1, torch.full((count, 1), 2), 1.0)
    effect[:, 1] = -1.0
    for given, tables in ((effect, 1), (None, 0)):
        section = Report(title="t").section("neurons", "Neurons")
        effects(section, replace(found, effect=given))
        assert len(section.blocks) == tables
    section = Report(title="t").section("neurons", "Neurons")
    effects(section, replace(found, effect=effect))
    for row in section.blocks[0]["rows"]:
        assert row[3] == f"{found.class_names[2]} (+1)" and row[4] == f"{found.class_names[1]} (-1)"


def test_intervals_of_classes_are_those_of_their_shares():
    found = next(result for result in all_results() if isinstance(result, Evaluation))
    confusion = torch.tensor([[8, 2, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [3, 0, 1, 0]])
    section = Report(title="t").section("performance", "Performance")
    _classes(None, section, replace(found, confusion=confusion))
    ((table,),) = (block["blocks"] for block in section.blocks)
    assert [row[1] for row in table["rows"]] == [10, 5, 4]
    for (_, total, share, interval, _), hit in zip(table["rows"], (8, 5, 0), strict=True):
        low, high = (float(end) / 100 for end in interval.split(" to "))
        assert share == hit / total
        assert (low, high) == pytest.approx(wilson(hit, total), abs=0.0006)


@pytest.mark.parametrize(("channels", "size"), [(1, 0.3), (3, 16 / 255)])
def test_universal_noises_of_color_images_are_smaller(monkeypatch, channels, size):
    asked = []

    def uap(*data, **settings):
        asked.append(settings["epsilon"])
        raise StopIteration

    monkeypatch.setattr(_noises, "uap", uap)
    labels = torch.arange(4)
    work = SimpleNamespace(
        classifier=SimpleNamespace(input_shape=(channels, 8, 8)), effort="quick",
        fitted=SimpleNamespace(labels=labels, to_float=lambda rows: rows),
        classes=lambda most: [0, 1], stream=int, generator=int,
        sized=lambda usual, if_large: usual,
    )  # fmt: skip
    with pytest.raises(StopIteration):
        _noises._universal(work, Report(title="t").section("noises", "Noises"))
    assert asked == [size]


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((0.5, 0.4), "lowest at the end, 0.4 after 2 iterations (training loss 0.2): it still"),
        ((0.4, 0.41), "lowest at iteration 1 of 2, 0.4, and 2 % above that at the end (training "
         "loss 0.2): too little to speak of learning by heart."),
        ((0.4, 0.6), "lowest at iteration 1 of 2, 0.4, and 50 % above that at the end (training "
         "loss 0.2): the network has begun to learn its training images by heart."),
    ],
)  # fmt: skip
def test_overfitting_is_a_loss_that_rises_and_no_gap(losses, words):
    rows = [point(k + 1, float(k + 1), loss) for k, loss in enumerate(losses)]
    rows[-1] = replace(rows[-1], train_loss=0.2)
    assert words in overfitting_words(rows)
