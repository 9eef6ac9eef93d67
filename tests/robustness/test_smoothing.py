"""Certificates are right where everything is known."""

import math

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.robustness import Certification, certify
from convscope.robustness._smoothing import lower_bound


@pytest.fixture
def half_space():
    """Class 1 where the first pixel is above one half: the smoothed radius is the distance."""
    layer = nn.Linear(4, 2)
    layer.weight.data = torch.tensor([[0.0] * 4, [1.0, 0, 0, 0]])
    layer.bias.data = torch.tensor([0.5, 0.0])
    return Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 2, 2))


def test_the_radius_is_the_distance_to_the_plane(half_space):
    image = torch.tensor([[[[0.9, 0.1], [0.2, 0.3]]]])
    generator = torch.Generator().manual_seed(0)
    found = certify(half_space, image, torch.tensor([1]), std=0.3, draws=20_000,
                    generator=generator)  # fmt: skip
    assert found.predicted.item() == 1
    assert 0.35 < found.radii.item() <= 0.4
    assert found.accuracy_at(0.3) == 1.0 and found.accuracy_at(0.41) == 0.0


def test_near_the_boundary_it_abstains(half_space):
    image = torch.tensor([[[[0.5, 0.1], [0.2, 0.3]]]])
    found = certify(half_space, image, torch.tensor([1]), std=0.3, draws=500,
                    generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert found.predicted.item() == -1 and found.radii.item() == 0.0


def test_the_largest_radius_is_what_the_draws_allow(half_space):
    image = torch.tensor([[[[1.0, 0.1], [0.2, 0.3]]]])
    found = certify(half_space, image, torch.tensor([1]), std=0.05, draws=1000)
    limit = 0.05 * torch.special.ndtri(torch.tensor(0.001 ** (1 / 1000), dtype=torch.float64))
    assert found.radii.item() == pytest.approx(float(limit), rel=1e-5)


def test_the_bound_is_clopper_pearson():
    """At the bound, seeing at least so many votes has probability alpha."""
    n, k, alpha = 40, 33, 0.001
    p = lower_bound(torch.tensor([k]), n, alpha).item()
    tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert tail == pytest.approx(alpha, rel=1e-6)


def test_no_votes_no_bound():
    assert lower_bound(torch.tensor([0]), 100, 0.001).item() == 0.0


def test_so_few_draws_that_nothing_can_be_certified_are_refused(half_space):
    with pytest.raises(UsageError, match="10 draws can never certify"):
        certify(half_space, torch.rand(1, 1, 2, 2), torch.tensor([0]), std=0.1, draws=9 + 1,
                alpha=0.0001)  # fmt: skip


@pytest.mark.parametrize("settings", [{"std": 0.0}, {"std": -1.0}, {"std": float("nan")},
                                      {"std": 0.1, "alpha": 0.0}])  # fmt: skip
def test_nonsense_is_refused(half_space, settings):
    with pytest.raises(UsageError):
        certify(half_space, torch.rand(1, 1, 2, 2), torch.tensor([0]), **settings)


def test_only_images_without_a_class_are_abstentions():
    found = Certification(
        std=0.5, draws=100, alpha=0.001, labels=torch.tensor([0, 0, 1]),
        predicted=torch.tensor([0, -1, 1]), radii=torch.zeros(3),
        votes=torch.zeros(3, dtype=torch.long), forwards=0, seconds=0.0, class_names=("a", "b"),
    )  # fmt: skip
    assert found.summary()["abstained"] == 1


def test_a_radius_that_is_reached_exactly_is_certified():
    found = Certification(
        std=0.5, draws=100, alpha=0.001, labels=torch.tensor([0, 0, 1]),
        predicted=torch.tensor([0, 0, 0]), radii=torch.tensor([0.5, 0.25, 0.5]),
        votes=torch.zeros(3, dtype=torch.long), forwards=0, seconds=0.0, class_names=("a", "b"),
    )  # fmt: skip
    assert found.accuracy_at(0.5) == pytest.approx(1 / 3)
    assert found.accuracy_at(0.25) == pytest.approx(2 / 3) and found.accuracy_at(0.6) == 0.0
