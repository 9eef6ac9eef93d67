"""Photos fooled toward a class, plainly and over transformations, and what survives of both."""

import pytest
import torch

from convscope import results
from convscope.attacks import pgd
from convscope.robustness import Survival, survival, transformation_robustness


@pytest.fixture(scope="module")
def fooled(digits):
    classifier, images, labels = digits
    found = survival(
        classifier, images[:6], labels[:6], targets=(labels[:6] + 1) % 10, epsilon=0.3,
        steps=12, eot_samples=4,
    )  # fmt: skip
    return classifier, found


def test_the_plain_half_is_pgd_that_keeps_the_best_point(digits, fooled):
    classifier, images, labels = digits
    made = pgd(classifier, images[:6], labels[:6], targets=(labels[:6] + 1) % 10, epsilon=0.3,
               steps=12, keep="best")  # fmt: skip
    assert torch.equal(fooled[1].plain.quantized, made.quantized)


def test_both_halves_stay_within_epsilon_as_bytes_and_go_to_the_same_targets(fooled):
    found = fooled[1]
    assert (found.plain.distance_quantized("linf") <= 0.3 + 1e-6).all()
    assert (found.eot.distance_quantized("linf") <= 0.3 + 1e-6).all()
    assert torch.equal(found.plain.targets, found.eot.targets)
    assert found.eot.settings["eot_samples"] == 4


def test_probabilities_are_means_over_images_and_transformations_of_the_8_bit_images(fooled):
    classifier, found = fooled
    table = transformation_robustness(classifier, found.eot)
    changed = table.target_probabilities[1:]
    assert found.mean_probabilities[1] == pytest.approx(float(changed.mean()), abs=1e-6)
    told = found.summary()["target_probability_eot"]
    assert told["none"] == pytest.approx(float(table.target_probabilities[0].mean()), abs=1e-6)
    assert found.mean_probabilities[1] > found.mean_probabilities[0]


def test_survival_of_both_is_saved_and_read_back(fooled, tmp_path):
    results.save(fooled[1], tmp_path / "s")
    read = results.load(Survival, tmp_path / "s")
    assert torch.equal(read.eot.quantized, fooled[1].eot.quantized)
