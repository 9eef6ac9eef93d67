"""Fast paths are proven on the network at hand, visible, and can all be switched off."""

import pytest
import torch
from torch import nn

from convscope import fast_paths
from convscope._network import runner
from convscope._network.execution import MOST_KNOWN, execution_of, may_crash_channels_last
from convscope._network.hooks import LayerHooks
from convscope._network.runner import SWITCH
from convscope._random_weights import with_random_weights
from convscope.attacks import ATTACKS
from convscope.classifier import Classifier
from convscope.explanations import EXPLANATIONS, integrated_gradients, occlusion, rise
from convscope.models import build
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with
from tests.zoo.convolutional import features, headed

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
    # Few levels: many ties, many maxima that are not positive. All sums are exact, in any order:
    # else a processor whose layouts round differently breaks ties differently.
    images = torch.randint(0, 3, (6, 2, 6, 6)) / 2
    net[0].weight.data = net[0].weight.data.sign()
    net[0].bias.data = (4 * net[0].bias.data).round() / 4
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


@pytest.mark.parametrize(
    ("name", "entry"),
    [  # A third of the grid is in the fast suite; each network and each method is met there.
        pytest.param(
            name, entry, id=f"{entry}-{name}",
            marks=[] if (row + column) % 3 == 0 else [pytest.mark.slow],
        )
        for row, name in enumerate(OWN)
        for column, entry in enumerate([*EXPLANATIONS, "fgsm", "deepfool"])
    ],
)  # fmt: skip
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
                # A fixed path, none of whose points lies on a kink: there, rounding picks a side.
                path = {"steps": 8, "tolerance": None, "baseline": "mean"}
                fixed = path if entry == "integrated-gradients" else {}
                found[on] = explain_with(EXPLANATIONS[entry], case, 1, **fixed).maps
            else:
                found[on] = attack_with(ATTACKS[entry], case).logits_after
    size = float(found[False].abs().max())
    # Maps that are differences of logits cannot be closer than logits are: 1e-6 for logits near 1.
    assert torch.allclose(found[True], found[False], rtol=0, atol=max(1e-4 * size, 1e-6))


def test_own_architectures_run_fast_by_construction():
    words = wrapped(build("mnist-conv2-fc"), (1, 28, 28)).describe()["execution"]
    assert words == (
        "fast: channels-last, 2 x ReLU after max-pooling, 1 x fast gradient of a narrow "
        "convolution (every module is torch's or ours)"
    )


class Foreign(nn.Module):
    """The same layers in a class of somebody's own."""

    def __init__(self):
        super().__init__()
        self.body = headed(*features(), width=8)

    def forward(self, x):
        return self.body(x)


def test_somebody_elses_code_runs_plainly_and_says_so():
    torch.manual_seed(0)
    assert (
        wrapped(Foreign()).describe()["execution"] == "plain (Foreign is neither torch's nor ours)"
    )


@pytest.mark.parametrize("on", [True, False])
def test_no_weight_asks_for_a_gradient_and_kernels_are_laid_out_as_images_are(on):
    torch.manual_seed(0)
    with fast_paths(on), wrapped(headed(*features(), width=8)).probe() as probe:
        assert probe.execution.fast is on
        weights = list(probe._runner.module.parameters())
        assert not any(weight.requires_grad for weight in weights)
        kernels = [weight for weight in weights if weight.ndim == 4 and weight.shape[1] > 1]
        assert kernels and all(
            w.is_contiguous(memory_format=torch.channels_last) is on for w in kernels
        )


def test_gradients_at_a_layer_are_laid_out_for_what_follows_it():
    """Channels-last in front of a convolution, torch's default layout behind the last one."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)),
    )
    dense = {}
    with wrapped(net).probe() as probe:
        assert probe.execution.channels_last
        for layer in ("1", "3"):

            def note(activations, gradient, layer=layer):
                dense[layer] = activations.is_contiguous()
                return gradient

            probe.layer_gradients(layer, torch.rand(2, *SHAPE), [0], reduce=note)
    assert dense == {"1": False, "3": True}


class Crossed(nn.Module):
    """A ReLU and a pooling that stand side by side and are not used one after the other."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        x = self.conv(x)
        return self.relu(x).mean((2, 3)) + self.pool(x).mean((2, 3))


def test_only_what_a_sequence_applies_in_order_is_exchanged(monkeypatch):
    """Even in our own code, whose forward methods the proof trusts."""
    for thing in (Crossed, Crossed.forward):
        monkeypatch.setattr(thing, "__module__", "convscope.models.crossed")
    torch.manual_seed(0)
    net = Crossed().eval()
    execution = execution_of(wrapped(net))
    assert execution.fast and execution.exchanges == ()
    images = torch.rand(4, *SHAPE)
    with wrapped(net).probe() as probe:
        assert torch.allclose(probe.logits(images), net(images), atol=2e-6)


