import numpy as np
import pytest
import torch
from hypothesis import given

from convscope import scratch
from convscope.errors import UsageError
from convscope.scratch import naive

from .conftest import assert_same, examples, poolings


@examples(300)
@given(poolings())
def test_max_pool_and_its_ties_are_those_of_torch(case):
    images, how = case
    outputs = scratch.max_pool(images, **how)
    x = torch.tensor(images, requires_grad=True)
    expected = torch.nn.functional.max_pool2d(x, how["size"], how["stride"], how["padding"])
    assert (outputs == expected.detach().numpy()).all()
    dy = np.random.default_rng(0).standard_normal(outputs.shape)
    found = scratch.max_pool_gradient(images, outputs, dy, **how)
    assert_same(found, torch.autograd.grad(expected, x, torch.tensor(dy))[0])


@examples(200)
@given(poolings())
def test_average_pool_is_that_of_torch(case):
    images, how = case
    outputs = scratch.average_pool(images, **how)
    x = torch.tensor(images, requires_grad=True)
    expected = torch.nn.functional.avg_pool2d(x, how["size"], how["stride"], how["padding"])
    assert_same(outputs, expected.detach())
    dy = np.random.default_rng(0).standard_normal(outputs.shape)
    found = scratch.average_pool_gradient(images.shape, dy, **how)
    assert_same(found, torch.autograd.grad(expected, x, torch.tensor(dy))[0])


@examples(60)
@given(poolings(largest=6))
def test_the_fast_versions_agree_with_the_definitions(case):
    images, how = case
    outputs = scratch.max_pool(images, **how)
    assert (outputs == naive.max_pool(images, **how)).all()
    means = scratch.average_pool(images, **how)
    assert_same(means, naive.average_pool(images, **how))
    dy = np.random.default_rng(0).standard_normal(outputs.shape)
    assert_same(
        scratch.max_pool_gradient(images, outputs, dy, **how),
        naive.max_pool_gradient(images, outputs, dy, **how),
    )
    assert_same(
        scratch.average_pool_gradient(images.shape, dy, **how),
        naive.average_pool_gradient(images.shape, dy, **how),
    )


def test_the_first_of_equal_pixels_wins_row_by_row():
    images = np.full((1, 1, 2, 4), 7.0)
    gradient = scratch.max_pool_gradient(images, scratch.max_pool(images), np.ones((1, 1, 1, 2)))
    assert gradient[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_overlapping_windows_add_up_at_a_common_winner():
    images = np.zeros((1, 1, 3, 3))
    images[0, 0, 1, 1] = 1
    outputs = scratch.max_pool(images, size=2, stride=1)
    gradient = scratch.max_pool_gradient(images, outputs, np.ones((1, 1, 2, 2)), size=2, stride=1)
    assert gradient[0, 0].tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 0]]


def test_padding_never_wins_even_over_very_negative_pixels():
    images = np.full((1, 1, 2, 2), -1e30)
    assert (scratch.max_pool(images, size=3, stride=1, padding="same") == -1e30).all()


def test_order_in_memory_is_kept_and_changes_nothing(generator):
    images = generator.standard_normal((2, 3, 6, 6))
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    outputs = scratch.max_pool(channels_last)
    assert (outputs == scratch.max_pool(images)).all()
    assert outputs.transpose(0, 2, 3, 1).flags.c_contiguous


def test_a_pool_larger_than_the_image_is_refused():
    with pytest.raises(UsageError, match="does not fit"):
        scratch.max_pool(np.zeros((1, 1, 2, 2)), size=3)
    with pytest.raises(UsageError, match="outputs have shape"):
        scratch.max_pool_gradient(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4)), np.zeros(1))
