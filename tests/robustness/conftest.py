"""A trained classifier of small digits, and broken defenses around it."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from tests.attacks.conftest import learn_digits


@pytest.fixture(scope="session")
def digits():
    """A trained classifier, 100 unseen images and their labels."""
    net, images, labels = learn_digits()
    return Classifier.wrap(net, input_shape=(1, 8, 8)), images, labels


class Before(nn.Module):
    """A function in front of a network."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x):
        return self.net(self.change(x))


class After(nn.Module):
    """A function behind a network."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x):
        return self.change(self.net(x))


def single_steps(net, images, labels, k, generator):
    """Adversarial training by one long step from the image: it overfits to that step."""
    x = images.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(net(x), labels)
    (gradient,) = torch.autograd.grad(loss, x)
    return (images + 0.4 * gradient.sign()).clamp(0, 1)
