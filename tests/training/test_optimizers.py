"""What moves, how fast, and what is decayed."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.training import TrainSettings
from convscope.training._optim import (
    EMA,
    Muon,
    build_optimizers,
    load_state_dict,
    lr_scale,
    orthogonalize,
    state_dict,
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "muon"])
def test_only_weights_are_decayed(name):
    module = network()
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.5)
        parameter.grad = torch.zeros_like(parameter)
    settings = TrainSettings(
        model="m", data="d", optimizer=name, learning_rate=0.1, weight_decay=0.1
    )
    for optimizer in build_optimizers(module, settings):
        optimizer.step(1.0)
    for parameter in module.parameters():
        if not (name == "muon" and parameter.ndim == 4):
            assert bool((parameter < 0.5).all()) == (parameter.ndim >= 2)


REFERENCES = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.1, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_optimizers_move_like_those_of_torch(name):
    ours, theirs = (nn.Linear(5, 4, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = TrainSettings(
        model="m", data="d", optimizer=name, learning_rate=0.05, weight_decay=0.1
    )
    (optimizer,) = build_optimizers(ours, settings)
    reference = REFERENCES[name](theirs.parameters())
    images = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        for module in (ours, theirs):
            module.zero_grad()
            module(images).square().mean().backward()
        optimizer.step(1.0)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_muon_moves_filters_and_sgd_the_rest():
    settings = TrainSettings(
        model="m", data="d", optimizer="muon", learning_rate=0.1, nonfilter_lr=0.02
    )
    optimizers = build_optimizers(network(), settings)
    assert [type(optimizer).__name__ for optimizer in optimizers] == ["Muon", "SGD", "SGD"]
    assert [sorted(p.ndim for p in optimizer.parameters) for optimizer in optimizers] == [
        [4],
        [2],
        [1, 1, 1, 1],
    ]
    assert [optimizer.max_lr for optimizer in optimizers] == [0.1, 0.02, 0.02]
    biases = build_optimizers(network(), replace(settings, bias_lr=3.0))[2]
    assert biases.max_lr == 3.0


def test_muon_steps_against_the_gradient_and_keeps_the_norm():
    bank = nn.Parameter(torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
    target = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    optimizer = Muon([bank], lr=0.05, momentum=0.6)
    losses = []
    for _ in range(40):
        bank.grad = None
        loss = -(bank / bank.norm() * target).sum()
        loss.backward()
        losses.append(loss.item())
        optimizer.step(1.0)
    assert losses[-1] < losses[0] - 5
    assert bank.norm().item() == pytest.approx(8**0.5, rel=0.1)


def test_state_goes_out_and_comes_back():
    settings = TrainSettings(model="m", data="d")
    first, second = build_optimizers(network(), settings), build_optimizers(network(), settings)
    for i, value in enumerate(state_dict(first).values()):
        value.fill_(i)
    load_state_dict(second, state_dict(first))
    assert state_dict(second).keys() == state_dict(first).keys()
    assert all(torch.equal(v, state_dict(first)[k]) for k, v in state_dict(second).items())


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_orthogonalize_keeps_singular_vectors_and_levels_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalize(matrix, iterations=5) @ right.T
    values = inside.diagonal()
    assert (inside - torch.diag(values)).abs().max() < 0.05
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_orthogonalize_of_zero_is_zero():
    assert torch.equal(orthogonalize(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("shape", [(3, 4, 9), (3, 9, 4)])
def test_many_matrices_are_orthogonalized_as_one_by_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), one_by_one)
    coarse = orthogonalize(matrices, dtype=torch.bfloat16)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, one_by_one, atol=0.1, rtol=0.1)


def test_muon_treats_every_filter_bank_as_if_it_were_alone():
    generator = torch.Generator().manual_seed(0)
    shapes = [(8, 3, 3, 3), (4, 2, 1, 1), (8, 3, 3, 3), (2, 9, 3, 3)]
    banks = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    alone = [nn.Parameter(bank.detach().clone()) for bank in banks]
    for bank, twin in zip(banks, alone, strict=True):
        bank.grad = torch.randn(bank.shape, generator=generator)
        twin.grad = bank.grad.clone()
    together = Muon(banks, lr=0.1, momentum=0.6)
    separate = [Muon([twin], lr=0.1, momentum=0.6) for twin in alone]
    for _ in range(3):
        for optimizer in (together, *separate):
            optimizer.step(0.5)
    for bank, twin in zip(banks, alone, strict=True):
        torch.testing.assert_close(bank, twin)


def test_the_step_schedule_divides_by_ten_at_one_half_and_three_quarters():
    rates = [lr_scale(k, 64_000, schedule="step", warm_up=0.25) for k in range(64_000)]
    assert [rates.count(rate) for rate in (1.0, 0.1, 0.01)] == [32_000, 16_000, 16_000]
    assert rates == sorted(rates, reverse=True)


def test_plain_momentum_is_that_of_torch():
    ours, theirs = (nn.Linear(5, 4, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = TrainSettings(
        model="m", data="d", optimizer="sgd", learning_rate=0.1, weight_decay=0.1, nesterov=False
    )
    (optimizer,) = build_optimizers(ours, settings)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(4):
        for module in (ours, theirs):
            module.zero_grad()
            module(torch.ones(2, 5)).square().mean().backward()
        optimizer.step(1.0)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_one_cycle_climbs_for_a_quarter_and_ends_at_zero():
    factors = [lr_scale(k, 1000, schedule="one-cycle", warm_up=0.25) for k in range(1000)]
    assert max(range(1000), key=factors.__getitem__) in (249, 250)
    assert factors[-1] < 0.001
    assert all(0 < f <= 1 for f in factors)
    assert lr_scale(7, 10, schedule="constant", warm_up=0.25) == 1


def test_average_includes_batch_norm_statistics():
    module = network()
    ema = EMA(module, decay=0.9)
    module.train()(torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0)))
    ema.after_step(module, 4)
    assert torch.equal(ema.module[1].running_mean, torch.zeros(4))
    ema.after_step(module, 5)
    # After no updates the kept share is (1 + 0) / (10 + 0).
    torch.testing.assert_close(ema.module[1].running_mean, 0.9 * module[1].running_mean)
    assert ema.module[1].num_batches_tracked == 1
    assert not ema.module.training
