"""On linear networks every map can be written down."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations import (
    EXPLANATIONS,
    grad_cam,
    hires_cam,
    input_times_gradient,
    integrated_gradients,
    layer_cam,
    occlusion,
    rise,
    saliency,
    smooth_grad,
)
from tests.explanations.nets import SPELLINGS, linear, pooled, spelled


@pytest.fixture
def images():
    return torch.rand(5, 1, 4, 6, generator=torch.Generator().manual_seed(1))


def test_saliency_of_a_linear_network_is_the_size_of_its_weights(images):
    classifier, weights = linear()
    maps = saliency(classifier, images, "all").maps
    assert torch.allclose(maps, weights[:, 0].abs().expand_as(maps), atol=1e-6)


def test_saliency_takes_the_largest_color():
    classifier, weights = linear(shape=(3, 4, 6))
    maps = saliency(classifier, torch.rand(2, 3, 4, 6), 1).maps
    assert torch.allclose(maps[0, 0], weights[1].abs().amax(dim=0), atol=1e-6)


def test_saliency_is_per_pixel_not_per_normalized_pixel(images):
    classifier, weights = linear()
    scaled = Classifier.wrap(classifier.module, input_shape=(1, 4, 6), mean=(0.5,), std=(0.25,))
    maps = saliency(scaled, images, 0).maps[:, 0]
    assert torch.allclose(maps, 4 * weights[0].abs().expand_as(maps), atol=1e-5)


def test_input_times_gradient_of_a_linear_network_sums_to_the_logit(images):
    classifier, weights = linear()
    maps = input_times_gradient(classifier, images, "all").maps
    assert torch.allclose(maps, images * weights[:, 0], atol=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_smoothing_without_noise_is_the_gradient(case, squared):
    classifier, images, _ = case
    smooth = smooth_grad(classifier, images, "all", std=0.0, num_samples=3, squared=squared).maps
    plain = saliency(classifier, images, "all").maps
    assert torch.allclose(smooth, plain.square() if squared else plain, atol=1e-5)


def test_smooth_maps_do_not_depend_on_neighbors(case):
    classifier, images, _ = case
    together = smooth_grad(classifier, images, 1).maps
    assert torch.allclose(together[4:5], smooth_grad(classifier, images[4:5], 1).maps, atol=1e-6)


def test_rise_does_not_depend_on_neighbors(case):
    classifier, images, _ = case
    together = rise(classifier, images, 1, masks=40).maps
    alone = rise(classifier, images[4:5], 1, masks=40).maps
    assert torch.allclose(together[4:5], alone, atol=1e-6)


@pytest.mark.parametrize("setting", ["masks", "cells"])
def test_rise_takes_one_of_each_and_not_less(case, setting):
    classifier, images, _ = case
    assert rise(classifier, images[:1], 1, **{"masks": 4, setting: 1}).maps.isfinite().all()
    with pytest.raises(UsageError, match=f"{setting}=0"):
        rise(classifier, images[:1], 1, **{"masks": 4, setting: 0})


@pytest.mark.parametrize("baseline", ["mean", "blur", 0.0, 0.5])
def test_integrated_gradients_of_a_linear_network_need_one_step(images, baseline):
    classifier, weights = linear(bias=True)
    found = integrated_gradients(classifier, images, "all", steps=1, baseline=baseline)
    assert (found.evidence["steps"] == 1).all() and found.evidence["completeness"].max() < 1e-4
    if baseline == 0.5:
        assert torch.allclose(found.maps, (images - 0.5) * weights[:, 0], atol=1e-6)


def test_integrated_gradients_double_only_what_is_poor():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 60), nn.ReLU(), nn.Linear(60, 3))
    classifier = Classifier.wrap(net, input_shape=(1, 4, 6))
    images = torch.rand(40, 1, 4, 6, generator=torch.Generator().manual_seed(2))
    fixed = integrated_gradients(classifier, images, 0, steps=2, tolerance=None)
    adapted = integrated_gradients(classifier, images, 0, steps=2, tolerance=0.01)
    poor = fixed.evidence["completeness"] > 0.01
    assert poor.any() and not poor.all()
    assert torch.equal(adapted.evidence["steps"] > 2, poor)
    assert torch.equal(adapted.maps[~poor], fixed.maps[~poor])
    assert adapted.evidence["completeness"].max() < fixed.evidence["completeness"].max()
    assert adapted.cost.backwards < 40 * (2 + 4 + 8 + 16 + 32 + 64 + 128)


def test_gauss_legendre_integrates_a_quadratic_network_exactly(images):
    class Square(nn.Module):
        def forward(self, x):
            total = x.flatten(1).square().sum(dim=1)
            return torch.stack([total, -total], dim=1)

    classifier = Classifier.wrap(Square(), input_shape=(1, 4, 6))
    found = integrated_gradients(classifier, images, 0, steps=1, baseline=0.0)
    assert torch.allclose(found.maps[:, 0], images[:, 0].square(), atol=1e-6)


def test_occlusion_of_a_linear_network_is_what_the_window_hides(images):
    classifier, weights = linear()
    found = occlusion(classifier, images, "all", window=1, stride=1, fill=0.25)
    assert torch.allclose(found.maps, (images - 0.25) * weights[:, 0], atol=1e-6)


def test_grad_cam_before_global_pooling_is_the_class_activation_map():
    classifier = pooled()
    images = torch.rand(3, 1, 12, 12)
    found = grad_cam(classifier, images, "all", layer="1")
    maps = torch.relu(classifier.module[0](images))
    expected = torch.einsum("kc,nchw->nkhw", classifier.module[4].weight, maps) / 144
    assert torch.allclose(found.maps, expected, atol=1e-6)
    assert grad_cam(classifier, images).layer == "1"


def test_hires_cam_of_a_linear_head_sums_to_the_logit_without_bias():
    classifier = spelled(SPELLINGS[0])
    images = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        pool = nn.Sequential(*list(classifier.module.children())[:6])(images)
    head = Classifier.wrap(
        nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(72, 4, bias=False)),
        input_shape=(8, 3, 3),
    )
    found = hires_cam(head, pool.clamp(0, 1), "all", layer="0")
    expected = head.logits(pool.clamp(0, 1))
    assert torch.allclose(found.evidence["coarse"].sum(dim=(2, 3)), expected, atol=1e-5)


def test_hires_cam_before_global_pooling_is_grad_cam():
    classifier, images = pooled(), torch.rand(3, 1, 12, 12)
    expected = grad_cam(classifier, images, "all", layer="1").maps
    assert torch.allclose(hires_cam(classifier, images, "all", layer="1").maps, expected, atol=1e-6)


def test_hires_cam_before_a_dense_layer_is_not_grad_cam():
    classifier, images = spelled(SPELLINGS[0]), torch.rand(3, 1, 12, 12)
    assert not torch.allclose(
        hires_cam(classifier, images).maps, grad_cam(classifier, images).maps, atol=1e-3
    )


def test_layer_cam_by_hand():
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(4, 2, bias=False))
    net[0].weight.data = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    net[2].weight.data = torch.tensor([[5.0, -3.0, 7.0, 4.0], [0.0] * 4])
    classifier = Classifier.wrap(net, input_shape=(1, 1, 2))
    images = torch.tensor([0.5, 1.0]).view(1, 1, 1, 2)
    # Map 0 is (1, 2) with gradient (5, -3), map 1 is (-0.5, -1) with gradient (7, 4).
    by_hand = torch.tensor([1 * 5 - 0.5 * 7, 2 * 0 - 1 * 4])
    assert torch.equal(layer_cam(classifier, images, 0, layer="0").maps.flatten(), by_hand)
    whole = torch.tensor([1 * 5 - 0.5 * 7, 2 * -3 - 1 * 4])
    assert torch.equal(hires_cam(classifier, images, 0, layer="0").maps.flatten(), whole)


def test_layer_cam_of_positive_activations_is_at_least_hires_cam():
    classifier, images = pooled(), torch.rand(3, 1, 12, 12)
    hires = hires_cam(classifier, images, layer="1").maps
    positive = layer_cam(classifier, images, layer="1").maps
    assert (positive >= hires - 1e-6).all() and (positive >= 0).all()


def test_rise_of_a_linear_network_approaches_its_weights():
    classifier, weights = linear(shape=(1, 12, 12), classes=2)
    images = torch.ones(1, 1, 12, 12)
    found = rise(classifier, images, 0, masks=4000, cells=6, fill=0.0, score="logit")
    pair = torch.stack([found.maps.flatten(), weights[0].flatten()])
    coarse = torch.nn.functional.avg_pool2d(pair.view(2, 1, 12, 12), 4).flatten(1)
    assert torch.corrcoef(coarse)[0, 1] > 0.9


@pytest.mark.parametrize("method", EXPLANATIONS)
def test_four_spellings_of_a_network_have_bitwise_equal_maps(method):
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    maps = [EXPLANATIONS[method](spelled(kind), images, "all").maps for kind in SPELLINGS]
    assert maps[0].abs().max() > 0
    for other in maps[1:]:
        assert torch.equal(maps[0], other)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool1"])
def test_four_spellings_have_bitwise_equal_cams_at_every_common_layer(layer):
    images = torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    maps = [grad_cam(spelled(kind), images, "all", layer=layer).maps for kind in SPELLINGS]
    assert all(torch.equal(maps[0], other) for other in maps[1:])
