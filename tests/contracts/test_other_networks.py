"""Every method on networks that are not ours: other precisions, scripted, reporting in a dict."""

import pytest
import torch
from torch import nn

from convscope._random_weights import with_random_weights
from convscope.attacks import ATTACKS
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES, class_images
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with

each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
each_explanation = pytest.mark.parametrize(
    "explain", EXPLANATIONS.values(), ids=EXPLANATIONS.keys()
)
VIEWS = {name: LAYER_VIEWS[name] for name, spec in LAYER_VIEWS.specs().items()
         if not spec.needs_attention}  # fmt: skip
each_view = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
each_recipe = pytest.mark.parametrize("recipe", VISUALIZATION_RECIPES)


class InADict(nn.Module):
    """A network that returns more than logits."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return {"logits": self.module(x), "pixels": x}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(4 * 3 * 4, 5),
    ).eval()  # fmt: skip


MAKE = {
    "float64": lambda: Classifier.wrap(network().double(), input_shape=(1, 6, 8)),
    "bfloat16": lambda: Classifier.wrap(network().bfloat16(), input_shape=(1, 6, 8)),
    "dict": lambda: Classifier.wrap(
        InADict(network()), input_shape=(1, 6, 8), output=lambda returned: returned["logits"]
    ),
}


@pytest.fixture(params=MAKE)
def other(request):
    images, labels = torch.rand(7, 1, 6, 8), torch.arange(7) % 5
    return MAKE[request.param](), images, labels


@each_explanation
def test_explanations_are_float32_maps(explain, other):
    maps = explain_with(explain, other, "all").maps
    assert maps.shape == (7, 5, 6, 8) and maps.dtype == torch.float32 and maps.isfinite().all()


@each_view
def test_layer_views_work(view, other):
    classifier, images, _ = other
    assert view(classifier, images) if "images" in view.__annotations__ else view(classifier)


@each_attack
def test_attacks_give_float32_images(attack, other):
    result = attack_with(attack, other)
    assert result.adversarials.dtype == torch.float32 and result.adversarials.isfinite().all()


@pytest.mark.slow
@each_recipe
def test_recipes_give_float32_images(recipe):
    classifier, images = MAKE["bfloat16"](), torch.rand(7, 1, 6, 8)
    found = class_images(classifier, recipe=recipe, reference=images, control=False)
    assert found.images.dtype == torch.float32 and found.images.isfinite().all()


def test_scripted_networks_can_be_attacked_and_say_why_layers_cannot_be_seen():
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(network())
    classifier = Classifier.wrap(scripted, input_shape=(1, 6, 8))
    images, labels = torch.rand(3, 1, 6, 8), torch.arange(3)
    attacked = ATTACKS["pgd"](classifier, images, labels, epsilon=0.1, steps=2)
    assert attacked.adversarials.isfinite().all() and attacked.cost.forwards > 0
    assert EXPLANATIONS["occlusion"](classifier, images).maps.isfinite().all()
    assert all(p.is_leaf for p in with_random_weights(classifier).module.parameters())
    with with_random_weights(classifier).probe() as probe:
        assert probe.logits(images).isfinite().all()
    with pytest.raises(ModelContractError, match="TorchScript") as caught:
        EXPLANATIONS["grad-cam"](classifier, images)
    assert caught.value.code == "M17"
    with pytest.raises(ModelContractError, match="TorchScript"):
        classifier.layers()


def test_compiled_networks_give_what_the_plain_ones_give():
    compiled = torch.compile(network(), backend="eager")
    both = [Classifier.wrap(net, input_shape=(1, 6, 8)) for net in (network(), compiled)]
    images = torch.rand(3, 1, 6, 8)
    for name in ("saliency", "grad-cam", "occlusion"):
        plain, other = (EXPLANATIONS[name](classifier, images, 2).maps for classifier in both)
        assert torch.allclose(plain, other, atol=1e-6)
