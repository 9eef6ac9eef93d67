"""Where features are: in front of the layer that is proven to be the last."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer
from convscope.resizing import Resize
from convscope.transfer import feature_layer, layer_features
from convscope.transfer._features import network_key

SHAPE = (3, 8, 8)


def wrap(module, **options):
    return Classifier.wrap(module, input_shape=SHAPE, **options)


def conv():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(6, 4),
    )  # fmt: skip


class Functional(nn.Module):
    """Whose ReLU, pooling and order of definition say nothing of what comes last."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 4)
        self.other = nn.Linear(4, 4)
        self.body = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        pooled = self.body(x).relu().mean(dim=(2, 3))
        self.other(self.head(pooled))  # Called last, and not the last.
        return {"logits": self.head(pooled), "pooled": pooled}


class OnePosition(nn.Module):
    """Ends in a convolution of one position."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.head(self.body(x).relu().mean(dim=(2, 3), keepdim=True)).flatten(1)


class Halved(nn.Module):
    """Whose logits are not what its last dense layer returns."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Flatten(), nn.Linear(192, 4)

    def forward(self, x):
        return self.head(self.body(x)) / 2


def features(classifier, images, layer=None):
    where = feature_layer(classifier, layer)
    with classifier.probe() as probe:
        return where, layer_features(probe, images, where)


@pytest.mark.parametrize("net", [conv(), conv().double(), nn.DataParallel(conv())])
def test_what_enters_the_last_layer(net):
    images = torch.rand(3, *SHAPE)
    plain = net.module if isinstance(net, nn.DataParallel) else net
    where, found = features(wrap(net), images)
    with torch.no_grad():
        right = plain[:4](images.to(plain[0].weight.dtype)).float()
    assert where.layer.endswith("5") and where.inputs and where.size == 6
    assert torch.allclose(found, right, atol=1e-6) and bool((found >= 0).all())


def test_a_softmax_behind_the_last_layer_does_not_hide_it():
    net = nn.Sequential(*conv(), nn.Softmax(dim=1))
    assert feature_layer(wrap(net, probabilities=True)).layer == "5"


def test_the_last_layer_is_proven_not_guessed():
    net = Functional()
    classifier = wrap(net, output=lambda returned: returned["logits"])
    images = torch.rand(3, *SHAPE)
    where, found = features(classifier, images)
    with torch.no_grad():
        right = net(images)["pooled"]
    assert where.layer.startswith("head") and torch.allclose(found, right, atol=1e-6)


def test_a_convolution_of_one_position_is_a_dense_layer():
    net, images = OnePosition(), torch.rand(2, *SHAPE)
    where, found = features(wrap(net), images)
    with torch.no_grad():
        right = net.body(images).relu().mean(dim=(2, 3))
    assert (where.layer, where.size) == ("head", 6) and torch.allclose(found, right, atol=1e-6)


def test_without_a_proof_there_are_layers_to_choose_from():
    with pytest.raises(ModelContractError, match="no dense layer of the network") as caught:
        feature_layer(wrap(Halved()))
    assert caught.value.code == "M15" and "--layer" in caught.value.hint
    assert feature_layer(wrap(Halved()), "body").size == 192


def test_maps_of_a_named_layer_are_averaged_over_positions():
    net, images = conv(), torch.rand(3, *SHAPE)
    where, found = features(wrap(net), images, "1 (ReLU)")
    with torch.no_grad():
        right = net[:2](images).mean(dim=(2, 3))
    assert str(where) == "output of 1, 6 numbers (means over positions)"
    assert torch.allclose(found, right, atol=1e-6)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(UnknownLayer, match="no layer named 'fc'"):
        feature_layer(wrap(conv()), "fc")


def normalized(weight=1.0, mean=0.0, kind=nn.ReLU):
    """A fixed network but for what is said."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), kind(), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()  # fmt: skip
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = weight
        net[2].running_mean[0] = mean
    return net


OTHERS = {
    "a weight": lambda: wrap(normalized(weight=1.001)),
    "a statistic": lambda: wrap(normalized(mean=0.001)),
    "a kind of layer": lambda: wrap(normalized(kind=nn.GELU)),
    "the type of numbers": lambda: wrap(normalized().double()),
    "mean": lambda: wrap(normalized(), mean=(0.5,)),
    "std": lambda: wrap(normalized(), std=(0.5,)),
    "the size of images": lambda: Classifier.wrap(normalized(), input_shape=(3, 8, 9)),
    "how files are resized": lambda: replace(
        wrap(normalized()), resize=Resize(shortest=9, crop=(8, 8))
    ),
}


def test_the_key_of_a_cache_holds_all_that_features_depend_on():
    where = feature_layer(wrap(normalized()))
    key = network_key(wrap(normalized()), where)
    assert key == network_key(wrap(normalized()), where)
    for name, make in OTHERS.items():
        assert network_key(make(), where) != key, name
    assert network_key(wrap(normalized()), feature_layer(wrap(normalized()), "1")) != key
