"""Multiplying all logits by a constant changes no decision, so it should change no attack."""

import functools
import inspect
from dataclasses import replace

import pytest
from torch import nn

from convscope.attacks import ATTACKS, deepfool
from convscope.classifier import Classifier

COUNT = 12
SETTINGS = {
    "epsilon": 0.15,
    "steps": 20,
    "queries": 40,
    "search_steps": 5,
    "classes": 3,
}
OWN = {
    "carlini-wagner": {"steps": 30, "search_steps": 5},
    "from-noise": {"steps": 60},
    "added-noise": {"steps": 60},
    "toward-image": {"pull": 20.0, "steps": 60},
}
MEASURING = {
    "ddn": 0.02,
    "deepfool": 0.02,
    "l2-gradient-ascent": 0.02,
    "fab": 0.05,
    "carlini-wagner": 0.1,
}
"""Attacks whose distance is the answer, and how far it may be off. The others take what they may:
of those that stop at a probability, only the scale decides whether it can be had at all."""


class Scaled(nn.Module):
    def __init__(self, module, factor, shift=0.0):
        super().__init__()
        self.module, self.factor, self.shift = module, factor, shift

    def forward(self, x):
        return self.module(x) * self.factor + self.shift


def scaled(classifier, factor, shift=0.0):
    return Classifier(
        module=Scaled(classifier.module, factor, shift),
        class_names=classifier.class_names,
        input_shape=classifier.input_shape,
    )


def run(name, classifier, images, labels):
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    chosen = {k: v for k, v in (SETTINGS | OWN.get(name, {})).items() if k in parameters}
    if name in OWN and "epsilon" not in parameters:
        chosen.pop("epsilon", None)
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        chosen["targets"] = (labels + 1) % 10
    return attack(classifier, images, labels, **chosen)


def measures(result):
    rate = float(result.success.double().mean())
    hit = result.success & ~result.already_misclassified
    return rate, float(result.distance()[hit].median()) if bool(hit.any()) else float("nan")


@pytest.fixture(scope="module")
def plain(digits):
    """What an attack does to the network as it is, once for each name."""
    classifier, images, labels = digits

    @functools.cache
    def measured(name):
        return measures(run(name, classifier, images[:COUNT], labels[:COUNT]))

    return measured


NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name == "auto-attack")) for name in ATTACKS]
"""AutoAttack runs four of the others in turn."""


@pytest.mark.parametrize("factor", [pytest.param(1e-4, marks=pytest.mark.slow), 1e4])
@pytest.mark.parametrize("name", NAMES)
def test_success_and_distance_do_not_depend_on_the_scale(name, factor, digits, plain):
    classifier, images, labels = digits
    found = run(name, scaled(classifier, factor), images[:COUNT], labels[:COUNT])
    rate, distance = measures(found)
    expected_rate, expected_distance = plain(name)
    assert rate == pytest.approx(expected_rate, abs=0.09)
    if name in MEASURING:
        assert distance == pytest.approx(expected_distance, rel=MEASURING[name])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_walks_alike_at_every_scale(digits, norm):
    classifier, images, labels = digits
    images, labels = images[:20], labels[:20]
    medians = {}
    for factor in (1e-6, 1e-4, 1.0, 1e6):
        result = deepfool(scaled(classifier, factor), images, labels, norm=norm)
        assert result.success.all(), factor
        medians[factor] = float(result.distance(norm).median())
    assert medians == pytest.approx(dict.fromkeys(medians, medians[1.0]), rel=0.01)


def test_deepfool_does_not_mind_a_constant(digits):
    classifier, images, labels = digits
    plain = deepfool(classifier, images[:20], labels[:20])
    moved = deepfool(scaled(classifier, 1.0, 1000.0), images[:20], labels[:20])
    assert moved.success.all()
    assert float(moved.distance().median()) == pytest.approx(
        float(plain.distance().median()), rel=0.02
    )
    assert replace(plain, flags=()).flags == ()
