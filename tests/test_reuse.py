"""A copy serves the next Probe only while it is the network to the byte, and is as it was made."""

import gc
import weakref

import pytest
import torch
from torch import nn

from convscope import _reuse, fast_paths
from convscope.classifier import Classifier

IMAGES = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(5))


class Net(nn.Module):
    """A network with what networks have: settings, lists of numbers, buffers, shared layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.fc, self.act = nn.Linear(64, 3), nn.ReLU(inplace=True)
        self.scale, self.sizes, self.config = 1.5, [4, 64], {"act": "relu"}

    def forward(self, x):
        return self.fc(self.act(self.norm(self.conv(x))).flatten(1)) * self.scale


def wrapped(module):
    return Classifier.wrap(module, input_shape=(1, 6, 6))


def run_in(classifier):
    """Logits, and the copy that they came from."""
    with classifier.probe() as probe:
        return probe.logits(IMAGES), probe._runner.module


@pytest.fixture
def used():
    """A network, its classifier, and the copy that its last Probe has left."""
    module = Net()
    classifier = wrapped(module)
    return module, classifier, run_in(classifier)[1]


def test_an_unchanged_network_is_copied_once(used):
    _, classifier, copy = used
    assert all(run_in(classifier)[1] is copy for _ in range(3))


def negate_zero(module):
    module.norm.bias.data[0] = -0.0


CHANGES = {
    "a weight, past the version": lambda m: m.fc.weight.data.mul_(0.5),
    "one element": lambda m: m.conv.weight.data.view(-1)[7].add_(1e-7),
    "the sign of a zero": negate_zero,
    "a buffer": lambda m: m.norm.running_mean.add_(1),
    "another parameter": lambda m: setattr(m, "fc", nn.Linear(64, 3)),
    "memory swapped": lambda m: setattr(m.fc.weight, "data", torch.ones(3, 64)),
    "a setting": lambda m: setattr(m, "scale", 2.0),
    "a setting of another type": lambda m: setattr(m.norm, "eps", True),
    "a list inside": lambda m: m.sizes.append(3),
    "a dict inside": lambda m: m.config.update(act="gelu"),
    "a child": lambda m: m.add_module("more", nn.Identity()),
    "a class": lambda m: setattr(m.act, "__class__", nn.Sigmoid),
    "a forward": lambda m: setattr(m, "forward", lambda x: torch.zeros(len(x), 3)),
    "a hook": lambda m: m.fc.register_forward_hook(lambda m, i, o: o + 1),
    "a mode": lambda m: m.eval(),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_changed_is_copied_again(used, change):
    module, classifier, copy = used
    CHANGES[change](module)
    logits, fresh = run_in(classifier)
    assert fresh is not copy
    assert torch.allclose(logits, module.eval()(IMAGES), atol=1e-6)


class Writes(nn.Module):
    """Changes itself while it runs, in a way of choice."""

    def __init__(self, way):
        super().__init__()
        self.fc, self.way, self.calls = nn.Linear(36, 3), way, 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        if self.way == "attribute":
            self.calls += 1
        if self.way == "buffer":
            self.count += 1
        if self.way == "weight":
            self.fc.weight.data.mul_(0.9)
        if self.way == "cache":
            self.last = x
        if self.way == "child":
            self.extra = nn.Identity()
        return self.fc(x.flatten(1)) + self.calls + self.count


@pytest.mark.parametrize("way", ["attribute", "buffer", "weight", "cache", "child"])
def test_a_copy_that_its_run_has_changed_is_not_used_again(way):
    classifier = wrapped(Writes(way))
    (first, one), (second, two) = run_in(classifier), run_in(classifier)
    assert one is not two and torch.equal(first, second)


@pytest.mark.parametrize("value", [torch.zeros(3), object(), [nn.ReLU()]])
def test_what_cannot_be_compared_is_copied_every_time(value):
    module = Net()
    module.thing = value
    classifier = wrapped(module)
    assert run_in(classifier)[1] is not run_in(classifier)[1]


def test_two_probes_at_once_have_two_copies(used):
    _, classifier, _ = used
    with classifier.probe() as one, classifier.probe() as two:
        assert one._runner.module is not two._runner.module


def test_a_copy_of_an_interrupted_probe_is_not_used_again(used):
    _, classifier, copy = used
    with pytest.raises(KeyboardInterrupt), classifier.probe():
        raise KeyboardInterrupt
    assert run_in(classifier)[1] is not copy


def test_switching_fast_paths_off_reaches_the_copy(used):
    _, classifier, copy = used
    with fast_paths(False):
        assert run_in(classifier)[1] is not copy
        with classifier.probe() as probe:
            assert not probe.execution.fast


def test_bytes_are_compared_without_the_c_library_as_well(used, monkeypatch):
    module, classifier, copy = used
    monkeypatch.setattr(_reuse, "_memcmp", None)
    assert run_in(classifier)[1] is copy
    negate_zero(module)
    assert run_in(classifier)[1] is not copy


def test_large_networks_are_not_kept(monkeypatch):
    monkeypatch.setattr(_reuse, "MOST", 100)
    classifier = wrapped(Net())
    assert run_in(classifier)[1] is not run_in(classifier)[1]


def test_a_kept_copy_keeps_nothing_alive():
    classifier = wrapped(Net())
    copy = weakref.ref(run_in(classifier)[1])
    module = weakref.ref(classifier.module)
    del classifier
    gc.collect()
    assert copy() is None and module() is None


def test_a_graph_from_a_closed_probe_can_still_be_differentiated(used):
    module, classifier, _ = used
    x = IMAGES.clone().requires_grad_(True)
    with classifier.probe() as probe:
        out = probe.run(x)
    module.fc.weight.data.mul_(0.5)
    run_in(classifier)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.abs().max() > 0
