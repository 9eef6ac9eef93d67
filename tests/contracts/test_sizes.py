"""Gray and color, 28 to 224 pixels, one image and sixty-four: every way of looking takes them."""

import inspect

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES, class_images, neuron_images

MANY = 64
ROW = 37
QUICK = {
    "occlusion": {"window": 14, "stride": 14},
    "rise": {"masks": 6},
    "smooth-grad": {"num_samples": 2},
    "integrated-gradients": {"steps": 2, "tolerance": None},
}
STEPS = 2


class Case:
    """A network that is cheap at any size, and images for it."""

    def __init__(self, channels, side):
        torch.manual_seed(side + channels)
        stride = side // 14
        net = nn.Sequential(
            nn.Conv2d(channels, 64, stride, stride=stride),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (side // stride // 2) ** 2, 3),
        )
        self.shape = (channels, side, side)
        self.classifier = Classifier.wrap(net, input_shape=self.shape)
        self.images = torch.rand(MANY, *self.shape)
        self.side = side

    def settings(self, name):
        chosen = dict(QUICK.get(name, {}))
        if name == "occlusion":
            chosen = {key: self.side // 2 for key in chosen}
        return chosen


@pytest.fixture(
    scope="module",
    params=[(c, side) for side in (28, 32, 224) for c in (1, 3)],
    ids=lambda p: f"{p[0]}x{p[1]}",
)
def sized(request):
    return Case(*request.param)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_maps_of_one_and_of_many(name, sized):
    explain, settings = EXPLANATIONS[name], sized.settings(name)
    many = explain(sized.classifier, sized.images, 1, **settings)
    alone = explain(sized.classifier, sized.images[ROW : ROW + 1], 1, **settings)
    assert many.maps.shape == (MANY, 1, *sized.shape[1:])
    assert alone.maps.shape == (1, 1, *sized.shape[1:])
    assert many.maps.isfinite().all() and many.logits.shape == (MANY, 3)
    size = many.maps[ROW].abs().max()
    assert size > 0
    assert torch.allclose(many.maps[ROW], alone.maps[0], atol=2e-5 * float(size), rtol=1e-4)


@pytest.mark.parametrize("name", LAYER_VIEWS)
def test_layer_views(name, sized):
    view, spec = LAYER_VIEWS[name], LAYER_VIEWS.spec(name)
    if spec.needs_attention:
        with pytest.raises(ModelContractError) as caught:
            view(sized.classifier, sized.images)
        assert caught.value.code == "M15" and caught.value.hint
        return
    if "images" not in inspect.signature(view).parameters:
        found = view(sized.classifier)
        assert found.pictures.shape[0] == 64 and found.pictures.shape[1] in (1, sized.shape[0])
        assert found.pictures.min() >= 0 and found.pictures.max() <= 1
        return
    many = view(sized.classifier, sized.images, ["0", "3"])
    alone = view(sized.classifier, sized.images[ROW : ROW + 1], ["0", "3"])
    shown = 5 if name == "selected-maps" else 64
    for whole, single in zip(many.layers, alone.layers, strict=True):
        assert whole.maps.shape[:2] == (MANY, shown) and whole.maps.isfinite().all()
        assert torch.allclose(whole.maps[ROW], single.maps[0], atol=1e-5)


@pytest.mark.parametrize("name", VISUALIZATION_RECIPES)
def test_images_of_one_class_and_of_many_neurons(name, sized):
    count = MANY if sized.side < 224 else 4
    make = VISUALIZATION_RECIPES[name]
    recipe = make(**({"steps": STEPS} if "steps" in inspect.signature(make).parameters else {}))
    given = {"recipe": recipe, "reference": sized.images[:8], "control": False}
    one = class_images(sized.classifier, 1, **given)
    many = neuron_images(sized.classifier, f"1:0-{count - 1}", at="center", **given)
    for found, units in ((one, 1), (many, count)):
        assert found.images.shape == (units, *sized.shape)
        assert found.images.isfinite().all() and found.history.isfinite().all()
        assert found.images.min() >= 0 and found.images.max() <= 1
        assert found.effect.shape == (units, 3)


def test_a_class_image_does_not_depend_on_the_other_classes(sized):
    """Of a recipe that draws nothing at random."""
    given = {"recipe": VISUALIZATION_RECIPES["zero-l2"](steps=STEPS), "control": False}
    every = class_images(sized.classifier, **given).images
    assert torch.allclose(every[2], class_images(sized.classifier, 2, **given).images[0], atol=1e-5)
