"""A defense changes what the network sees, and gradients still come through."""

import pytest
import torch
from torch import nn

from convscope.attacks import pgd
from convscope.classifier import Classifier
from convscope.defenses import DEFENSES, bit_depth, blur, median, threshold
from convscope.errors import UsageError


@pytest.fixture
def linear():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return Classifier.wrap(net, input_shape=(1, 6, 6))


@pytest.mark.parametrize("name", DEFENSES)
def test_gradients_come_through(linear, name):
    defended = DEFENSES[name](linear)
    images, labels = torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])
    result = pgd(defended, images, labels, epsilon=0.2, steps=5)
    assert (result.zero_gradients == 0).all()
    assert defended.source.endswith(linear.source) and defended.module is linear.module


@pytest.mark.parametrize("name", DEFENSES)
def test_the_undefended_classifier_is_not_changed(linear, name):
    images = torch.rand(4, 1, 6, 6)
    before = linear.logits(images)
    DEFENSES[name](linear).logits(images)
    assert linear.preprocess is None and torch.equal(linear.logits(images), before)


def test_u16_no_blur_is_the_identity(linear):
    images = torch.rand(4, 1, 6, 6)
    assert torch.equal(blur(linear, std=0.0).logits(images), linear.logits(images))


def test_eight_bits_keep_8_bit_images(linear):
    images = torch.randint(0, 256, (4, 1, 6, 6)) / 255
    assert torch.allclose(bit_depth(linear, bits=8).prepare(images), images, atol=1e-6)


def test_threshold_gives_black_and_white(linear):
    assert set(threshold(linear).prepare(torch.rand(4, 1, 6, 6)).unique().tolist()) == {0.0, 1.0}


def test_median_of_one_pixel_is_the_identity(linear):
    images = torch.rand(4, 1, 6, 6)
    assert torch.equal(median(linear, size=1).prepare(images), images)


def test_defenses_stack_from_the_inside_out(linear):
    images = torch.rand(2, 1, 6, 6)
    both = threshold(blur(linear, std=1.0), level=0.5)
    assert torch.equal(both.prepare(images), blur(linear).prepare((images > 0.5).float()))


@pytest.mark.parametrize(
    "make",
    [
        lambda c: blur(c, std=-1.0),
        lambda c: blur(c, std=float("nan")),
        lambda c: bit_depth(c, bits=9),
        lambda c: median(c, size=2),
        lambda c: threshold(c, level=float("inf")),
    ],
)
def test_nonsense_is_refused(linear, make):
    with pytest.raises(UsageError):
        make(linear)
