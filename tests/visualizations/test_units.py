"""Which units: the words of --units and --at."""

import pytest
import torch

from convscope.errors import UnknownLayer, UsageError
from convscope.visualizations import l2_blur, neuron_images, noise_adam
from convscope.visualizations._problem import feeding_units
from convscope.visualizations._units import select_units
from tests.explanations.nets import Functional, Plain, Shared, spelled


@pytest.mark.parametrize(
    ("spec", "channels"),
    [
        ("logits", [0, 1, 2, 3]),
        ("logits:2", [2]),
        ("pool2:0-3", [0, 1, 2, 3]),
        ("conv1:7,0,2-3", [7, 0, 2, 3]),
        ("fc1:19", [19]),
    ],
)
def test_units_are_read(spec, channels):
    assert select_units(spelled(Plain), spec, "center").channels.tolist() == channels


@pytest.mark.parametrize(
    ("spec", "text"),
    [("pool2:8", "no unit 8"), ("pool2:x", "cannot read 'x'"), ("pool2:3-", "cannot read")],
)
def test_units_that_do_not_exist_are_refused(spec, text):
    with pytest.raises(UsageError, match=text):
        select_units(spelled(Plain), spec, "center")


def test_unknown_layers_list_the_known():
    with pytest.raises(UnknownLayer, match="pool1"):
        select_units(spelled(Plain), "pol1:3", "center")


def test_places_within_a_map():
    classifier, images = spelled(Plain), torch.rand(6, 1, 12, 12)
    with classifier.probe() as probe:
        maps = probe.activations("pool1", images)
    for at, expected in (
        ("mean", maps.mean(dim=(2, 3))),
        ("center", maps[:, :, 3, 3]),
        ((0, 5), maps[:, :, 0, 5]),
    ):
        units = select_units(classifier, "pool1", at)
        assert torch.allclose(units.activations_of(maps), expected)
        own = units.own_activation(maps, torch.tensor([3, 1, 0, 7, 2, 2]))
        assert torch.allclose(own, expected[torch.arange(6), [3, 1, 0, 7, 2, 2]])
    for at in ("corner", (6, 0)):
        with pytest.raises(UsageError, match="at="):
            select_units(classifier, "pool1", at)


def test_what_feeds_a_pooled_neuron_is_the_convolution_before_its_relu():
    classifier = spelled(Plain)
    fed = feeding_units(classifier.layers(), select_units(classifier, "pool2:1,4", (1, 2)))
    assert fed.layer == "conv2" and fed.position == (2, 4) and fed.channels.tolist() == [1, 4]
    assert feeding_units(classifier.layers(), select_units(classifier, "conv1", "center")) is None
    assert feeding_units(classifier.layers(), select_units(classifier, "logits", "center")) is None
    for kind, layer in ((Functional, "pool2"), (Shared, "relu1#1")):
        other = spelled(kind)
        assert feeding_units(other.layers(), select_units(other, layer, "mean")).layer == "conv2"


def test_the_network_stops_at_the_layer():
    classifier = spelled(Plain)
    calls = []
    handle = classifier.module.fc1.register_forward_hook(lambda *_: calls.append(1))
    classifier.describe()  # The first look at a network runs all of it a few times.
    before = len(calls)
    neuron_images(classifier, "pool1:0-1", recipe=noise_adam(steps=20), control=False)
    handle.remove()
    assert len(calls) - before < 10, "20 steps stopped before it; only surveys and final logits"


@pytest.mark.parametrize("layer", ["relu2", "pool2", "fc1", "conv1"])
def test_neuron_images_raise_their_neuron(layer):
    classifier = spelled(Plain)
    found = neuron_images(classifier, f"{layer}:0-5", recipe=l2_blur(steps=40), control=False)
    gray = torch.full((6, 1, 12, 12), 0.5)
    units = select_units(classifier, f"{layer}:0-5", "center")
    with classifier.probe() as probe:
        usual = units.own_activation(probe.activations(layer, gray), torch.arange(6))
        reached = units.own_activation(probe.activations(layer, found.images), torch.arange(6))
    assert torch.allclose(found.activations, reached, atol=1e-5)
    assert ((reached > usual) | found.dead).all()


def test_a_dead_unit_is_called_dead():
    classifier = spelled(Plain)
    with torch.no_grad():
        classifier.module.conv2.weight[3] = 0.0
        classifier.module.conv2.bias[3] = -1.0
    found = neuron_images(classifier, "pool2:2-3", recipe=noise_adam(steps=20), control=False)
    assert found.dead.tolist() == [False, True] and found.activations[1] == 0