def test_hooks_on_every_module_end_the_proof():
    """Registered before or after, they see the network as it is written."""
    torch.manual_seed(0)
    net = headed(*features(), width=8).eval()
    classifier, images, seen = wrapped(net), torch.rand(4, *SHAPE), []

    def run_trial(module, inputs, output):
        if isinstance(module, nn.ReLU):
            seen.append(float(output.detach().min()))
            return output - 0.3
        return None

    assert execution_of(classifier).exchanges
    handle = nn.modules.module.register_module_forward_hook(run_trial)
    try:
        with classifier.probe() as probe:
            assert not probe.execution.fast
            found = probe.logits(images)
        assert torch.allclose(found, net(images), atol=2e-6)
    finally:
        handle.remove()
    assert seen and min(seen) >= 0 and execution_of(classifier).exchanges


@pytest.mark.parametrize("kind", [nn.ReLU, nn.MaxPool2d, nn.Conv2d])
def test_a_forward_that_somebody_replaced_ends_the_proof(kind, monkeypatch):
    torch.manual_seed(0)
    net = headed(*features(), width=8).eval()
    classifier, images, old = wrapped(net), torch.rand(4, *SHAPE), kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: old(self, x) * 0.7 - 0.1)
    assert "was replaced" in classifier.describe()["execution"]
    with classifier.probe() as probe:
        assert torch.allclose(probe.logits(images), net(images), atol=2e-6)


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
    """Even if the structure allows it."""
    wrong = lambda x, layer: torch.conv2d(x, layer.weight, layer.bias, 1, layer.padding) * 1.001
    monkeypatch.setattr(runner, "narrow_convolution", wrong)
    torch.manual_seed(0)
    classifier = wrapped(headed(*features(), width=8))
    assert str(execution_of(classifier)) == "plain (the fast path gave other numbers)"


def test_what_is_remembered_does_not_grow():
    class Steps(Foreign):
        step = 0

    torch.manual_seed(0)
    net = Steps()
    classifier = wrapped(net)
    for k in range(30):
        net.step = k
        execution_of(classifier)
    assert len(classifier._executions) <= MOST_KNOWN


def test_a_network_that_takes_few_images_at_once_gets_few():
    class AtMost(Foreign):
        def forward(self, x):
            assert len(x) <= 40, "out of memory"
            return self.body(x)

    torch.manual_seed(0)
    net, many = AtMost().eval(), torch.rand(200, *SHAPE)
    with wrapped(net).probe() as probe:
        found = probe.logits(many)
    assert torch.allclose(found, net.body(many), atol=2e-6)
    free = wrapped(net.body)
    for explain in (rise, occlusion, integrated_gradients):
        few, usual = (explain(one, many[:2], 0).maps for one in (wrapped(net), free))
        assert torch.allclose(few, usual, atol=1e-5), explain.__name__


def convolved_and_normalized(**kinds):
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, **kinds), nn.ReLU(),
        nn.Conv2d(6, 5, 3, stride=2), nn.BatchNorm2d(5, eps=0.1), nn.Flatten(),
        nn.Linear(45, 4),
    )  # fmt: skip
    for child in net:
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.normal_()
            child.running_var.uniform_(0.2, 3.0)
            if child.affine:
                nn.init.normal_(child.weight)
                nn.init.normal_(child.bias)
    return net.eval()


@pytest.mark.parametrize("affine", [True, False])
def test_folded_normalization_gives_the_same_logits_and_gradients(affine):
    net = convolved_and_normalized(affine=affine)
    classifier, images = wrapped(net), torch.rand(5, *SHAPE)
    assert [fold[:2] for fold in execution_of(classifier).folds] == [("0", "1"), ("3", "4")]
    found = {}
    for on in (True, False):
        with fast_paths(on), classifier.probe() as probe:
            found[on] = probe.gradient(images, lambda x, logits, rows: logits[:, 1])
    assert torch.allclose(found[True].outputs, net(images), atol=1e-5)
    assert torch.allclose(found[True].gradients, found[False].gradients, atol=1e-5)


@pytest.mark.parametrize("layer", ["0", "1", "2", "3", "4"])
def test_a_layer_that_is_looked_at_shows_what_the_network_computes_there(layer):
    """The output of a convolution whose normalization is folded would be the normalized one."""
    net = convolved_and_normalized()
    classifier, images, expected = wrapped(net), torch.rand(3, *SHAPE), []
    handle = net[int(layer)].register_forward_hook(lambda m, i, out: expected.append(out.clone()))
    net(images)
    handle.remove()
    with classifier.probe() as probe:
        assert probe.execution.folds
        assert torch.allclose(probe.activations(layer, images), expected[0], atol=1e-5)
        at = probe.layer_gradients(layer, images, [0, 1])
        assert torch.allclose(at.activations, expected[0], atol=1e-5)
        assert torch.allclose(at.logits, net(images), atol=1e-5)
        assert torch.equal(probe.weight("3"), net[3].weight)


