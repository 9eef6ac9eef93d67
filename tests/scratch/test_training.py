import numpy as np
import pytest
import torch

from convscope import scratch
from convscope.errors import NumericalError, UsageError

from .conftest import assert_same

RULES = {
    "sgd": (
        lambda: scratch.SGD(0.05, momentum=0.9, weight_decay=0.1),
        lambda w, b: torch.optim.SGD(
            [{"params": [w], "weight_decay": 0.1}, {"params": [b]}], lr=0.05, momentum=0.9
        ),
    ),
    "adam": (
        lambda: scratch.Adam(0.05),
        lambda w, b: torch.optim.Adam([w, b], lr=0.05),
    ),
    "adam with decay": (
        lambda: scratch.Adam(0.05, weight_decay=0.1),
        lambda w, b: torch.optim.AdamW(
            [{"params": [w], "weight_decay": 0.1}, {"params": [b], "weight_decay": 0.0}], lr=0.05
        ),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_those_of_torch(rule, generator):
    ours, theirs = RULES[rule]
    arrays = {"weight": generator.standard_normal((3, 4)), "bias": generator.standard_normal(3)}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    our_rule, their_rule = ours(), theirs(tensors["weight"], tensors["bias"])
    for _ in range(20):
        gradients = {name: generator.standard_normal(a.shape) for name, a in arrays.items()}
        our_rule.step(arrays, gradients)
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(gradients[name])
        their_rule.step()
    for name, tensor in tensors.items():
        assert_same(arrays[name], tensor.detach())


@pytest.mark.parametrize(
    "make",
    [
        lambda: scratch.SGD(-1.0),
        lambda: scratch.SGD(0.1, momentum=1.0),
        lambda: scratch.Adam(float("nan")),
        lambda: scratch.Adam(0.1, betas=(0.9, 1.5)),
    ],
)
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(UsageError, match="expected: a number"):
        make()


def stripes(number, generator):
    """Small images of vertical or horizontal stripes: a task for a convolution."""
    labels = generator.integers(0, 2, number)
    images = np.zeros((number, 1, 8, 8), np.uint8)
    images[labels == 0, :, ::2] = 200
    images[labels == 1, :, :, ::2] = 200
    return images + generator.integers(0, 40, images.shape, np.uint8), labels


def trained(seed=0, **how):
    generator = np.random.default_rng(seed)
    images, labels = stripes(120, generator)
    network = scratch.build_network(
        "mnist-conv2-bn", generator=generator, num_classes=2, input_shape=(1, 8, 8), filters=4
    )
    how = dict(optimizer=scratch.Adam(0.01), epochs=3, batch_size=16) | how
    curve = scratch.fit(network, images, labels, generator=generator, **how)
    return network, curve


@pytest.mark.parametrize("optimizer", [scratch.Adam(0.01), scratch.SGD(0.05)])
def test_a_small_network_learns_stripes(optimizer):
    held_out = stripes(60, np.random.default_rng(1))
    network, curve = trained(optimizer=optimizer, validation=held_out, warm_up=0.3)
    assert scratch.accuracy(network, *held_out) == curve.accuracies[-1] == 1.0
    assert curve.losses[-1] < curve.losses[0] / 3
    assert len(curve.losses) == len(curve.errors) == 3 * curve.steps_per_epoch == 24
    assert optimizer.learning_rate in (0.01, 0.05)


def test_same_seed_same_weights_and_curve():
    one, first = trained()
    two, second = trained()
    assert (first.losses == second.losses).all()
    assert all((one.parameters[name] == two.parameters[name]).all() for name in one.parameters)
    assert (trained(seed=1)[1].losses != first.losses).any()


def test_every_step_is_reported():
    steps = []
    _, curve = trained(on_step=steps.append)
    assert [step.step for step in steps] == list(range(1, 25))
    assert {step.epoch for step in steps} == {1, 2, 3}
    assert [step.loss for step in steps] == curve.losses.tolist()
    assert steps[-1].steps == 24


def test_a_loss_that_is_no_number_stops_before_the_step(generator):
    network = scratch.Dense(4, 2, generator=generator)
    before = network.parameters["weight"].copy()
    images = np.full((4, 1, 2, 2), np.nan, np.float32)
    with pytest.raises(NumericalError, match="loss is nan in step 1"):
        scratch.fit(
            network,
            images,
            np.zeros(4, np.int64),
            optimizer=scratch.SGD(0.1),
            epochs=1,
            batch_size=4,
            generator=generator,
        )
    assert (network.parameters["weight"] == before).all()


def test_nothing_to_train_on_is_refused(generator):
    network = scratch.Dense(4, 2, generator=generator)
    how = dict(optimizer=scratch.SGD(0.1), generator=generator)
    empty, labels = np.zeros((0, 1, 2, 2), np.float32), np.zeros(0, np.int64)
    with pytest.raises(UsageError, match="0 images"):
        scratch.fit(network, empty, labels, epochs=1, batch_size=4, **how)
    with pytest.raises(UsageError, match="labels have shape"):
        scratch.fit(network, empty, np.zeros(3, np.int64), epochs=1, batch_size=4, **how)


def test_one_cycle_rises_to_one_and_falls_to_zero():
    rates = [scratch.one_cycle(step / 100, 0.3) for step in range(101)]
    assert rates[0] == 0 and rates[30] == 1 and rates[100] == 0
    assert np.diff(rates)[:30].min() > 0 > np.diff(rates)[30:].max()


def test_predictions_do_not_depend_on_the_chunk(monkeypatch, generator):
    from convscope.scratch import _training

    images, _ = stripes(10, generator)
    network, _ = trained()
    whole = scratch.predict(network, images)
    monkeypatch.setattr(_training, "_CHUNK", 3)
    assert np.allclose(scratch.predict(network, images), whole, rtol=0, atol=1e-6)
    assert scratch.predict(network, images[:0]).shape == (0, 2)


@pytest.mark.slow
def test_the_conv2_net_reads_the_built_in_digits():
    from convscope.data import open_dataset

    digits = open_dataset("digits")
    generator = np.random.default_rng(0)
    network = scratch.build_network("mnist-conv2", generator=generator)
    scratch.fit(
        network,
        digits.train.images.numpy(),
        digits.train.labels.numpy(),
        optimizer=scratch.Adam(0.005),
        epochs=10,
        batch_size=32,
        generator=generator,
        warm_up=0.3,
    )
    test = digits.test.images.numpy(), digits.test.labels.numpy()
    assert scratch.accuracy(network, *test) >= 0.97
