from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from convscope.errors import UsageError
from convscope.training._batches import Batches
from convscope.training._objective import consistency_loss
from convscope.training._process import World


def test_copies_that_agree_cost_cross_entropy_and_half_the_entropy():
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 4
    p = logits.softmax(1)
    expected = F.cross_entropy(logits, labels) - 0.5 * (p * p.log()).sum(1).mean()
    for weight in (0.0, 20.0):
        found = consistency_loss(torch.cat([logits, logits]), labels, weight)
        assert torch.allclose(found, expected)


def test_disagreement_costs_the_divergence_of_the_mean_from_each():
    a, b = torch.tensor([0.9, 0.1]).double(), torch.tensor([0.3, 0.7]).double()
    mean = (a + b) / 2
    divergence = ((mean * (mean / a).log()).sum() + (mean * (mean / b).log()).sum()) / 2
    logits, labels = torch.stack([a, b]).log(), torch.tensor([1])
    more = consistency_loss(logits, labels, 3.0) - consistency_loss(logits, labels, 0.0)
    assert torch.allclose(more, 3.0 * divergence)


def test_two_different_noises_on_the_same_image(dataset, settings):
    settings = replace(settings, noise_std=0.1, consistency=5.0)
    images, labels = Batches(dataset.train, settings, World()).load(0, 0)
    clean, _ = Batches(
        dataset.train, replace(settings, noise_std=0.0, consistency=0.0), World()
    ).load(0, 0)
    first, second = images.chunk(2)
    assert len(images) == 2 * len(labels)
    for noisy in (first, second):
        assert abs(float((noisy - clean).std()) - 0.1) < 0.005
    assert float(((first - clean) * (second - clean)).mean()) < 0.001


def test_two_processes_share_both_copies(dataset, settings):
    settings = replace(settings, noise_std=0.1, consistency=5.0)
    whole = Batches(dataset.train, settings, World()).load(0, 1)[0].chunk(2)
    for rank in (0, 1):
        mine = Batches(dataset.train, settings, World(rank, 2)).load(0, 1)[0].chunk(2)
        for all_rows, own in zip(whole, mine, strict=True):
            assert torch.equal(own, all_rows[rank::2])


def test_needs_noise_and_no_adversary(settings):
    with pytest.raises(UsageError, match="consistency is 5 with noise_std 0"):
        replace(settings, consistency=5.0)
    with pytest.raises(UsageError, match="no adversary"):
        replace(settings, consistency=5.0, noise_std=0.5, adversary="pgd", epsilon=0.1)
