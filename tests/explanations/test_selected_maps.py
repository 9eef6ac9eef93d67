"""Which maps of a deep network are shown: closed forms of the rule, and what is shown of them."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UnknownLayer, UsageError
from convscope.explanations import feature_maps, interest, selected_maps


def test_flat_maps_have_no_interest_and_a_dot_has_little():
    maps = torch.zeros(1, 4, 8, 8)
    maps[0, 1] += 3.0
    maps[0, 2, 2, 5] = 1.0
    maps[0, 3, 2:5, 2:5] = 1.0
    found = interest(maps)[0]
    assert found[0] == found[1] == 0 and 0 < found[2] < 0.05 < found[3]


def test_the_product_of_selectivity_spread_and_strength():
    """A quarter of 16 positions answers with 1: 1 - 1/4, a spread of 1/4, alone in its layer."""
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, :2, :2] = 1.0
    assert float(interest(maps)) == pytest.approx(0.75 * 0.25 * 0.5)


def test_scale_and_offset_of_a_layer_and_the_sign_of_a_map_change_nothing():
    maps = torch.rand(2, 6, 9, 9).pow(3)
    right = interest(maps)
    assert torch.allclose(interest(5 * maps - 2), right, atol=1e-5)
    assert torch.allclose(interest(-maps), right, atol=1e-5)
    assert bool((right >= 0).all()) and bool((right <= 1).all())


def test_maps_that_hardly_answer_come_last():
    maps = torch.rand(1, 1, 9, 9).pow(3).repeat(1, 3, 1, 1)
    maps[0, 0] *= 0.01
    found = interest(maps)[0]
    assert found[0] < 0.1 * found[1] and found[1] == found[2]


def network(filters, side=16):
    """A convolution whose filters are given."""
    conv = nn.Conv2d(1, len(filters), 3, padding=1, bias=False)
    conv.weight.data = torch.stack(filters)[:, None]
    net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(len(filters) * side**2, 2))
    return Classifier.wrap(net, input_shape=(1, side, side))


def filter_of(down, right):
    weight = torch.zeros(3, 3)
    weight[1, 1], weight[1 + down, 1 + right] = 1.0, -1.0
    return weight


def test_copies_come_after_what_is_new():
    edge, other = filter_of(0, 1), filter_of(1, 0)
    classifier = network([edge, 1.01 * edge, other, torch.zeros(3, 3)])
    found = selected_maps(classifier, torch.rand(3, 1, 16, 16), "1", count=3).layers[0]
    assert [sorted(row[:2]) for row in found.channels.tolist()] == [[1, 2]] * 3
    assert found.channels[:, 2].tolist() == [0] * 3


def test_the_maps_are_those_of_feature_maps():
    classifier = network([filter_of(0, 1), filter_of(1, 0), filter_of(1, 1)])
    images = torch.rand(40, 1, 16, 16)
    found, every = selected_maps(classifier, images, "1", count=2), feature_maps(classifier, images)
    layer, whole = found.layers[0], every.layers[0]
    assert (layer.layer, layer.of, layer.receptive_field) == (whole.layer, 3, (3, 3))
    for row in range(40):
        assert torch.equal(layer.maps[row], whole.maps[row, layer.channels[row]])
    assert torch.equal(layer.interest, interest(whole.maps).gather(1, layer.channels))
    assert selected_maps(classifier, images).layers[0].maps.shape[1] == 3


def test_receptive_fields_are_said_where_they_are_known():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    classifier = Classifier.wrap(net, input_shape=(3, 20, 20))
    found = selected_maps(classifier, torch.rand(1, 3, 20, 20))
    assert [layer.receptive_field for layer in found.layers] == [(3, 3), (7, 7), (11, 11)]
    changed = Classifier.wrap(net, input_shape=(3, 20, 20), preprocess=lambda x: 2 * x)
    found = selected_maps(changed, torch.rand(1, 3, 20, 20))
    assert [layer.receptive_field for layer in found.layers] == [None] * 3


def test_what_cannot_be_is_refused():
    classifier = network([filter_of(0, 1)])
    images = torch.rand(1, 1, 16, 16)
    with pytest.raises(UsageError, match="count is 0"):
        selected_maps(classifier, images, count=0)
    with pytest.raises(UnknownLayer, match="no layer named 'conv'"):
        selected_maps(classifier, images, "conv")
