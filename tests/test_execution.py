"""Fast paths are proven on the network at hand, visible, and can all be switched off."""

import pytest
import torch
from torch import nn

from convscope import _execution, fast_paths
from convscope._execution import SWITCH, execution_of
from convscope.attacks import ATTACKS
from convscope.classifier import Classifier
from convscope.explanations import EXPLANATIONS
from convscope.models import build
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with
from tests.zoo.convolutional import CONVOLUTIONAL, features, headed

SHAPE = (3, 8, 8)
OWN = ("mnist-conv2-fc", "mnist-conv2-fc-bn", "cifar-resnet20")


def wrapped(module, shape=SHAPE):
    return Classifier.wrap(module, input_shape=shape)


@pytest.mark.parametrize("seed", range(5))
def test_max_pooling_before_relu_is_equal_to_the_bit(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    )
    # Few levels: many ties, many maxima that are not positive.
    images = torch.randint(0, 3, (6, 2, 6, 6)) / 2
    net[0].weight.data = net[0].weight.data.sign()
    classifier = wrapped(net, (2, 6, 6))
    assert execution_of(classifier).exchanges == (("1", "2"),)
    direction = torch.randn(6, 4)
    found = {}
    for on in (True, False):
        with fast_paths(on), classifier.probe() as probe:
            objective = lambda x, logits, rows: (logits * direction[rows]).sum(1)
            found[on] = probe.gradient(images, objective)
            assert probe.execution.fast is on
    assert torch.allclose(found[True].outputs, found[False].outputs, rtol=0, atol=2e-6)
    assert torch.allclose(found[True].gradients, found[False].gradients, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("entry", [*EXPLANATIONS, "fast-gradient", "deepfool"])
def test_own_architectures_give_the_same_on_both_paths(name, entry):
    module = build(name, generator=torch.Generator().manual_seed(0))
    shape = (3, 32, 32) if name.startswith("cifar") else (1, 28, 28)
    classifier = wrapped(module, shape)
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    case, found = (classifier, images, torch.arange(3)), {}
    for on in (True, False):
        with fast_paths(on):
            assert execution_of(classifier).fast is on
            if entry in EXPLANATIONS:
                found[on] = explain_with(EXPLANATIONS[entry], case, 1).maps
            else:
                found[on] = attack_with(ATTACKS[entry], case).logits_after
    size = float(found[False].abs().max())
    # Maps that are differences of logits cannot be closer than logits are: 1e-6 for logits near 1.
    assert torch.allclose(found[True], found[False], rtol=0, atol=max(1e-4 * size, 1e-6))


def test_own_architectures_run_fast_by_construction():
    words = wrapped(build("mnist-conv2-fc"), (1, 28, 28)).describe()["execution"]
    assert words == (
        "fast: channels-last, 2 x ReLU after max-pooling, 1 x fast gradient of a narrow "
        "convolution (every module is a known one)"
    )


@pytest.mark.parametrize("name", ["sliced", "looped", "looped by kind", "side effect", "shared"])
def test_a_relu_that_somebody_else_sees_is_not_exchanged(name):
    torch.manual_seed(0)
    assert execution_of(wrapped(CONVOLUTIONAL[name]())).exchanges == ()


def test_a_traced_graph_proves_what_a_foreign_network_allows():
    torch.manual_seed(0)
    execution = execution_of(wrapped(CONVOLUTIONAL["indexed"]()))
    assert execution.exchanges == (("features.4", "features.5"),)
    assert execution.reason == "its traced graph has known operations only"


def test_a_network_that_flattens_by_view_keeps_what_does_not_need_another_layout():
    torch.manual_seed(0)
    execution = execution_of(wrapped(CONVOLUTIONAL["view"]()))
    assert execution.narrow == ("conv1",) and not execution.channels_last


WORDS = {"on": True}


class DependsOnAGlobal(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = headed(*features(), width=8)

    def forward(self, x):
        return self.body(x) if WORDS["on"] else self.body(x * 2)


class DependsOnItself(DependsOnAGlobal):
    def __init__(self):
        super().__init__()
        self.settings = {"on": True}

    def forward(self, x):
        return self.body(x) if self.settings["on"] else self.body(x * 2)


class Counts(DependsOnAGlobal):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.body(x)


class CallsAHelper(DependsOnAGlobal):
    def twice(self, x):
        return self.body(x)

    def forward(self, x):
        return self.twice(x)


@pytest.mark.parametrize(
    ("make", "word"),
    [(DependsOnAGlobal, "depends on WORDS"), (DependsOnItself, "settings can change"),
     (Counts, "keeps state"), (CallsAHelper, "calls twice")],
)  # fmt: skip
def test_what_a_trace_cannot_promise_runs_plainly_and_says_why(make, word):
    torch.manual_seed(0)
    words = wrapped(make()).describe()["execution"]
    assert words.startswith("plain (") and word in words


def test_a_proof_ends_when_the_network_changes():
    torch.manual_seed(0)
    net = headed(*features(), width=8)
    classifier, images = wrapped(net), torch.rand(4, *SHAPE)
    assert len(execution_of(classifier).exchanges) == 2
    seen = []
    handle = net[1].register_forward_hook(lambda module, inputs, output: seen.append(output.min()))
    with classifier.probe() as probe:
        assert not probe.execution.fast
        probe.logits(images)
    assert seen and min(seen) >= 0  # What the hook sees is a rectified map.
    handle.remove()
    assert len(execution_of(classifier).exchanges) == 2
    net[2] = nn.Tanh()
    net[6] = nn.AdaptiveAvgPool2d(1)
    assert len(execution_of(classifier).exchanges) == 1
    with classifier.probe() as probe:
        assert torch.allclose(probe.logits(images), net.eval()(images), atol=2e-6)


def test_one_switch_turns_everything_off(monkeypatch):
    torch.manual_seed(0)
    classifier = wrapped(headed(*features(), width=8))
    assert execution_of(classifier).fast
    with fast_paths(False):
        assert str(execution_of(classifier)) == "plain (fast paths are switched off)"
        with fast_paths(True):
            assert execution_of(classifier).fast
    monkeypatch.setenv(SWITCH, "off")
    assert not execution_of(classifier).fast
    with fast_paths(True):
        assert execution_of(classifier).fast


def test_a_fast_path_that_gives_other_numbers_is_not_taken(monkeypatch):
    """Even if the structure is believed to allow it."""
    monkeypatch.setattr(_execution, "_METHODS", _execution._METHODS | {"stride"})

    class Strides(nn.Module):
        """Behaves otherwise in another layout."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(144, 5)

        def forward(self, x):
            y = self.conv(x)
            return self.fc(y.flatten(1)) * (1.0 + y.stride(1))

    torch.manual_seed(0)
    net = Strides()
    assert str(execution_of(wrapped(net))).startswith("fast: 1 x fast gradient")
    with wrapped(net).probe() as probe:
        images = torch.rand(3, *SHAPE)
        assert torch.equal(probe.logits(images), net.eval()(images))
