"""The ladder, its checks, and a zoo of broken defenses that must be seen through."""

import math

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.robustness import evaluate
from convscope.robustness._checks import alignment, overfitting
from convscope.stats import wilson
from tests.attacks.conftest import learn_digits
from tests.robustness.conftest import After, Before, single_steps

ZOO = {
    "saturated-logits": lambda net: After(net, lambda z: 1000 * z),
    "softmax-output": lambda net: After(net, lambda z: z.softmax(1)),
    "randomized": lambda net: Before(net, lambda x: x + 0.1 * torch.randn_like(x)),
    "not-differentiable": lambda net: Before(net, lambda x: x.detach()),
    "zero-gradient": lambda net: Before(net, lambda x: (x * 4).round() / 4),
}


def judged(net, images, labels, epsilon=0.2, classes=10, **more):
    names = tuple(map(str, range(classes)))
    classifier = Classifier(module=net, class_names=names, input_shape=tuple(images.shape[1:]))
    generator = torch.Generator().manual_seed(0)
    return evaluate(classifier, images, labels, epsilon=epsilon, generator=generator, **more)


@pytest.mark.parametrize("flag", ZOO)
def test_a_broken_defense_raises_exactly_its_flag(digits, flag):
    classifier, images, labels = digits
    torch.manual_seed(0)
    result = judged(ZOO[flag](classifier.module), images[:40], labels[:40], effort="quick")
    assert [found.code for found in result.flags] == [flag]


@pytest.mark.slow
def test_one_image_is_enough_to_see_that_gradients_are_zero(digits):
    classifier, images, labels = digits
    right = int((classifier.logits(images).argmax(1) == labels).nonzero()[0])
    one = slice(right, right + 1)
    result = judged(ZOO["zero-gradient"](classifier.module), images[one], labels[one])
    check = next(check for check in result.checks if check.name == "zero-gradient")
    assert check.number == 1.0 and check.verdict == "warn"


@pytest.mark.parametrize("epsilon", [0.05, 0.2])
def test_an_honest_network_raises_none(digits, epsilon):
    classifier, images, labels = digits
    result = judged(classifier.module, images[:40], labels[:40], epsilon, effort="quick")
    assert result.flags == ()


