"""Networks whose explanations can be computed by hand, and one network in four spellings."""

import torch
from torch import nn
from torch.nn import functional as F

from convscope.classifier import Classifier


def linear(shape=(1, 4, 6), classes=3, bias=False, seed=0):
    """Logits are weights times pixels."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=bias))
    weights = net[1].weight.detach().view(classes, *shape)
    return Classifier.wrap(net, input_shape=shape), weights


def pooled(channels=1, side=12, classes=4, seed=0):
    """Convolution, ReLU, global average, logits: takes images of any size."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )
    return Classifier.wrap(net, input_shape=(channels, side, side))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(8 * 9, 20)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(20, 4)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        return self.fc2(self.relu3(self.fc1(x.flatten(1))))


class InPlace(Plain):
    def __init__(self):
        super().__init__()
        self.relu1, self.relu2, self.relu3 = (nn.ReLU(inplace=True) for _ in range(3))


class Functional(Plain):
    def __init__(self):
        super().__init__()
        del self.relu1, self.relu2, self.relu3

    def forward(self, x):
        x = self.pool1(F.relu(self.conv1(x)))
        x = self.pool2(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Shared(Plain):
    def __init__(self):
        super().__init__()
        del self.relu2, self.relu3

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu1(self.conv2(x)))
        return self.fc2(self.relu1(self.fc1(x.flatten(1))))


SPELLINGS = (Plain, InPlace, Functional, Shared)


def spelled(kind):
    """The same weights in another spelling."""
    torch.manual_seed(0)
    net = kind()
    return Classifier.wrap(net, input_shape=(1, 12, 12))
