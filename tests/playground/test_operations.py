"""Every operation of the page's engine against torch: values and gradients by the input."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope import Classifier
from convscope.playground._quantize import pack, store
from convscope.playground._run import OPERATIONS, run

from .conftest import whole

MAIN = """
async function main({ cases }) {
  const { Network } = $nn;
  const { decodeWeights } = $weights;
  const out = [];
  for (const { graph, weights, images, seeds } of cases) {
    const network = new Network(graph, await decodeWeights(weights, graph.tensors));
    out.push(images.map((image, i) => {
      const tape = network.forward(Float32Array.from(image));
      return { logits: [...tape.logits], gradient: [...network.backward(tape, seeds[i])] };
    }));
  }
  return out;
}
"""


class Function(nn.Module):
    """A network of one function, and a dense layer behind it that mixes what comes out."""

    def __init__(self, function, shape, outputs=3):
        super().__init__()
        self.function = function
        with torch.no_grad():
            count = function(torch.zeros(1, *shape)).flatten(1).shape[1]
        self.mix = nn.Linear(count, outputs)

    def forward(self, x):
        return self.mix(self.function(x).flatten(1))


def network(module, shape):
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.3, 2.0)
    return Classifier.wrap(module.eval(), input_shape=shape)


def convolution(cin, cout, kernel, stride, padding, dilation, groups, bias, side=(9, 8)):
    layer = nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias)
    return Function(layer, (cin, *side)), (cin, *side)


def convolutions():
    for kernel, stride, padding, dilation in itertools.product(
        (1, 2, 3, (3, 2)), (1, 2, (1, 3)), (0, 1, (2, 1)), (1, 2, (2, 1))
    ):
        yield convolution(3, 5, kernel, stride, padding, dilation, 1, True)
    for groups, cin, cout in ((2, 4, 6), (4, 4, 4), (4, 4, 8), (3, 6, 3)):
        for stride, padding, dilation in ((1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 0, (1, 2))):
            yield convolution(cin, cout, 3, stride, padding, dilation, groups, groups % 2 == 0)
    yield convolution(1, 1, 3, 1, 1, 1, 1, False)
    yield convolution(2, 17, (5, 1), 1, "same", 1, 1, True)
    yield convolution(2, 3, 3, 1, "valid", 2, 1, True)


def poolings():
    for kernel, stride, padding in itertools.product((2, 3, (3, 2)), (None, 1, (2, 3)), (0, 1)):
        for ceil in (False, True):
            yield nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
            for count in (False, True):
                yield nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=count)
    yield nn.MaxPool2d(2, 1, dilation=2)
    yield nn.AvgPool2d(2, divisor_override=3)
    for size in (1, 2, (3, 2), (5, 7)):
        yield nn.AdaptiveAvgPool2d(size)
        yield nn.AdaptiveMaxPool2d(size)


FUNCTIONS = {
    "relu": F.relu,
    "relu6": lambda x: F.relu6(8 * x),
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.4),
    "clamp": lambda x: torch.clamp(x, min=-0.2),
    "leaky": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "gelu": F.gelu,
    "gelu-wide": lambda x: F.gelu(9 * x),
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardsigmoid": lambda x: F.hardsigmoid(6 * x),
    "hardswish": lambda x: F.hardswish(6 * x),
    "scale": lambda x: 2 - (x * 3 + 1) / 4,
    "per channel": lambda x: x * torch.tensor([1.0, -2.0]).view(2, 1, 1) - torch.ones(2, 1, 1),
    "add": lambda x: x + F.relu(x),
    "subtract": lambda x: torch.sub(x, F.relu(x), alpha=2),
    "itself": lambda x: x + x,
    "multiply": lambda x: x * torch.sigmoid(x),
    "squeeze and excite": lambda x: x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1)),
    "add a mean": lambda x: x + x.mean((2, 3), keepdim=True),
    "mean": lambda x: x.mean(dim=[-1, -2]),
    "concatenate": lambda x: torch.cat([x, F.relu(x), x * 2], dim=1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1, 1, 0), value=0.3),
    "crop": lambda x: F.pad(x, (-1, 0, -2, 1)),
    "slice": lambda x: x[:, :1, 1::2, ::3],
    "shortcut": lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)),
    "reshape": lambda x: x.view(x.size(0), -1) * 2,
    "softmax": lambda x: F.softmax(x.flatten(1), dim=1),
    "log-softmax": lambda x: F.log_softmax(x.flatten(1), dim=-1),
}  # fmt: skip


class Normalized(nn.Module):
    """Batch normalization that folds, that does not, and in front of everything."""

    def __init__(self):
        super().__init__()
        self.first, self.conv, self.bn = nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.shared, self.after, self.fc = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.bn(self.conv(self.first(x)))
        y = self.shared(x)
        x = torch.relu(self.after(y)) + y
        return self.fc(x.mean((2, 3)))


class TwoNames(nn.Module):
    """A convolution that is read twice, once under another name: nothing may be folded into it."""

    def __init__(self):
        super().__init__()
        self.conv, self.same, self.bn = nn.Conv2d(2, 3, 3), nn.Identity(), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        y = self.conv(x)
        return self.fc((self.bn(self.same(y)) + y).mean((2, 3)))


def cases():
    """Names, and networks with the shape of their images."""
    for i, (module, shape) in enumerate(convolutions()):
        yield f"conv {i}", module, shape
    for i, layer in enumerate(poolings()):
        yield f"pool {i} {layer}", Function(layer, (2, 9, 8)), (2, 9, 8)
    for name, function in FUNCTIONS.items():
        yield name, Function(lambda x, f=function: f(x - 0.5), (2, 6, 5)), (2, 6, 5)
    yield "batch norm", Normalized(), (2, 6, 5)
    yield "two names", TwoNames(), (2, 6, 5)


def truth(classifier, images, seeds):
    x = images.clone().requires_grad_(True)
    logits = classifier.logits(x)
    (gradient,) = torch.autograd.grad((logits * seeds).sum(), x)
    return logits.detach(), gradient


def test_every_operation_gives_the_values_and_gradients_of_torch(javascript):
    payload, expected, names = [], [], []
    for name, module, shape in cases():
        classifier = network(module, shape)
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(3))
        seeds = torch.randn(2, classifier.num_classes, generator=torch.Generator().manual_seed(4))
        nodes, graph, weights = whole(classifier)
        payload.append(
            {
                "graph": graph,
                "weights": weights,
                "images": images.flatten(1).tolist(),
                "seeds": seeds.tolist(),
            }
        )
        logits, gradient = truth(classifier, images, seeds)
        ours = run(nodes, images)
        assert torch.allclose(ours, logits, atol=1e-5), f"{name}: {(ours - logits).abs().max()}"
        expected.append((logits, gradient))
        names.append(name)
    found = javascript(["nn", "weights"], MAIN, {"cases": payload})
    for name, rows, (logits, gradient) in zip(names, found, expected, strict=True):
        ours = torch.tensor([row["logits"] for row in rows])
        assert torch.allclose(ours, logits, atol=2e-5, rtol=2e-5), f"{name}: logits"
        ours = torch.tensor([row["gradient"] for row in rows]).view_as(gradient)
        worst = float((ours - gradient).abs().max())
        assert worst <= 2e-5 * max(1.0, float(gradient.abs().max())), f"{name}: gradient {worst}"


def test_engine_and_comparison_know_the_same_operations(javascript):
    known = javascript(["nn"], "async function main() { return $nn.KNOWN_OPERATIONS; }", None)
    assert sorted(known) == sorted(OPERATIONS)


@pytest.mark.parametrize("bits", [8, 9, 11, 12, 13, 16, 32])
def test_the_page_decodes_the_numbers_that_were_stored(javascript, bits):
    torch.manual_seed(0)
    tensors = [torch.randn(7, 61), torch.zeros(3, 100), torch.randn(5), 1e-3 * torch.randn(4, 8, 9)]
    stored = [store(tensor, bits) for tensor in tensors]
    main = """async function main({ text, about }) {
      return (await $weights.decodeWeights(text, about)).map((values) => [...values]);
    }"""
    found = javascript(
        ["weights"], main, {"text": pack(stored), "about": [kept.about() for kept in stored]}
    )
    for values, kept in zip(found, stored, strict=True):
        assert np.array_equal(np.float32(values), kept.values.numpy().reshape(-1))
