import numpy as np
import pytest

from convscope import scratch
from convscope.errors import UsageError

from .conftest import assert_same


def small_network(generator):
    return scratch.build_network(
        "mnist-conv2-fc-bn",
        generator=generator,
        input_shape=(1, 8, 8),
        filters=3,
        mean=(0.1,),
        std=(0.3,),
        dtype=np.float64,
    )


def test_parameters_are_named_after_their_layers(generator):
    network = scratch.build_network("mnist-conv2-fc-bn", generator=generator)
    assert list(network.layers) == (
        ["conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "pool2", "fc1", "relu3", "fc2"]
    )
    assert list(network.parameters)[:4] == ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"]
    assert list(network.constants)[:2] == ["bn1.running_mean", "bn1.running_var"]


@pytest.mark.parametrize(
    "name, count",
    [("mnist-conv1", 63_050), ("mnist-conv2", 25_258), ("mnist-conv2-fc", 799_078)],
)
def test_networks_have_the_parameters_of_the_documents(name, count, generator):
    assert scratch.build_network(name, generator=generator).parameter_count == count


def test_training_needs_no_gradient_of_the_images(generator):
    network, images = small_network(generator), generator.random((4, 1, 8, 8))
    dy = generator.standard_normal((4, 10))
    network.forward(images, training=True)
    network.backward(dy)
    whole = dict(network.gradients)
    network.backward_to_parameters(dy)
    assert network.gradients.keys() == network.parameters.keys() == whole.keys()
    for name, gradient in network.gradients.items():
        assert_same(gradient, whole[name])


def test_normalization_is_part_of_the_gradient_of_the_images(generator):
    network, images = small_network(generator), generator.random((2, 1, 8, 8))
    dy = generator.standard_normal((2, 10))
    network.forward(images)
    found = network.backward(dy)
    differences = scratch.numerical_gradient(
        lambda: float((network.forward(images) * dy).sum()), images
    )
    assert scratch.relative_error(found, differences) < 1e-6


def test_backward_before_forward_is_refused(generator):
    for layer in (scratch.ReLU(), scratch.MaxPool(), scratch.Dense(2, 2, generator=generator)):
        with pytest.raises(UsageError, match="before any forward"):
            layer.backward(np.zeros((1, 2)))


def test_a_network_needs_layers_and_a_known_name(generator):
    with pytest.raises(UsageError, match="without layers"):
        scratch.Sequential({})
    with pytest.raises(UsageError, match="did you mean mnist-conv1"):
        scratch.build_network("mnist-conf1", generator=generator)


def test_same_seed_same_weights():
    one, two = (
        scratch.build_network("mnist-conv1", generator=np.random.default_rng(7)) for _ in range(2)
    )
    assert all((one.parameters[name] == two.parameters[name]).all() for name in one.parameters)


def test_the_inception_block_saves_parameters_and_keeps_the_shape(generator):
    sizes = dict(in_channels=192, ones=64, threes=128, fives=32, pool=32, generator=generator)
    reduced, plain = scratch.Inception(**sizes, reduce3=96, reduce5=16), scratch.Inception(**sizes)
    images = generator.standard_normal((1, 192, 4, 4), dtype=np.float32)
    assert reduced.forward(images).shape == plain.forward(images).shape == (1, 256, 4, 4)
    assert (reduced.parameter_count, plain.parameter_count) == (163_696, 393_472)


def test_the_inception_block_is_its_four_branches(generator):
    block = scratch.Inception(3, ones=2, threes=3, fives=2, pool=1, generator=generator)
    images = generator.standard_normal((2, 3, 6, 6), dtype=np.float32)
    outputs = block.forward(images)
    p = block.parameters
    for channels, name, size in (
        (slice(0, 2), "ones.conv1", 1),
        (slice(2, 5), "threes.conv3", 3),
        (slice(5, 7), "fives.conv5", 5),
    ):
        kernels, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        assert kernels.shape[2:] == (size, size)
        expected = scratch.relu(scratch.convolve(images, kernels, bias, padding="same"))
        assert_same(outputs[:, channels], expected, 1e-6)
    pooled = scratch.max_pool(images, size=3, stride=1, padding="same")
    expected = scratch.relu(scratch.convolve(pooled, p["pool.conv1.weight"]))
    assert_same(outputs[:, 7:], expected, 1e-6)
