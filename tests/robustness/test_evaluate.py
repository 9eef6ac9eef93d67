"""The ladder, its checks, and a zoo of broken defenses that must be seen through."""

import pytest
import torch

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.robustness import evaluate
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


def judged(net, images, labels, epsilon=0.2, **more):
    classifier = Classifier(
        module=net, class_names=tuple("0123456789"), input_shape=tuple(images.shape[1:])
    )
    generator = torch.Generator().manual_seed(0)
    return evaluate(classifier, images, labels, epsilon=epsilon, generator=generator, **more)


@pytest.mark.parametrize("flag", ZOO)
def test_a_broken_defense_raises_exactly_its_flag(digits, flag):
    classifier, images, labels = digits
    torch.manual_seed(0)
    result = judged(ZOO[flag](classifier.module), images[:40], labels[:40], effort="quick")
    assert [found.code for found in result.flags] == [flag]


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


@pytest.mark.slow
def test_training_on_single_steps_is_recognized():
    """It takes long to overfit: after 600 steps gradients nearby still agree (cosine 0.54)."""
    net, images, labels = learn_digits(steps=3000, step=single_steps)
    result = judged(net, images, labels, 0.3, effort="quick")
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
