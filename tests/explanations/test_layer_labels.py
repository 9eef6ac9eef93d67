"""Layers of a Sequential have numbers for names: people are shown their kind as well."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UnknownLayer
from convscope.explanations import feature_maps, filters, grad_cam
from convscope.figures import draw
from convscope.models import summarize
from convscope.visualizations import chosen_recipe, neuron_images

IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def classifier():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    return Classifier.wrap(net, input_shape=(1, 8, 8))


def words_of(figure):
    texts = [text.get_text() for text in figure.findobj(plt.Text)]
    plt.close(figure)
    return " ".join(" ".join(texts).split())


@pytest.mark.parametrize("typed", ["1", "1 (ReLU)", "1(ReLU)"])
def test_the_number_and_the_label_are_the_same_layer(classifier, typed):
    found = grad_cam(classifier, IMAGES, layer=typed)
    assert found.layer == "1" and found.layer_label == "1 (ReLU)"
    assert torch.equal(found.maps, grad_cam(classifier, IMAGES, layer="1").maps)
    assert feature_maps(classifier, IMAGES, [typed]).layers[0].layer == "1"
    recipe = chosen_recipe("zero-l2", None, steps=1)
    grown = neuron_images(classifier, f"{typed}:0-1", recipe=recipe)
    assert grown.layer == "1" and grown.units[0].startswith("1 (ReLU):0")


def test_filters_by_their_label(classifier):
    assert filters(classifier, "0 (Conv2d)").layer_label == "0 (Conv2d)"
    with pytest.raises(UnknownLayer, match=r"this network has 0 \(Conv2d\)"):
        filters(classifier, "3")


def test_figures_and_tables_show_the_kind(classifier):
    assert "at 1 (ReLU)" in words_of(draw(grad_cam(classifier, IMAGES, layer="1")))
    assert "1 (ReLU):" in words_of(draw(feature_maps(classifier, IMAGES, ["1"])))
    assert "0 (Conv2d)" in words_of(draw(filters(classifier)))
    assert summarize(classifier.module, (1, 8, 8)).cells()[0][0] == "0 (Conv2d)"


def test_errors_list_the_kinds(classifier):
    with pytest.raises(UnknownLayer, match=r"0 \(Conv2d\), 1 \(ReLU\), 2 \(MaxPool2d\)"):
        grad_cam(classifier, IMAGES, layer="9")


def test_names_with_words_stay_as_they_are():
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(1, 2, 3))
    net.add_module("flat", nn.Flatten())
    net.add_module("fc", nn.Linear(72, 2))
    named = Classifier.wrap(net, input_shape=(1, 8, 8))
    assert filters(named).layer_label == "conv1"
