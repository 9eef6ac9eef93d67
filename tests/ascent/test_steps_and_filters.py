import pytest
import torch

from convscope.ascent import (
    adam_step,
    blurred,
    gaussian_blur,
    l2_step,
    momentum_step,
    normalized,
    plain_step,
    sign_step,
    std_step,
)

everyone = torch.arange(4)
gradient = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))


def update(step, g=gradient, k=0, rows=everyone):
    step.start(torch.zeros(4, 3, 5, 6))
    return step(g, k, rows)


def test_lengths_are_what_they_say():
    assert torch.equal(update(sign_step(0.1)).abs(), torch.full_like(gradient, 0.1))
    assert torch.allclose(update(l2_step(0.7)).flatten(1).norm(dim=1), torch.full((4,), 0.7))
    assert torch.allclose(update(std_step(0.2)).flatten(1).std(dim=1), torch.full((4,), 0.2))
    assert torch.equal(update(plain_step(2.0)), 2 * gradient)


@pytest.mark.parametrize("make", [l2_step, std_step, plain_step, sign_step])
def test_u17_a_zero_or_constant_gradient_moves_nothing_to_infinity(make):
    for g in (torch.zeros(4, 3, 5, 6), torch.full((4, 3, 5, 6), 1e-38), torch.ones(4, 3, 5, 6)):
        assert update(make(1.0), g).isfinite().all()
    assert (update(make(1.0), torch.zeros(4, 3, 5, 6)) == 0).all()


def test_sizes_may_differ_per_row_and_per_step():
    sizes = torch.tensor([0.0, 0.1, 0.2, 0.3])
    step = sign_step(sizes)
    assert torch.allclose(step(gradient[2:], 0, everyone[2:]).abs().amax((1, 2, 3)), sizes[2:])
    assert update(sign_step(lambda k: 1.0 / (k + 1)), k=3).abs().max() == 0.25


def test_adam_is_torchs_adam():
    x = torch.zeros(4, 3, 5, 6, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.05, maximize=True)
    step, ours = adam_step(0.05), torch.zeros(4, 3, 5, 6)
    step.start(ours)
    for k in range(5):
        g = gradient * (k - 2)
        x.grad = g.clone()
        optimizer.step()
        ours = ours + step(g, k, everyone)
    assert torch.allclose(ours, x.detach(), atol=1e-6)


@pytest.mark.parametrize("make", [lambda: adam_step(0.1), lambda: momentum_step(sign_step(0.1))])
def test_state_belongs_to_rows_that_may_leave(make):
    whole, part = make(), make()
    zero = torch.zeros(4, 3, 5, 6)
    whole.start(zero)
    part.start(zero)
    whole(gradient, 0, everyone)
    part(gradient, 0, everyone)
    a = whole(gradient.flip(0), 1, everyone)
    b = part(gradient.flip(0)[1::2], 1, everyone[1::2])
    assert torch.equal(a[1::2], b)


def test_start_forgets():
    step = adam_step(0.1)
    assert torch.equal(update(step), update(step))


def test_momentum_with_decay_zero_is_the_plain_direction():
    assert torch.equal(update(momentum_step(sign_step(0.1), decay=0.0)), update(sign_step(0.1)))


def test_normalized_gradients_have_unit_length_and_zero_stays_zero():
    g = gradient.clone()
    g[0] = 0
    out = update(normalized(plain_step(1.0)), g)
    lengths = out.flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([0.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize("std", [0.0, 1e-9, 0.02, 0.3, 1.0, 4.0, 100.0])
def test_u16_any_sigma_keeps_constants_and_makes_no_nan(std):
    x = torch.full((2, 3, 7, 5), 0.25)
    assert torch.allclose(gaussian_blur(x, std), x, atol=1e-6)


def test_blur_spreads_a_point_symmetrically_and_keeps_its_mass():
    x = torch.zeros(1, 1, 21, 21)
    x[0, 0, 10, 10] = 1
    y = gaussian_blur(x, 1.5)
    assert torch.allclose(y.sum(), torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(y, y.flip(2), atol=1e-7) and torch.allclose(y, y.mT, atol=1e-7)
    spread = (y[0, 0].sum(0) * (torch.arange(21) - 10.0) ** 2).sum().sqrt()
    assert abs(spread - 1.5) < 0.05


def test_blurred_shows_the_step_a_smooth_gradient():
    seen = update(blurred(plain_step(1.0), std=lambda k: 2.0))
    assert torch.equal(seen, gaussian_blur(gradient, 2.0))
