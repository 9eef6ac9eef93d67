"""What a page gets of a network: proven, refused by name, and nothing left behind."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope import Classifier
from convscope.data import open_dataset
from convscope.errors import ModelContractError, UsageError
from convscope.explanations import grad_cam
from convscope.models import load
from convscope.playground import PlayableNetwork, _export, playable_network
from convscope.playground._export import TOLERANCE
from convscope.playground._quantize import WIDTHS


class Branching(nn.Module):
    """Asks for shapes, as code of many people does."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 16, 3)

    def forward(self, x):
        if x.dim() == 3:
            x = x.unsqueeze(0)
        x = self.bn(self.conv(x))
        batch, channels, height, width = x.shape
        return self.fc(torch.relu(x).view(batch, channels * height * width))


def wrapped(module, shape=(1, 4, 4), **more):
    return Classifier.wrap(module.eval(), input_shape=shape, **more)


def images(classifier, count=8):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, *classifier.input_shape, generator=generator)


def test_code_may_branch_on_shapes():
    classifier = wrapped(Branching())
    made = playable_network(classifier, images(classifier))
    assert [n["op"] for n in made.graph["nodes"]] == [
        "input",
        "conv2d",
        "relu",
        "reshape",
        "linear",
    ]
    assert made.graph["nodes"][1]["folded"] is True


def test_the_network_is_left_as_it_was():
    module = Branching().train()
    calls = []
    module.conv.register_forward_hook(lambda *a: calls.append(1))
    classifier = Classifier.wrap(module, input_shape=(1, 4, 4))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    calls.clear()
    forward, call, getattr_ = nn.Conv2d.forward, nn.Module.__call__, nn.Module.__getattr__
    playable_network(classifier, images(classifier))
    assert module.training and module.conv.training
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())
    assert all(p.requires_grad for p in module.parameters())
    assert (nn.Conv2d.forward, nn.Module.__call__, nn.Module.__getattr__) == (
        forward,
        call,
        getattr_,
    )


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "0 (Conv2d)"),
        (nn.LayerNorm(4), "0 (LayerNorm)"),
        (nn.PReLU(), "0 (PReLU)"),
        (nn.InstanceNorm2d(1), "0 (InstanceNorm2d)"),
        (nn.BatchNorm2d(1, track_running_stats=False), "BatchNorm2d"),
        (nn.Upsample(scale_factor=2), "0 (Upsample)"),
    ],
)  # fmt: skip
def test_a_layer_that_a_page_cannot_do_is_named(layer, named):
    module = nn.Sequential(layer, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 2)).eval()
    classifier = Classifier(module=module, class_names=("a", "b"), input_shape=(1, 4, 4))
    with pytest.raises(ModelContractError, match="cannot run") as caught:
        playable_network(classifier, torch.rand(2, 1, 4, 4))
    assert caught.value.code == "M27" and named in str(caught.value)


class ByValue(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 2)

    def forward(self, x):
        x = x.flatten(1)
        return self.fc(-x if x.mean() > 0.9 else x)


class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 2)

    def forward(self, x):
        return self.fc(torch.sort(x.flatten(1))[0])


class Itemized(ByValue):
    def forward(self, x):
        return self.fc(x.flatten(1) * x.max().item())


def test_what_depends_on_values_is_refused_and_so_is_an_unknown_function():
    with pytest.raises(ModelContractError, match="cannot be followed"):
        playable_network(wrapped(ByValue()), torch.rand(2, 1, 4, 4))
    with pytest.raises(ModelContractError, match=r"sort"):
        playable_network(wrapped(Sorted()), torch.rand(2, 1, 4, 4))
    with pytest.raises(ModelContractError, match=r"item"):
        item = Classifier(module=Itemized(), class_names=("a", "b"), input_shape=(1, 4, 4))
        playable_network(item, torch.rand(2, 1, 4, 4))


def test_functions_of_one_s_own_around_the_network_are_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    for more in ({"preprocess": lambda x: x * 2}, {"output": lambda found: found}):
        classifier = wrapped(net, **more)
        with pytest.raises(ModelContractError, match="of your own"):
            playable_network(classifier, torch.rand(2, 1, 4, 4))


