"""Every method on a classifier that only answers: the right answer, or one refusal."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from convscope.attacks import ATTACKS, SHARED
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS, weight_randomization
from convscope.robustness import certify, curve, evaluate
from convscope.training import evaluate as evaluate_on
from convscope.visualizations import class_images, neuron_images
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with
from tests.studies.test_audit import dataset


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5)).eval()


class Counted:
    """The answers of a network, which notes how many images it was asked about each time."""

    def __init__(self, module):
        self.module, self.calls = module, []

    def __call__(self, pixels):
        self.calls.append(len(pixels))
        assert isinstance(pixels, np.ndarray) and pixels.dtype == np.float32
        scores = self.module(torch.from_numpy(pixels)).detach().numpy()
        pixels[:] = 9  # It may do with the array what it likes.
        return scores


def box(function=None, **settings):
    return Classifier.from_function(
        function or Counted(network()), input_shape=(1, 6, 8), **settings
    )


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(7, 1, 6, 8, generator=generator), torch.arange(7) % 5


def refused():
    return pytest.raises(ModelContractError, match=r"a black box has no (gradients|layers|weights)")


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_explanations_give_the_maps_of_the_network_or_refuse(name, images):
    case, net = (box(), *images), Classifier.wrap(network(), input_shape=(1, 6, 8))
    if EXPLANATIONS.spec(name).black_box:
        expected = explain_with(EXPLANATIONS[name], (net, *images), "all").maps
        found = explain_with(EXPLANATIONS[name], case, "all").maps
        assert torch.allclose(found, expected, atol=1e-6) and found.abs().max() > 0
        return
    with refused() as caught:
        explain_with(EXPLANATIONS[name], case)
    assert caught.value.code == "M26" and "occlusion, rise, square" in str(caught.value)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_find_what_they_find_on_the_network_or_refuse(name, images):
    case, net = (box(), *images), Classifier.wrap(network(), input_shape=(1, 6, 8))
    if ATTACKS.spec(name).black_box:
        expected = attack_with(ATTACKS[name], (net, *images))
        found = attack_with(ATTACKS[name], case)
        assert torch.equal(found.adversarials, expected.adversarials)
        assert found.cost.forwards == expected.cost.forwards
        return
    with refused() as caught:
        attack_with(ATTACKS[name], case)
    assert caught.value.code == "M26" and "occlusion, rise, square" in str(caught.value)


@pytest.mark.parametrize("name", SHARED)
def test_shared_perturbations_are_refused(name, images):
    more = {"epsilon": 0.1} if "epsilon" in inspect.signature(SHARED[name]).parameters else {}
    with refused():
        SHARED[name](box(), *images, targets=torch.tensor([1]), **more)


@pytest.mark.parametrize("name", LAYER_VIEWS)
def test_layer_views_are_refused(name, images):
    more = (images[0],) if LAYER_VIEWS.spec(name).takes_images else ()
    with refused():
        LAYER_VIEWS[name](box(), *more)


def test_optimized_images_and_random_weights_are_refused(images):
    classifier, (x, labels) = box(), images
    with refused():
        class_images(classifier, [0])
    with refused():
        neuron_images(classifier, "conv1:0")
    with refused():
        weight_randomization(classifier, EXPLANATIONS["occlusion"], x, labels)
    with refused():
        classifier.layers()
    assert "black box" in classifier._repr_html_()


def test_everything_that_needs_answers_only_is_that_of_the_network(images):
    ours, net, x = box(), Classifier.wrap(network(), input_shape=(1, 6, 8)), images[0]
    labels = net.predict(x, top=1).labels[:, 0]
    assert torch.equal(ours.predict(x).labels, net.predict(x).labels)
    one, other = (certify(c, x, labels, std=0.1, draws=100).radii for c in (ours, net))
    assert torch.equal(one, other)
    curves = [
        curve(c, x, labels, epsilons=[0.05, 0.2], attack="square", queries=30) for c in (ours, net)
    ]
    assert torch.equal(curves[0].accuracies, curves[1].accuracies)
    found = evaluate(ours, x, labels, epsilon=0.2, effort="quick")
    assert found.robust_accuracy < found.clean_accuracy
    assert [s.attack for s in found.suite] == ["square-1000"]
    assert "not-differentiable" in {check.name for check in found.checks if check.verdict == "warn"}


def test_evaluation_is_that_of_the_network():
    data = dataset()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    names = data.class_names
    ours = Classifier.from_function(Counted(net), input_shape=(1, 12, 12), class_names=names)
    theirs = Classifier.wrap(net, input_shape=(1, 12, 12), class_names=names)
    one, other = evaluate_on(ours, data.test), evaluate_on(theirs, data.test)
    assert torch.equal(one.predicted, other.predicted) and one.metrics() == other.metrics()


def test_a_function_is_asked_about_each_image_once_and_never_looked_at_again(images):
    function = Counted(network())
    classifier = box(function)
    assert sum(function.calls) == 13
    function.calls.clear()
    classifier.predict(images[0])
    box_again = Classifier(
        module=classifier.module, class_names=("a", "b", "c", "d", "e"), input_shape=(1, 6, 8)
    )
    box_again.predict(images[0])
    assert function.calls == [7, 7]


def test_a_function_for_single_images_gets_single_images(images):
    function = Counted(network())
    classifier = box(function, batch_size=1)
    function.calls.clear()
    assert torch.equal(classifier.predict(images[0]).labels, box().predict(images[0]).labels)
    assert function.calls == [1] * 7


def test_mean_and_std_are_applied_before_the_function(images):
    seen = []
    classifier = box(
        lambda x: (seen.append(x.copy()), np.tile([1.0, 2.0], (len(x), 1)))[1], mean=[0.5], std=[2]
    )
    classifier.predict(images[0])
    assert np.allclose(seen[-1], (images[0].numpy() - 0.5) / 2)


@pytest.mark.parametrize("said", [True, None])
def test_probabilities_become_their_logarithms(said, images):
    def softmax(pixels):
        return torch.from_numpy(pixels).flatten(1)[:, :5].softmax(dim=1)

    logits = box(softmax, probabilities=said).logits(images[0])
    assert torch.allclose(logits, images[0].flatten(1)[:, :5].log_softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "code", "match"),
    [
        (lambda x: np.arange(len(x)), "M02", r"shape \(2,\) for 2 images"),
        (lambda x: np.zeros((len(x) + 1, 3)), "M02", r"shape \(3, 3\) for 2 images"),
        (lambda x: np.zeros((len(x), 1)), "M03", "one score per image"),
        (lambda x: np.zeros((len(x), 2, 2)), "M02", r"shape \(2, 2, 2\)"),
        (lambda x: None, "M01", "returned a NoneType"),
        (lambda x: {"scores": x}, "M01", "returned a dict"),
        (lambda x: [["a", "b"]] * len(x), "M14", "could not convert string"),
        (lambda x: x[:, 5], "M14", "IndexError"),
        (lambda x: x.nothing, "M14", "AttributeError"),
        (lambda x: np.tile(x.reshape(len(x), -1)[:, :3].sum(0), (len(x), 1)), "M24", "depend on"),
    ],
)
def test_a_function_that_does_not_answer_is_refused(function, code, match):
    with pytest.raises(ModelContractError, match=match) as caught:
        box(function)
    assert caught.value.code == code


def test_a_function_that_fails_later_is_refused_then(images):
    function = Counted(network())
    classifier = box(function)
    function.module = lambda x: torch.zeros(len(x), 3)
    with pytest.raises(ModelContractError, match="shape"):
        classifier.predict(images[0])
    function.module = lambda x: torch.full((len(x), 5), torch.nan)
    with pytest.raises(Exception, match="not finite"):
        classifier.predict(images[0])


def test_a_random_function_is_told_apart():
    noise = np.random.default_rng(0)
    assert "randomized" in box(lambda x: noise.normal(size=(len(x), 3))).flags
    assert "nonfinite-logits" in str(box(lambda x: np.full((len(x), 3), np.nan)).flags)
    assert box().flags == ()
