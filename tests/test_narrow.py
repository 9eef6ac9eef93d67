"""The fast gradient of narrow convolutions is the library's gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convscope._narrow import NarrowConvolutions


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
    with NarrowConvolutions():
        fast = layer(x)
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
    ],
    ids=["stride", "dilation", "groups", "wide", "named padding"],
)
def test_other_convolutions_are_left_alone(layer):
    layer.requires_grad_(False)
    x = torch.randn(2, layer.in_channels, 9, 9).requires_grad_(True)
    with NarrowConvolutions():
        y = layer(x)
    assert "Narrow" not in type(y.grad_fn).__name__


def test_a_layer_that_learns_is_left_alone():
    layer = nn.Conv2d(1, 4, 3)
    with NarrowConvolutions():
        y = layer(torch.randn(2, 1, 9, 9).requires_grad_(True))
    y.sum().backward()
    assert layer.weight.grad is not None
