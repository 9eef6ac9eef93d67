"""What moves, how fast, and what is decayed."""

import pytest
import torch
from torch import nn

from convscope.training import Muon, TrainSettings
from convscope.training._average import Average
from convscope.training._muon import orthogonalize
from convscope.training._optimizers import build_optimizers, set_learning_rate
from convscope.training._schedule import learning_rate_factor


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_only_weights_are_decayed(optimizer):
    module = network()
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.5)
        parameter.grad = torch.zeros_like(parameter)
    settings = TrainSettings(
        model="m", data="d", optimizer=optimizer, learning_rate=0.1, weight_decay=0.1
    )
    for built in build_optimizers(module, settings):
        built.step()
    for parameter in module.parameters():
        shrunk = bool((parameter < 0.5).all())
        assert shrunk == (parameter.ndim >= 2)


def test_muon_moves_filters_and_sgd_the_rest():
    module = network()
    settings = TrainSettings(
        model="m", data="d", optimizer="muon", learning_rate=0.1, other_learning_rate=0.02
    )
    muon, sgd = build_optimizers(module, settings)
    assert [p.ndim for group in muon.param_groups for p in group["params"]] == [4]
    assert sorted(p.ndim for group in sgd.param_groups for p in group["params"]) == [1, 1, 1, 1, 2]
    assert set_learning_rate([muon, sgd], 0.5) == 0.05
    assert {group["lr"] for group in sgd.param_groups} == {0.01}


def test_muon_steps_against_the_gradient_and_keeps_the_norm():
    bank = nn.Parameter(torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    target = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    optimizer = Muon([bank], lr=0.05)
    gaps = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = -(bank / bank.norm() * target).sum()
        loss.backward()
        gaps.append(loss.item())
        optimizer.step()
    assert gaps[-1] < gaps[0] - 5
    assert bank.norm().item() == pytest.approx(8**0.5, rel=0.1)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_orthogonalize_keeps_singular_vectors_and_levels_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalize(matrix, steps=5) @ right.T
    values = inside.diagonal()
    assert (inside - torch.diag(values)).abs().max() < 0.05
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_orthogonalize_of_zero_is_zero():
    assert torch.equal(orthogonalize(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_one_cycle_climbs_for_a_quarter_and_ends_at_zero():
    factors = [
        learning_rate_factor(k, 1000, schedule="one-cycle", warm_up=0.25) for k in range(1000)
    ]
    assert max(range(1000), key=factors.__getitem__) in (249, 250)
    assert factors[-1] < 0.001
    assert all(0 < f <= 1 for f in factors)
    assert learning_rate_factor(7, 10, schedule="constant", warm_up=0.25) == 1


def test_average_includes_batch_norm_statistics():
    module = network()
    average = Average(module, decay=0.9)
    module.train()(torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    average.after_step(module, 4)
    assert torch.equal(average.module[1].running_mean, torch.zeros(4))
    average.after_step(module, 5)
    # After no updates the kept share is (1 + 0) / (10 + 0).
    torch.testing.assert_close(average.module[1].running_mean, 0.9 * module[1].running_mean)
    assert average.module[1].num_batches_tracked == 1
    assert not average.module.training