class BesideNormalization(nn.Module):
    """The convolution's output goes around its normalization, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.again = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Identity()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.fc((self.norm(x) + self.again(x)).mean(dim=(2, 3)))


class AroundNormalization(BesideNormalization):
    """Likewise, where no module sees it."""

    def forward(self, x):
        x = self.conv(x)
        return self.fc((self.norm(x) * x.sigmoid()).mean(dim=(2, 3)))


@pytest.mark.parametrize("kind", [BesideNormalization, AroundNormalization])
def test_a_convolution_that_somebody_else_sees_is_not_folded(kind, monkeypatch):
    monkeypatch.setattr(kind, "__module__", "timm.models.made_up")
    monkeypatch.setattr(kind.forward, "__module__", "timm.models.made_up")
    torch.manual_seed(0)
    net = kind()
    net.norm.running_mean.fill_(0.5)
    net.norm.running_var.fill_(2.0)
    classifier, images = wrapped(net.eval()), torch.rand(4, *SHAPE)
    assert execution_of(classifier).channels_last and not execution_of(classifier).folds
    with classifier.probe() as probe:
        assert torch.allclose(probe.logits(images), net(images), atol=1e-5)


def test_layers_and_maps_are_looked_at_once_and_again_when_the_network_changes(monkeypatch):
    looked = []
    monkeypatch.setattr(
        "convscope.probe.LayerHooks.survey",
        lambda self, x, run, old=LayerHooks.survey: looked.append(1) or old(self, x, run),
    )
    net = convolved_and_normalized()
    classifier = wrapped(net)
    counts = []
    for _ in range(3):
        with classifier.probe() as probe:
            assert len(probe.layers()) == 7
            counts.append(probe.forwards)
    assert len(looked) == 1 and counts == [1, 1, 1]
    net.add_module("last", nn.Linear(4, 4))
    with classifier.probe() as probe:
        assert [info.name for info in probe.layers()][-1] == "last"
    assert len(looked) == 2


def test_random_weights_run_on_the_path_of_the_network_they_are_a_control_of(monkeypatch):
    classifier = wrapped(convolved_and_normalized())
    expected = execution_of(classifier)
    monkeypatch.setattr("convscope._network.execution.decide", None)
    random = with_random_weights(classifier)
    assert execution_of(random) == expected
    images = torch.rand(3, *SHAPE)
    with random.probe() as probe:
        assert torch.allclose(probe.logits(images), random.module(images), atol=1e-5)


def test_a_network_that_could_crash_in_channels_last_order_is_never_tried_in_it():
    """A trial cannot catch the end of the process: the structure decides."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, groups=8, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ).eval()  # fmt: skip
    assert may_crash_channels_last(net) and not may_crash_channels_last(net[0])
    words = Classifier.wrap(net, input_shape=(3, 12, 12)).describe()["execution"]
    assert "channels-last" not in words


class PadsFirst(nn.Module):
    """As networks do that compute their padding from the size of the image."""

    def __init__(self, sides, after=nn.Identity):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3)
        self.sides, self.after = sides, after()
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        kept = self.conv1(x)
        y = self.after(torch.nn.functional.pad(kept, self.sides))
        return self.fc(self.conv2(y).relu().mean((2, 3)) + kept.mean((2, 3)))


@pytest.fixture
def pads_in_a_library(monkeypatch):
    monkeypatch.setattr("convscope._network.execution.LIBRARIES", (PadsFirst.__module__,))


def test_padding_by_nothing_is_skipped_with_the_same_numbers(pads_in_a_library, monkeypatch):
    torch.manual_seed(0)
    classifier = Classifier.wrap(PadsFirst((0, 0, 0, 0)), input_shape=(3, 9, 9))
    images = torch.rand(5, 3, 9, 9)
    with classifier.probe() as probe:
        assert "padding by nothing skipped" in str(probe.execution)
        probe.maps(), probe.layers()  # Looked at plainly.
        pads = []
        plain = torch._C._nn.pad
        monkeypatch.setattr(torch._C._nn, "pad", lambda *a, **k: pads.append(1) or plain(*a, **k))
        logits, inside = probe.logits(images), probe.layer_gradients("conv2", images, [1])
        assert pads == []
    with fast_paths(False), classifier.probe() as probe:
        torch.testing.assert_close(logits, probe.logits(images))
        expected = probe.layer_gradients("conv2", images, [1])
        torch.testing.assert_close(inside.gradients, expected.gradients)
        assert pads


def test_padding_by_something_and_padding_that_is_written_to_are_done(pads_in_a_library):
    for module in (
        PadsFirst((1, 0, 0, 0)),
        PadsFirst((0, 0, 0, 0), after=lambda: nn.ReLU(inplace=True)),
    ):
        torch.manual_seed(0)
        classifier = Classifier.wrap(module, input_shape=(3, 9, 9))
        images = torch.rand(5, 3, 9, 9)
        with classifier.probe() as probe:
            assert not probe.execution.skips_empty_padding
            torch.testing.assert_close(probe.logits(images), module.eval()(images).detach())
