"""Filters, feature maps, targets and foreign maps."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope import results
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer, UsageError
from convscope.explanations import (
    EXPLANATIONS,
    Explanation,
    feature_maps,
    filters,
    grad_cam,
    occlusion,
    saliency,
)
from tests.explanations.nets import Functional, Plain, linear, pooled, spelled


def test_filters_are_stretched_one_by_one():
    classifier = pooled()
    found = filters(classifier)
    assert found.layer == "0" and found.seen_map is None and found.weights.shape == (6, 1, 3, 3)
    flat = found.pictures.flatten(1)
    assert torch.equal(flat.amin(dim=1), torch.zeros(6))
    assert torch.equal(flat.amax(dim=1), torch.ones(6))
    again = found.pictures * (found.high - found.low)[:, None, None, None]
    assert torch.allclose(again + found.low[:, None, None, None], found.weights, atol=1e-6)


def test_a_constant_filter_is_mid_grey():
    classifier = pooled()
    with torch.no_grad():
        classifier.module[0].weight[2] = 0.3
    assert (filters(classifier).pictures[2] == 0.5).all()


def test_first_filters_of_a_color_network_are_colored():
    assert filters(pooled(channels=3)).pictures.shape == (6, 3, 3, 3)


def test_deeper_filters_show_what_sees_one_map():
    classifier = spelled(Plain)
    found = filters(classifier, "conv2", seen_map=5)
    assert torch.equal(found.weights[:, 0], classifier.module.conv2.weight[:, 5])
    assert filters(classifier, "conv2").seen_map == 0
    with pytest.raises(UsageError, match="see no map 8"):
        filters(classifier, "conv2", seen_map=8)


def test_rows_of_filters():
    for count, columns in ((64, 16), (32, 16), (10, 10), (20, 10), (8, 8), (17, 8), (3, 3)):
        net = nn.Sequential(nn.Conv2d(1, count, 3), nn.Flatten())
        assert filters(Classifier.wrap(net, input_shape=(1, 3, 3))).columns == columns


def test_layers_that_hold_no_filters_are_refused():
    with pytest.raises(UnknownLayer, match="conv1, conv2"):
        filters(spelled(Plain), "fc1")
    with pytest.raises(ModelContractError, match="no nn"):
        filters(linear()[0])


def test_feature_maps_are_what_the_layer_says():
    classifier = spelled(Plain)
    images = torch.rand(3, 1, 12, 12)
    found = feature_maps(classifier, images, ["conv1", "pool2"])
    assert torch.allclose(found.layers[0].maps, classifier.module.conv1(images), atol=1e-6)
    assert found.layers[1].maps.shape == (3, 8, 3, 3)
    assert found.named()["pool2"] is found.layers[1] and found.cost.forwards == 4


@pytest.mark.parametrize(
    ("kind", "layers"), [(Plain, ["relu1", "relu2"]), (Functional, ["conv1", "conv2"])]
)
def test_default_layers_are_early_middle_and_late(kind, layers):
    found = feature_maps(spelled(kind), torch.rand(1, 1, 12, 12))
    assert [entry.layer for entry in found.layers] == layers


def test_dead_and_selective_maps_are_pointed_out():
    classifier = pooled()
    with torch.no_grad():
        classifier.module[0].weight.zero_()
        classifier.module[0].bias.fill_(-1.0)
        classifier.module[0].weight[1] = 1.0
    images = torch.zeros(3, 1, 12, 12)
    images[2] = 1.0
    layer = feature_maps(classifier, images, "1").layers[0]
    assert layer.dead.tolist() == [True, False, True, True, True, True]
    assert layer.most_selective[0] == 1 and layer.selectivity[1] == 1 and layer.selectivity[0] == 0


def test_a_layer_without_maps_is_refused():
    with pytest.raises(ModelContractError, match="layers that would do: conv1"):
        feature_maps(spelled(Plain), torch.rand(1, 1, 12, 12), "fc1")
    with pytest.raises(ModelContractError, match="layers that would do: conv1"):
        grad_cam(spelled(Plain), torch.rand(1, 1, 12, 12), layer="fc1")
    with pytest.raises(UnknownLayer, match="pool2"):
        grad_cam(spelled(Plain), torch.rand(1, 1, 12, 12), layer="pool9")


def test_no_images_and_odd_targets_are_refused():
    classifier = pooled()
    with pytest.raises(UsageError, match="no images"):
        saliency(classifier, torch.zeros(0, 1, 12, 12))
    with pytest.raises(UsageError, match="targets are 'every'"):
        saliency(classifier, torch.rand(2, 1, 12, 12), "every")
    with pytest.raises(UsageError, match="shape"):
        saliency(classifier, torch.rand(2, 1, 12, 12), torch.zeros(3, 1).long())


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_several_targets_per_image(method):
    classifier, images = pooled(), torch.rand(2, 1, 12, 12)
    targets = torch.tensor([[3, 1], [0, 2]])
    some = EXPLANATIONS[method](classifier, images, targets).maps
    every = EXPLANATIONS[method](classifier, images, "all").maps
    for row in range(2):
        assert torch.allclose(some[row], every[row, targets[row]], atol=1e-5)


def test_foreign_maps_are_taken_in_any_usual_shape():
    classifier, images = pooled(channels=3), torch.rand(2, 3, 12, 12)
    own = saliency(classifier, images).maps
    for maps in (own[:, 0].numpy(), own, own.double()):
        found = Explanation.wrap(classifier, images, maps, method="captum.LRP")
        assert torch.allclose(found.maps, own) and found.method == "captum.LRP"
    colored = Explanation.wrap(classifier, images, images, method="pixels", targets=1)
    assert torch.allclose(colored.maps, images.sum(dim=1, keepdim=True), atol=1e-6)
    with pytest.raises(UsageError, match="maps have shape"):
        Explanation.wrap(classifier, images, own[:, :, :5], method="cut")
    with pytest.raises(UsageError, match="NaN"):
        Explanation.wrap(classifier, images, np.full((2, 12, 12), np.nan), method="broken")


def test_explanations_are_saved_and_read_back(tmp_path):
    classifier, images = pooled(), torch.rand(2, 1, 12, 12)
    found = occlusion(classifier, images, "all")
    back = results.load(Explanation, results.save(found, tmp_path / "x"))
    assert torch.equal(back.maps, found.maps) and back.settings == found.settings
    assert torch.equal(back.table.of_label, found.table.of_label)
    assert back.cost == found.cost
