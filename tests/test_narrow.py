"""The fast gradient of narrow convolutions is the library's gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope._network.runner import is_narrow, narrow_convolution


@settings(deadline=None, max_examples=60)
@given(
    channels=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    side=st.tuples(st.integers(7, 12), st.integers(7, 12)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_the_library(channels, kernel, padding, side, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(channels, 5, kernel, padding=padding, bias=bias).requires_grad_(False)
    x = torch.randn(3, channels, *side, generator=generator).requires_grad_(True)
    plain = layer(x)
    assert is_narrow(layer)
    fast = narrow_convolution(x, layer)
    assert torch.equal(plain, fast)
    gradient = torch.randn(plain.shape, generator=generator)
    (expected,) = torch.autograd.grad(plain, x, gradient)
    (found,) = torch.autograd.grad(fast, x, gradient)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, stride=2),
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(3, 3, 3, groups=3),
        nn.Conv2d(8, 4, 3),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(3, 4, 3).double(),
        nn.ConvTranspose2d(3, 4, 3),
    ],
    ids=["stride", "dilation", "groups", "wide", "named padding", "circular", "float64", "up"],
)
def test_other_convolutions_are_left_alone(layer):
    assert not is_narrow(layer.requires_grad_(False))


def test_a_layer_that_learns_is_left_alone():
    layer = nn.Conv2d(1, 4, 3)
    y = narrow_convolution(torch.randn(2, 1, 9, 9).requires_grad_(True), layer)
    y.sum().backward()
    assert layer.weight.grad is not None
