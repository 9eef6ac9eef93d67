"""Networks whose answers can be computed by hand, and one that learned digits."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier


def linear_classifier(weight, bias, shape):
    """A network of one linear layer."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=shape)


@pytest.fixture
def plane():
    """Two classes parted by ``w x = b``, an image of the second, and its distance to the plane.

    All weights differ, pixels are far from 0 and 1, so that the box never cuts.
    """
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(16, generator=generator)
    image = 0.4 + 0.2 * torch.rand(1, 1, 4, 4, generator=generator)
    gap = 0.3
    weight = torch.stack([-w / 2, w / 2])
    offset = float(w @ image.flatten()) - gap
    bias = torch.tensor([offset / 2, -offset / 2])
    return linear_classifier(weight, bias, (1, 4, 4)), image, torch.tensor([1]), w, gap


def learn_digits(change=None, steps=150, seed=0, step=None):
    """A small convolutional network trained on scikit-learn's 8 x 8 digits for about a second."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    labels = torch.from_numpy(data.target).long()
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(seed)
    for k in range(steps):
        rows = torch.randint(0, 1400, (128,), generator=generator)
        x = images[rows] if step is None else step(net, images[rows], labels[rows], k, generator)
        loss = nn.functional.cross_entropy(net(x), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, images[1400:1500], labels[1400:1500]


@pytest.fixture(scope="session")
def digits():
    """A trained classifier, 100 unseen images and their labels."""
    net, images, labels = learn_digits()
    return Classifier.wrap(net, input_shape=(1, 8, 8)), images, labels