def linear_task(change, count=40):
    """A linear network behind `change`, and images whose pixels are 0.4 or 0.6, all classified."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, generator=generator)
    layer = nn.Linear(64, 2)
    layer.weight.data = torch.stack([-weight, weight])
    layer.bias.data = torch.stack([weight.sum(), -weight.sum()]) / 2
    labels = torch.arange(count) % 2
    toward = (2 * labels - 1)[:, None] * weight.sign()
    noisy = torch.rand(count, 64, generator=generator) < 0.2
    images = (0.5 + 0.1 * torch.where(noisy, -toward, toward)).reshape(count, 1, 8, 8)
    return Before(nn.Sequential(nn.Flatten(), layer), change), images, labels


def waves(x):
    """Waves on the pixels, as steep as what single-step training ends in, but by construction.

    The slope at 0.4 and 0.6 is 1 - 10: gradients point back there, and a step of one period, 0.2,
    leaves the waves where they are. At random neighbors the slope is anything from -9 to 11. Many
    small steps go down into a wave, which is deeper than the images are far from the boundary.
    """
    return x - 10 * 0.2 / math.tau * torch.sin(math.tau * (x - 0.4) / 0.2)


def test_a_network_that_withstands_single_steps_only_is_recognized():
    net, images, labels = linear_task(waves)
    result = judged(net, images, labels, 0.2, classes=2, effort="quick")
    assert {stage.attack: stage.robust for stage in result.suite} == {
        "fgsm": 1.0, "pgd-40": 0.0, "apgd-ce-30": 0.0,
    }  # fmt: skip
    assert [found.code for found in result.flags] == ["catastrophic-overfitting"]


def test_the_same_network_without_waves_is_not():
    net, images, labels = linear_task(lambda x: x)
    result = judged(net, images, labels, 0.2, classes=2, effort="quick")
    assert result.robust_accuracy == 0 and result.flags == ()


@pytest.mark.parametrize(
    ("change", "single_step", "worst", "verdict"),
    [
        (waves, 0.9, 0.1, "warn"),
        (waves, 0.5, 0.0, "ok"),
        (waves, 0.9, 0.7, "ok"),
        (lambda x: x, 0.9, 0.1, "ok"),
    ],
    ids=["all signs", "single steps fool it", "many steps do no more", "gradients agree"],
)
def test_overfitting_has_three_signs_and_each_alone_is_none(change, single_step, worst, verdict):
    net, images, labels = linear_task(change)
    cosines, cost = alignment(
        Classifier.wrap(net, input_shape=(1, 8, 8)), images, labels,
        radius=torch.tensor(0.2).double(), norm="linf", generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    check = overfitting(cosines, single_step=single_step, worst=worst)
    assert check.verdict == verdict and cost.backwards == 2 * len(images)


@pytest.mark.slow
def test_training_on_single_steps_is_recognized():
    """It takes long to overfit, and long steps: from 0.3, gradients agree up to a cosine of 0.35.

    From 0.4 it was 0.19 and 0.22 for two seeds; the network above is recognized by construction.
    """
    net, images, labels = learn_digits(steps=3000, step=single_steps)
    result = judged(net, images, labels, 0.4, effort="quick")
    assert [found.code for found in result.flags] == ["catastrophic-overfitting"]


def test_epsilon_zero_is_clean_accuracy(digits):
    classifier, images, labels = digits
    result = judged(classifier.module, images[:30], labels[:30], 0.0, effort="quick")
    assert result.robust_accuracy == result.clean_accuracy


def test_an_image_is_robust_only_if_nothing_fooled_it(digits):
    classifier, images, labels = digits
    result = judged(classifier.module, images[:40], labels[:40], 0.15, effort="quick")
    robust = (result.broken_by == -1).double().mean()
    assert result.robust_accuracy == pytest.approx(float(robust))
    assert result.low <= result.robust_accuracy <= result.high
    rungs = [rung.robust for rung in result.suite]
    assert rungs == sorted(rungs, reverse=True)
    with classifier.probe() as probe:
        read = probe.logits(result.adversarials).argmax(1)
    assert torch.equal(read != labels[:40], result.broken_by != -1)
    assert ((result.adversarials.double() - images[:40].double()).abs() <= 0.15).all()


@pytest.mark.parametrize("factor", [0.01, 1000])
def test_scaled_logits_do_not_raise_robust_accuracy(digits, factor):
    """Peers report 0.96 where the truth is 0.63. An image in forty may be found by luck."""
    classifier, images, labels = digits
    plain = judged(classifier.module, images[:40], labels[:40], 0.1, effort="quick")
    other = judged(
        After(classifier.module, lambda z: factor * z), images[:40], labels[:40], 0.1,
        effort="quick",
    )  # fmt: skip
    assert other.robust_accuracy <= plain.robust_accuracy + 1 / 40
    assert other.robust_accuracy >= plain.robust_accuracy - 1 / 40


def test_an_unknown_effort_is_named(digits):
    classifier, images, labels = digits
    with pytest.raises(UsageError, match="unknown effort 'huge'"):
        evaluate(classifier, images, labels, epsilon=0.1, effort="huge")


def test_wilson_contains_the_share():
    for count in (1, 10, 1000):
        for successes in (0, count // 2, count):
            low, high = wilson(successes, count)
            assert 0 <= low <= successes / count <= high <= 1


def test_a_network_that_is_always_wrong_has_nothing_to_lose(digits):
    classifier, images, _ = digits
    read = classifier.predict(images[:5], top=1).labels[:, 0]
    result = judged(classifier.module, images[:5], (read + 1) % 10, effort="quick")
    assert result.robust_accuracy == result.clean_accuracy == 0.0


def test_no_images_are_no_error(digits):
    classifier, images, labels = digits
    result = judged(classifier.module, images[:0], labels[:0], effort="quick")
    assert result.robust_accuracy != result.robust_accuracy and (result.low, result.high) == (0, 1)
