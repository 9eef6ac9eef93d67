"""Logits on the way while inner units are maximized."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UnknownLayer, UsageError
from convscope.visualizations import logit_trajectory


def linear():
    """Unit k is pixel k; the logits are the pixels, weighted."""
    first, last = nn.Linear(4, 4, bias=False), nn.Linear(4, 2, bias=False)
    first.weight.data.copy_(torch.eye(4))
    last.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]))
    net = nn.Sequential(nn.Flatten(), first, last)
    return Classifier.wrap(net, input_shape=(1, 2, 2))


def test_on_a_linear_network_only_the_logit_of_the_pixel_rises():
    found = logit_trajectory(linear(), "1:0-1", steps=5, step_size=0.02)
    assert found.logits.shape == (6, 2, 2) and found.activations.shape == (6, 2)
    assert torch.allclose(found.activations[:, 0], found.logits[:, 0, 0], atol=1e-6)
    change = found.change
    assert torch.allclose(change, torch.tensor([[0.1, 0.0], [0.0, 0.2]]), atol=1e-4)


def test_the_last_logits_are_those_of_the_images():
    classifier = linear()
    found = logit_trajectory(classifier, "1:2", steps=3, pull=0.1)
    with classifier.probe() as probe:
        assert torch.allclose(probe.logits(found.images), found.logits[-1], atol=1e-6)
    assert found.logits[0].equal(logit_trajectory(classifier, "1:2", steps=0).logits[-1])


def test_logits_themselves_can_be_maximized():
    found = logit_trajectory(linear(), "logits", steps=2)
    assert torch.allclose(found.activations[:, 1], found.logits[:, 1, 1])


def test_same_seed_same_images():
    twice = [
        logit_trajectory(linear(), "1:0", steps=2, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    assert twice[0].images.equal(twice[1].images)


def test_wrong_layers_units_and_pulls_are_refused():
    with pytest.raises(UnknownLayer):
        logit_trajectory(linear(), "conv9:0")
    with pytest.raises(UsageError, match="no unit 9"):
        logit_trajectory(linear(), "1:9")
    with pytest.raises(UsageError, match="pull must be"):
        logit_trajectory(linear(), "1:0", pull=-1.0)
