"""Whitening filters: uncorrelated outputs, always the same, never trained."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.data import Split
from convscope.models import build
from convscope.training import train
from convscope.training._batches import Normalize
from convscope.training._whitening import EPSILON, patch_whitening, whiten


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(0)
    smooth = nn.functional.interpolate(
        torch.rand(200, 3, 4, 4, generator=generator), size=12, mode="bilinear"
    )
    noisy = smooth + 0.2 * torch.rand(200, 3, 12, 12, generator=generator)
    images = (noisy / noisy.max() * 255).to(torch.uint8)
    return Split(name="train", images=images, labels=torch.zeros(200, dtype=torch.int64))


NORMALIZE = Normalize((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def test_outputs_are_uncorrelated_and_of_equal_power(split):
    filters = patch_whitening(split, NORMALIZE, side=2)
    outputs = nn.functional.conv2d(NORMALIZE(split.to_float()), filters)
    flat = outputs.transpose(0, 1).flatten(1)
    power = flat @ flat.T / flat.shape[1]
    off = power - torch.diag(power.diagonal())
    assert off.abs().max() < 0.01
    # Directions of hardly any variance are damped, the others have power 1.
    variances = 1 / filters.flatten(1).square().sum(1) - EPSILON
    damped = variances / (variances + EPSILON)
    torch.testing.assert_close(power.diagonal(), damped, rtol=1e-3, atol=1e-3)


def test_half_of_the_filters_are_the_negatives_of_the_others(split):
    layer = nn.Conv2d(3, 24, 2, bias=False)
    whiten(layer, split, NORMALIZE)
    first, second = layer.weight.chunk(2)
    assert torch.equal(first, -second)
    assert torch.equal(first, patch_whitening(split, NORMALIZE, side=2))


def test_constant_images_give_finite_filters():
    images = torch.full((10, 1, 12, 12), 7, dtype=torch.uint8)
    split = Split(name="train", images=images, labels=torch.zeros(10, dtype=torch.int64))
    assert patch_whitening(split, Normalize((0.0,), (1.0,)), side=2).isfinite().all()


def test_a_run_whitens_before_its_first_step_and_never_trains_the_filters(
    tmp_path, dataset, settings
):
    settings = replace(settings, model="cifar-best-quick", optimizer="muon", learning_rate=0.05)
    result = train(settings, dataset, out=tmp_path / "run")
    mean, std = dataset.mean_std()
    filters = patch_whitening(dataset.train, Normalize(mean, std), side=2)
    trained = result.classifier.module.get_submodule("conv1").weight
    assert torch.equal(trained, torch.cat([filters, -filters]))


def test_first_filters_of_3x3_pass_their_input_on():
    network = build("cifar-best-quick")
    for name in ("conv2", "conv4", "conv7"):
        weight = network.get_submodule(name).weight
        kept = min(weight.shape[:2])
        rest = weight[:kept].detach().clone()
        rest[:, :kept, 1, 1] -= torch.eye(kept)
        assert 0 < rest.abs().max() <= 0.01 / weight[0].numel() ** 0.5


def test_a_run_trains_neither_whitening_filters_nor_scales(tmp_path, dataset, settings):
    settings = replace(settings, model="cifar-best-quick", learning_rate=0.05)
    network = train(settings, dataset, out=tmp_path / "run").classifier.module
    for name in ("bn2", "bn7"):
        norm = network.get_submodule(name)
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert not torch.equal(norm.bias, torch.zeros_like(norm.bias))
