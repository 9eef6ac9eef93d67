import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope import scratch
from convscope.errors import UsageError
from convscope.scratch import naive

from .conftest import assert_same, examples


@examples(60)
@given(
    st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_outputs_and_gradients_are_those_of_torch_and_of_the_definition(shape, training, seed):
    generator = np.random.default_rng(seed)
    images, dy = generator.standard_normal(shape), generator.standard_normal(shape)
    scale, shift, mean = (generator.standard_normal(shape[1]) for _ in range(3))
    variance = generator.random(shape[1]) + 0.5
    statistics = None if training else scratch.Moments(mean, variance)
    x, gamma, beta = (torch.tensor(a, requires_grad=True) for a in (images, scale, shift))
    expected = torch.nn.functional.batch_norm(
        x, torch.tensor(mean), torch.tensor(variance), gamma, beta, training=training
    )
    outputs = scratch.batch_norm(images, scale, shift, statistics=statistics)
    # The root of a small variance magnifies rounding errors, in every order of summing.
    assert_same(outputs, expected.detach(), 1e-10)
    assert_same(outputs, naive.batch_norm(images, scale, shift, statistics=statistics), 1e-10)
    theirs = torch.autograd.grad(expected, (x, gamma, beta), torch.tensor(dy))
    found = scratch.batch_norm_gradients(images, scale, dy, statistics=statistics)
    slow = naive.batch_norm_gradients(images, scale, dy, statistics=statistics)
    for ours, loops, torchs in zip(found, slow, theirs, strict=True):
        assert np.allclose(ours, torchs, rtol=1e-9, atol=1e-9)
        assert np.allclose(ours, loops, rtol=1e-9, atol=1e-9)


def test_the_layer_keeps_the_running_averages_of_torch(generator):
    ours, theirs = scratch.BatchNorm(3, dtype=np.float64), torch.nn.BatchNorm2d(3).double()
    for _ in range(4):
        images = 2 + generator.standard_normal((5, 3, 4, 4))
        found, expected = ours.forward(images, training=True), theirs(torch.tensor(images))
        assert_same(found, expected.detach())
    assert_same(ours.constants["running_mean"], theirs.running_mean)
    assert_same(ours.constants["running_var"], theirs.running_var)
    theirs.eval()
    assert_same(ours.forward(images), theirs(torch.tensor(images)).detach())


def test_one_number_per_channel_has_no_variance():
    with pytest.raises(UsageError, match="no variance"):
        scratch.batch_norm(np.zeros((1, 3, 1, 1)), np.ones(3), np.zeros(3))