def test_mean_std_and_a_softmax_at_the_end_come_along():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.Softmax(dim=1))
    classifier = wrapped(
        net, (3, 4, 4), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3), probabilities=True
    )
    made = playable_network(classifier, images(classifier))
    assert [n["op"] for n in made.graph["nodes"]][::4] == ["input", "softmax"]
    assert made.graph["nodes"][-1]["op"] == "log" and made.difference < TOLERANCE


@pytest.mark.parametrize("name", ["mnist-conv1", "mnist-conv2", "mnist-conv2-fc-bn"])
def test_the_bits_are_the_fewest_that_keep_every_probability(name):
    classifier = load(name)
    some = images(classifier, 100)
    made = playable_network(classifier, some)
    assert made.difference <= _export.AIM and made.compared == 100
    fewer = [bits for bits in WIDTHS if bits < made.bits]
    if fewer:
        traced = _export.trace(classifier)
        found = [(n, k, t) for n in traced.nodes for k, t in n.tensors.items() if t is not None]
        with classifier.probe() as probe:
            truth = probe.logits(some).softmax(dim=1)
        sizes = [t.numel() for _, _, t in found]
        widths = _export.widths(sizes, fewer[-1])
        stored = [_export.store(t, w) for (_, _, t), w in zip(found, widths, strict=True)]
        nodes = _export._with(traced.nodes, found, stored)
        assert _export._difference(nodes, some, truth) > _export.AIM


def test_a_page_that_would_predict_otherwise_is_refused(monkeypatch):
    """The comparison is of what the page computes: break that, and it must notice."""
    right = _export.run
    classifier = load("mnist-conv1")
    some = open_dataset("digits").test.to_float(torch.arange(40))
    monkeypatch.setattr(
        _export, "run", lambda nodes, x: right(nodes, x) + torch.tensor([0.05] + [0.0] * 9)
    )
    with pytest.raises(ModelContractError, match="differs by") as caught:
        playable_network(classifier, some)
    assert caught.value.code == "M27"
    monkeypatch.setattr(_export, "run", lambda nodes, x: right(nodes, x) * float("nan"))
    with pytest.raises(ModelContractError, match="differs by"):
        playable_network(classifier, some)


def test_too_large_a_network_is_refused_with_its_size():
    classifier = load("mnist-conv2-fc")
    with pytest.raises(ModelContractError, match=r"0\.8 MB inside a page") as caught:
        playable_network(classifier, images(classifier, 2), largest=500_000)
    assert caught.value.code == "M28" and "at most 0.5 MB" in str(caught.value)
    made = playable_network(classifier, images(classifier, 2))
    with pytest.raises(ModelContractError, match="inside a page"):
        playable_network(classifier, images(classifier, 2), largest=made.size - 1)


def test_black_boxes_and_no_images_are_refused():
    box = Classifier.from_function(lambda x: x.reshape(len(x), -1)[:, :3], input_shape=(1, 4, 4))
    with pytest.raises(ModelContractError) as caught:
        playable_network(box, torch.rand(2, 1, 4, 4))
    assert caught.value.code == "M26"
    with pytest.raises(UsageError, match="no images"):
        playable_network(load("mnist-conv1"), torch.zeros(0, 1, 28, 28))


@pytest.mark.parametrize("name", ["mnist-conv2", "cifar-resnet20"])
def test_grad_cam_looks_at_the_layer_that_the_library_looks_at(name):
    classifier = load(name)
    some = images(classifier, 2)
    made = playable_network(classifier, some)
    explained = grad_cam(classifier, some[:1], 0)
    assert made.graph["cam"] is not None
    shape = made.graph["nodes"][made.graph["cam"]]["shape"]
    assert shape[1:] == list(explained.evidence["coarse"].shape[2:])


def test_class_names_come_along_as_they_are():
    names = ('"><script>alert(1)</script>', "\u202ex", "b")
    classifier = wrapped(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), class_names=names)
    made = playable_network(classifier, images(classifier))
    assert isinstance(made, PlayableNetwork) and made.graph["classes"] == list(names)
    digits = replace(load("mnist-conv1"), class_names=tuple("abcdefghij"))
    assert playable_network(digits, images(digits, 1)).graph["input"]["rule"]["kind"] == "resize"
