"""Every attack says how far it is, so that nobody waits in front of a silent terminal."""

import inspect

import pytest
import torch
from torch import nn

from convscope.attacks import ATTACKS, apply_noise
from convscope.classifier import Classifier
from convscope.progress import stage, watch
from convscope.robustness import curve, evaluate, model_transfer

FEW = {"steps": 3, "queries": 6, "search_steps": 2, "classes": 2, "restarts": 2}


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    classifier = Classifier.wrap(net, input_shape=(1, 8, 8))
    images = torch.rand(6, 1, 8, 8)
    return classifier, images, classifier.predict(images, top=1).labels[:, 0]


def heard_of(call):
    heard = []
    with watch(lambda share, what: heard.append(share)):
        call()
    return heard


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_says_how_far_it_is(case, name):
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    few = {key: value for key, value in FEW.items() if key in parameters}
    # Nothing is fooled within a thousandth: the attack goes all the way.
    few |= {"epsilon": 0.001} if "epsilon" in parameters else {}
    classifier, images, labels = case
    targets = {"targets": (labels + 1) % 3} if "targets" in parameters else {}
    results = []
    heard = heard_of(lambda: results.append(attack(classifier, images, labels, **few, **targets)))
    assert heard and heard == sorted(heard) and heard[0] >= 0 and heard[-1] <= 1
    assert len(set(heard)) >= 2 or int(results[0].steps.max()) <= 1


def test_blocks_and_restarts_are_parts_of_the_whole(case, monkeypatch):
    from convscope.attacks import _blocks

    monkeypatch.setattr(_blocks, "block_rows", lambda shape: 2)
    classifier, images, labels = case
    attack = ATTACKS["pgd"]
    heard = heard_of(lambda: attack(classifier, images, labels, epsilon=0.001, steps=4, restarts=2))
    thirds = [sum(low <= share < low + 1 / 3 for share in heard) for low in (0, 1 / 3, 2 / 3)]
    assert min(thirds) >= 8 and heard[-1] > 0.99


def test_one_step_over_many_large_images_is_not_silent(case, monkeypatch):
    """Where a step takes seconds, its chunks are heard."""
    monkeypatch.setattr("convscope.probe.rows_per_chunk", lambda shape, device: 1)
    classifier, images, labels = case
    heard = heard_of(lambda: ATTACKS["fgsm"](classifier, images, labels, epsilon=0.001))
    assert len(set(heard)) >= 6 and heard[-1] == 1.0


def test_judging_and_transfer_say_how_far_they_are(case):
    classifier, images, labels = case
    heard = heard_of(lambda: evaluate(classifier, images, labels, epsilon=0.001, effort="quick"))
    assert len(set(heard)) > 20 and heard == sorted(heard) and heard[-1] <= 1
    nets = {"a": classifier, "b": classifier}
    heard = heard_of(lambda: model_transfer(nets, images, labels, epsilon=0.001, attack="mi-fgsm"))
    assert min(heard) < 0.1 and 0.5 in heard and max(heard) > 0.9


def test_shares_never_fall_and_stay_where_they_were_promised():
    from convscope.progress import announce

    heard = []
    with watch(lambda share, what: heard.append(share)):
        with stage(0.5, 1.0):
            announce(0.5)
        announce(0.25)
        announce(0.8)
    announce(0.9)
    assert heard == [0.75, 0.75, 0.8]


def test_a_curve_says_how_far_it_is_in_all_rounds_of_its_bisection(case):
    """A round that begins at 0 again would be silent."""
    classifier, images, labels = case
    epsilons = [0.001 * k for k in range(1, 8)]
    heard = heard_of(lambda: curve(classifier, images, labels, epsilons=epsilons, steps=4))
    thirds = [sum(low <= share < low + 1 / 3 for share in heard) for low in (0, 1 / 3, 2 / 3)]
    assert min(thirds) >= 2, heard


def test_a_step_of_deepfool_over_large_images_is_not_silent(case, monkeypatch):
    monkeypatch.setattr("convscope.probe.rows_per_chunk", lambda shape, device: 1)
    classifier, images, labels = case
    heard = heard_of(lambda: ATTACKS["deepfool"](classifier, images, labels, steps=1))
    assert len({share for share in heard if 0 < share < 1}) >= len(images) - 2


def test_adding_noises_says_how_far_it_is(case):
    classifier, images, labels = case
    noises = torch.zeros(3, *images.shape[1:])
    heard = heard_of(lambda: apply_noise(classifier, images, labels, noises=noises))
    assert heard == sorted(heard) and len(set(heard)) >= 4


def test_a_second_method_in_the_same_block_is_heard_too(case):
    classifier, images, labels = case
    heard = []

    def both():
        ATTACKS["pgd"](classifier, images, labels, epsilon=0.001, steps=3)
        heard.append("between")
        ATTACKS["pgd"](classifier, images, labels, epsilon=0.001, steps=3)

    with watch(lambda share, what: heard.append(share)):
        both()
    before, after = heard[: heard.index("between")], heard[heard.index("between") + 1 :]
    assert len(after) == len(before) and before + after == sorted(before + after)
