"""Exchanging ReLU and max-pooling changes no bit, and nothing remains exchanged."""

import pytest
import torch
from torch import nn

from convscope._pool_first import pool_first
from convscope.classifier import Classifier
from convscope.models import build


def names(module):
    return [name for name, _ in module.named_children()]


@pytest.mark.parametrize("seed", range(5))
def test_values_and_gradients_are_equal_to_the_bit(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    )
    # Few levels: many ties, many maxima that are not positive.
    images = torch.randint(-2, 3, (6, 2, 6, 6)).float().requires_grad_(True)
    net[0].weight.data = net[0].weight.data.sign()
    plain = net(images)
    with pool_first(net):
        assert names(net) == ["0", "2", "1", "3", "4"]
        fast = net(images)
    assert torch.equal(plain, fast)
    direction = torch.randn(6, 4)
    one = torch.autograd.grad(plain, images, direction)[0]
    assert torch.equal(one, torch.autograd.grad(fast, images, direction)[0])


def test_the_order_comes_back_also_after_an_error():
    net = build("mnist-conv2-fc", num_classes=10, input_shape=(1, 28, 28))
    before, kept = names(net), net._modules
    with pytest.raises(KeyboardInterrupt), pool_first(net):
        assert names(net) != before
        raise KeyboardInterrupt
    assert names(net) == before and net._modules is kept


def test_a_layer_that_someone_listens_to_stays_in_place():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    seen = []
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    with pool_first(net):
        assert names(net) == ["0", "1"]


class Skipping(nn.Sequential):
    def forward(self, x):
        y = self[0](x)
        return self[1](y) + nn.functional.avg_pool2d(y, 2)


def test_sequences_with_a_forward_of_their_own_are_left_alone():
    net = Skipping(nn.ReLU(), nn.MaxPool2d(2))
    with pool_first(net):
        assert names(net) == ["0", "1"]


def test_the_probe_uses_it_and_layers_keep_their_order():
    net = build("mnist-conv1", num_classes=10, input_shape=(1, 28, 28))
    classifier = Classifier.wrap(net, input_shape=(1, 28, 28))
    images = torch.rand(2, 1, 28, 28)
    with classifier.probe() as probe:
        seen = probe.at_many(["relu1", "pool1"], images)
        assert seen["relu1"].shape[-1] == 28 and seen["pool1"].shape[-1] == 14
        assert torch.allclose(probe.logits(images), net(images), atol=1e-5)
    assert names(net)[:3] == ["conv1", "relu1", "pool1"]
