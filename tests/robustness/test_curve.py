"""The curve by bisection is the curve of separate attacks."""

import pytest
import torch

from convscope.attacks import pgd
from convscope.errors import UsageError
from convscope.probe import Cost
from convscope.robustness import RobustnessCurve, curve

GRID = [0.05, 0.1, 0.15, 0.2, 0.25]


@pytest.mark.slow
def test_equals_one_attack_per_epsilon(digits):
    classifier, images, labels = digits
    found = curve(classifier, images, labels, epsilons=GRID, steps=20)
    for epsilon, accuracy in zip(GRID, found.accuracies[1:].tolist(), strict=True):
        apart = pgd(classifier, images, labels, epsilon=epsilon, steps=20)
        assert accuracy == pytest.approx(1 - float(apart.success.double().mean()), abs=0.03)


def test_begins_at_clean_accuracy_and_never_rises(digits):
    classifier, images, labels = digits
    found = curve(classifier, images, labels, epsilons=GRID, steps=5)
    clean = (classifier.predict(images, top=1).labels[:, 0] == labels).double().mean()
    assert found.accuracies[0] == clean
    assert (found.accuracies.diff() <= 0).all()


def test_costs_less_than_one_attack_per_epsilon(digits):
    classifier, images, labels = digits
    found = curve(classifier, images, labels, epsilons=GRID, steps=20)
    assert found.cost.backwards < 0.6 * len(GRID) * 20 * len(images)


def test_distances_are_within_the_smallest_epsilon(digits):
    classifier, images, labels = digits
    found = curve(classifier, images, labels, epsilons=GRID, steps=5)
    fallen = found.smallest.isfinite()
    assert (found.distances[fallen] <= found.smallest[fallen] + 1e-6).all()
    assert torch.isinf(found.distances[~fallen]).all()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_cost_of_a_summary_is_per_image(count):
    cost = Cost(forwards=24, backwards=8, seconds=0.5)
    found = RobustnessCurve(
        attack="pgd", norm="linf", epsilons=torch.zeros(1), accuracies=torch.ones(1),
        smallest=torch.zeros(count), distances=torch.zeros(count),
        labels=torch.zeros(count).long(), cost=cost, settings={}, flags=(), class_names=("a", "b"),
    )  # fmt: skip
    said = found.summary()
    assert said["images"] == count and said["seconds"] == 0.5
    assert said["forwards_per_image"] * max(count, 1) == 24
    assert said["backwards_per_image"] * max(count, 1) == 8


def test_works_with_other_attacks_and_norms(digits):
    classifier, images, labels = digits
    found = curve(
        classifier, images[:20], labels[:20], epsilons=[0.5, 2.0], norm="l2", attack="apgd", steps=5
    )
    assert found.accuracies[2] < found.accuracies[1] <= found.accuracies[0]


@pytest.mark.parametrize("epsilons", [[], [-0.1], [float("nan")], [8.0]])
def test_u03_nonsense_is_refused(digits, epsilons):
    classifier, images, labels = digits
    with pytest.raises(UsageError) as caught:
        curve(classifier, images, labels, epsilons=epsilons)
    assert caught.value.code == "U03"
