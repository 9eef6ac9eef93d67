"""Agreement with captum where both compute the same thing."""

import pytest
import torch
from captum import attr

from convscope.explanations import (
    grad_cam,
    hires_cam,
    integrated_gradients,
    layer_cam,
    occlusion,
    saliency,
)
from tests.explanations.nets import Plain, spelled

# Captum's own remarks on what it sets in tensors and hooks.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def case():
    return spelled(Plain), torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(2))


def per_class(explain):
    return torch.stack([explain(target).detach() for target in range(4)], dim=1)


def test_saliency(case):
    classifier, images = case
    theirs = per_class(
        lambda k: attr.Saliency(classifier.logits).attribute(images.clone(), target=k)[:, 0]
    )
    assert torch.allclose(saliency(classifier, images, "all").maps, theirs, atol=1e-5)


def test_occlusion(case):
    classifier, images = case
    theirs = per_class(
        lambda k: attr.Occlusion(classifier.logits).attribute(
            images, (1, 6, 6), strides=(1, 3, 3), baselines=0.5, target=k
        )[:, 0]
    )
    ours = occlusion(classifier, images, "all", window=6, stride=3, fill=0.5).maps
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_integrated_gradients(case):
    classifier, images = case
    theirs = per_class(
        lambda k: attr.IntegratedGradients(classifier.logits).attribute(
            images, torch.full_like(images, 0.5), target=k, n_steps=16
        )[:, 0]
    )
    ours = integrated_gradients(classifier, images, "all", baseline=0.5, steps=16, tolerance=None)
    assert torch.allclose(ours.maps, theirs, atol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool2"])
def test_grad_cam(case, layer):
    classifier, images = case
    method = attr.LayerGradCam(classifier.logits, getattr(classifier.module, layer))
    theirs = per_class(lambda k: method.attribute(images.clone(), target=k)[:, 0])
    ours = grad_cam(classifier, images, "all", layer=layer).evidence["coarse"]
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("ours", "clamp"), [(hires_cam, False), (layer_cam, True)])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool2"])
def test_hires_and_layer_cam(case, layer, ours, clamp):
    """captum has neither, but both of their factors."""
    classifier, images = case
    module = getattr(classifier.module, layer)
    factors = attr.LayerActivation(classifier.logits, module).attribute(images.clone())

    def theirs(target):
        gradient = attr.LayerGradientXActivation(
            classifier.logits, module, multiply_by_inputs=False
        ).attribute(images.clone(), target=target)
        return ((gradient.clamp_min(0) if clamp else gradient) * factors).sum(dim=1)

    coarse = ours(classifier, images, "all", layer=layer).evidence["coarse"]
    assert torch.allclose(coarse, per_class(theirs), atol=1e-5)
