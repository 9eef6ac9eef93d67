import numpy as np
import pytest

from convscope import scratch
from convscope.scratch import _check as _checks

CHECKS = scratch.check_gradients()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.name}: {check.quantity}")
def test_every_gradient_agrees_with_central_differences(check):
    assert check.passed, check


def test_every_layer_is_checked():
    kinds = {type(build(np.random.default_rng(0))[0]) for build in _checks.CASES.values()}
    layers = {
        kind
        for kind in vars(scratch).values()
        if isinstance(kind, type) and issubclass(kind, scratch.Layer) and kind is not scratch.Layer
    }
    assert layers <= kinds


class AlmostReLU(scratch.ReLU):
    """A backward pass that is wrong by one part in a million."""

    def backward(self, output_gradient):
        return super().backward(output_gradient) * (1 + 1e-6)


class NoReLU(scratch.ReLU):
    """A backward pass that is no number."""

    def backward(self, output_gradient):
        return super().backward(output_gradient) * np.nan


@pytest.mark.parametrize("broken", [AlmostReLU, NoReLU])
def test_a_wrong_gradient_is_noticed(broken, generator):
    inputs = scratch.apart((3, 4), generator)
    (check,) = scratch.check_layer("broken", broken(), inputs, generator)
    assert not check.passed


def test_a_kink_within_the_first_step_is_settled_by_the_second(generator):
    inputs = np.array([[0.5, 4e-6]])
    (check,) = scratch.check_layer("relu", scratch.ReLU(), inputs, generator)
    assert check.passed
    (check,) = scratch.check_layer("broken", AlmostReLU(), inputs, generator)
    assert not check.passed


@pytest.mark.parametrize("name", scratch.NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_whole_networks_agree_with_central_differences(name, seed):
    generator = np.random.default_rng(seed)
    network = scratch.build_network(
        name, generator=generator, num_classes=2, input_shape=(2, 4, 5), filters=2, dtype=np.float64
    )
    labels, images = np.array([0, 1]), scratch.apart((2, 2, 4, 5), generator)

    def loss():
        return scratch.cross_entropy(network.forward(images, training=True), labels)

    logits = network.forward(images, training=True)
    of_images = network.backward(scratch.cross_entropy_gradient(logits, labels))
    differences = scratch.numerical_gradient(loss, images)
    assert scratch.relative_error(of_images, differences, floor=1e-3) < 1e-6
    for parameter in ("conv1.weight", "conv1.bias", "fc1.bias"):
        variable = network.parameters[parameter]
        differences = scratch.numerical_gradient(loss, variable)
        error = scratch.relative_error(network.gradients[parameter], differences, floor=1e-3)
        assert error < 1e-6


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 24])
def test_numbers_apart_are_neither_equal_nor_near_zero(size, generator):
    numbers = np.sort(scratch.apart((size,), generator))
    assert np.abs(numbers).max() <= 1
    assert np.abs(numbers).min() >= 0.5 / size
    assert (np.diff(numbers) >= 1 / size).all()
