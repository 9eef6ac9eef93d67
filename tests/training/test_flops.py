"""Floating-point operations: of one image, and of a run."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.models import MODELS, build
from convscope.training import TrainSettings, train
from convscope.training._batches import Normalize
from convscope.training._flops import forward_flops, training_flops
from convscope.training._objective import build_objective


def test_a_network_counted_by_hand():
    network = build("mnist-conv2-fc")
    by_hand = 2 * 32 * 9 * 28 * 28 + 2 * 32 * 32 * 9 * 14 * 14 + 2 * 1568 * 500 + 2 * 500 * 10
    assert forward_flops(network, (1, 28, 28)) == by_hand


@pytest.mark.parametrize("name", ["cifar-best", "cifar-resnet20", "mnist-conv2-fc-bn"])
def test_the_counter_of_torch_says_the_same(name):
    from torch.utils.flop_counter import FlopCounterMode

    shape, network = MODELS[name].input_shape, build(name).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    assert forward_flops(network, shape) == counter.get_total_flops()


def test_counting_leaves_the_network_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    forward_flops(network.train(), (1, 3, 3))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_run_counts_three_forward_passes_per_image_shown(tmp_path, dataset, settings):
    result = train(settings, dataset, out=tmp_path / "run")
    forward = forward_flops(
        build(settings.model, num_classes=4, input_shape=(1, 12, 12)), (1, 12, 12)
    )
    shown = settings.epochs * (len(dataset.train) // settings.batch_size) * settings.batch_size
    assert result.flops == training_flops(forward, images=shown) == 3 * forward * shown


def test_training_on_validation_images_too_shows_more_and_validates_nothing(
    tmp_path, dataset, settings
):
    both = replace(settings, train_split="train+validation")
    result = train(both, dataset, out=tmp_path / "run")
    assert result.history[-1].step == 2 * ((200 + 60) // 32)
    assert result.history[-1].validation_images == 0
    card = (tmp_path / "run" / "README.md").read_text()
    assert "260 training, 0 validation images" in card
    assert "all were trained on" in card


def test_objectives_know_their_passes():
    def passes(**changes):
        settings = TrainSettings(model="m", data="d", **changes)
        return build_objective(settings, Normalize((0.0,), (1.0,)), steps_per_epoch=4).passes

    attacked = {"epsilon": 0.1, "adversary_steps": 7}
    assert passes() == 1
    assert passes(noise_std=0.1, consistency=1.0) == 2
    assert passes(adversary="pgd", **attacked) == 8
    assert passes(adversary="fgsm-rs", **attacked) == 2
    assert passes(adversary="trades", **attacked) == 9


def test_a_network_that_cannot_take_one_image_or_any_is_no_reason_to_stop():
    class Picky(nn.Module):
        def __init__(self, least):
            super().__init__()
            self.least, self.fc = least, nn.Linear(4, 3)

        def forward(self, x):
            assert len(x) >= self.least
            return self.fc(x.flatten(1))

    assert forward_flops(Picky(1), (1, 2, 2)) == forward_flops(Picky(2), (1, 2, 2)) == 2 * 4 * 3
    assert forward_flops(Picky(3), (1, 2, 2)) == 0
