import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope import scratch
from convscope.errors import UsageError
from convscope.scratch import naive

from .conftest import assert_same, examples

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))


@examples(50)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_dense_is_that_of_torch_and_of_the_definition(sizes, seed):
    (n, d, k), generator = sizes, np.random.default_rng(seed)
    arrays = [generator.standard_normal(shape) for shape in ((n, d), (k, d), (k,))]
    outputs, dy = scratch.dense(*arrays), generator.standard_normal((n, k))
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = torch.nn.functional.linear(*tensors)
    assert_same(outputs, expected.detach())
    assert_same(outputs, naive.dense(*arrays))
    found = scratch.dense_gradients(*arrays[:2], dy)
    slow = naive.dense_gradients(*arrays[:2], dy)
    theirs = torch.autograd.grad(expected, tensors, torch.tensor(dy))
    for ours, loops, torchs in zip(found, slow, theirs, strict=True):
        assert_same(ours, torchs)
        assert_same(ours, loops)


@examples(50)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_relu_is_that_of_torch_also_at_the_kink(sizes, seed):
    generator = np.random.default_rng(seed)
    inputs = generator.integers(-2, 3, sizes).astype(np.float64)
    dy = generator.standard_normal(sizes)
    x = torch.tensor(inputs, requires_grad=True)
    gradient = torch.autograd.grad(torch.relu(x), x, torch.tensor(dy))[0].numpy()
    assert (scratch.relu(inputs) == np.maximum(inputs, 0)).all()
    assert (scratch.relu(inputs) == naive.relu(inputs)).all()
    assert (scratch.relu_gradient(inputs, dy) == gradient).all()
    assert (naive.relu_gradient(inputs, dy) == gradient).all()


@examples(50)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_cross_entropy_is_that_of_torch_and_of_the_definition(n, k, seed):
    generator = np.random.default_rng(seed)
    logits, labels = 3 * generator.standard_normal((n, k)), generator.integers(0, k, n)
    z = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(z, torch.tensor(labels))
    found = scratch.cross_entropy(logits, labels)
    assert found == pytest.approx(loss.item(), rel=1e-12, abs=1e-12)
    assert found == pytest.approx(naive.cross_entropy(logits, labels), rel=1e-12, abs=1e-12)
    gradient = scratch.cross_entropy_gradient(logits, labels)
    assert np.allclose(gradient, torch.autograd.grad(loss, z)[0], rtol=0, atol=1e-14)
    slow = naive.cross_entropy_gradient(logits, labels)
    assert np.allclose(gradient, slow, rtol=0, atol=1e-14)
    assert np.allclose(scratch.softmax(logits), naive.softmax(logits), rtol=0, atol=1e-14)


def test_huge_logits_do_not_overflow():
    logits = np.array([[1e300, -1e300, 0.0]])
    assert scratch.softmax(logits).tolist() == [[1, 0, 0]]
    assert scratch.cross_entropy(logits, np.array([0])) == 0
    assert np.isfinite(scratch.cross_entropy(np.array([[1e4, 0]]), np.array([1])))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.0, 1.0]])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(UsageError, match="labels are"):
        scratch.cross_entropy(np.zeros((2, 3)), np.array(labels))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="weights have shape"):
        scratch.dense(np.zeros((2, 3)), np.zeros((4, 5)), np.zeros(4))
    with pytest.raises(UsageError, match="biases have shape"):
        scratch.dense(np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(3))
    with pytest.raises(UsageError, match="labels have shape"):
        scratch.cross_entropy(np.zeros((2, 3)), np.zeros(3, np.int64))
    with pytest.raises(UsageError, match="output gradients"):
        scratch.relu_gradient(np.zeros(3), np.zeros(4))
