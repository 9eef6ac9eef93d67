"""Networks with a state, odd outputs, odd weights, or made by torch's own tools; 3 x 8 x 8."""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.zoo.convolutional import CLASSES, View, features, headed


class Stateful(View):
    """Counts its calls in a buffer, on itself and in a list, and keeps its last maps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.calls, self.log, self.cache = 0, [], {}

    def forward(self, x):
        self.count += 1
        self.calls += 1
        self.log.append(tuple(x.shape))
        self.cache["x"] = x
        return super().forward(x)


class CachesShapes(View):
    """Keeps a table for the batch size it has seen."""

    def __init__(self):
        super().__init__()
        self.tables = {}

    def forward(self, x):
        if len(x) not in self.tables:
            self.tables[len(x)] = torch.ones(len(x), 1)
        return super().forward(x) * self.tables[len(x)]


class CachesOnEval(View):
    """Computes a table when it enters evaluation mode and keeps it until it trains again."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(CLASSES))
        self.cached = None

    def train(self, mode=True):
        super().train(mode)
        if mode:
            self.cached = None
        return self

    def forward(self, x):
        if self.training:
            return super().forward(x) + self.bias.exp()
        if self.cached is None:
            self.cached = self.bias.exp().detach()
        return super().forward(x) + self.cached


class RegistersHooks(View):
    """Adds a hook on itself with every call."""

    def forward(self, x):
        self.fc1.register_forward_hook(lambda *_: None)
        return super().forward(x)


class WritesWeights(View):
    """Decays a weight behind autograd's back."""

    def forward(self, x):
        self.fc2.weight.data.mul_(1.0)
        self.fc2.bias.data.add_(0.0)
        return super().forward(x)


class InADict(View):
    def forward(self, x):
        return {"logits": super().forward(x), "pixels": x}


class InATuple(View):
    def forward(self, x):
        return super().forward(x), x.mean()


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


class InADataclass(View):
    def forward(self, x):
        return Output(logits=super().forward(x), hidden=x)


class MoreArguments(View):
    def forward(self, x, mask=None, *, scale=1.0, **kwargs):
        return super().forward(x) * scale


class Rounds(nn.Module):
    """Quantization-like rounding with a straight-through gradient."""

    def __init__(self):
        super().__init__()
        self.body = features()
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        levels = torch.round(x * 15) / 15
        x = x + (levels - x).detach()
        return self.fc(self.body(x).mean((2, 3)))


class RoundsHard(Rounds):
    """Rounding without any gradient."""

    def forward(self, x):
        return self.fc(self.body(torch.round(x * 15) / 15).mean((2, 3)))


class Softmax(View):
    def forward(self, x):
        return super().forward(x).softmax(1)


class DropoutAlways(View):
    """Dropout that stays active in evaluation mode."""

    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, training=True)


class StochasticDepth(nn.Module):
    """Skips a block at random, in training mode only."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        if not self.training or torch.rand(()) < 0.5:
            x = x + torch.relu(self.block(x))
        return self.fc(x.mean((2, 3)))


class ChannelsLast(nn.Module):
    """Everything behind the stem is (image, row, column, channel)."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 2, stride=2), nn.LayerNorm(6)
        self.mlp = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x + self.mlp(self.norm(x))
        return self.fc(x.mean((1, 2)))


class Tokens(nn.Module):
    """A small vision transformer with a class token."""

    def __init__(self):
        super().__init__()
        self.patches, self.start = nn.Conv2d(3, 8, 2, stride=2), nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 17, 8) * 0.1)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.start.expand(len(x), -1, -1), x], 1) + self.places
        return self.fc(self.block(x)[:, 0])


class Windows(nn.Module):
    """Attention inside windows of a channels-last map, with a table of relative places."""

    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(1, 2, 4, 4))

        def forward(self):
            return torch.sigmoid(self.table)

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 2, stride=2), nn.LayerNorm(8)
        self.qkv, self.drop, self.bias = nn.Linear(8, 24), nn.Dropout(0.1), self.Bias()
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        n = len(x)
        w = self.norm(x).view(n, 2, 2, 2, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(n * 4, 4, 8)
        q, k, v = self.qkv(w).view(n * 4, 4, 3, 2, 4).permute(2, 0, 3, 1, 4)
        a = self.drop((q @ k.transpose(-2, -1) + self.bias()).softmax(-1))
        y = (a @ v).transpose(1, 2).reshape(n, 2, 2, 2, 2, 8).permute(0, 1, 3, 2, 4, 5)
        return self.fc((x + y.reshape(n, 4, 4, 8)).mean((1, 2)))


class Recurrent(nn.Module):
    """Rows of maps as a sequence."""

    def __init__(self):
        super().__init__()
        self.conv, self.lstm = nn.Conv2d(3, 4, 3), nn.LSTM(24, 8, batch_first=True)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.relu(self.conv(x)).permute(0, 2, 1, 3).flatten(2)
        return self.fc(self.lstm(x)[0][:, -1])


def frozen():
    return View().requires_grad_(False)


def mixed():
    net = View()
    net.conv1.requires_grad_(False)
    net.fc2.bias.requires_grad_(False)
    return net


def training():
    net = headed(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), width=6)
    return net.train()


def weight_norm():
    net = View()
    parametrizations.weight_norm(net.conv1)
    return net


def spectral_norm():
    net = View()
    parametrizations.spectral_norm(net.conv1)
    return net.train()


def orthogonal():
    net = View()
    parametrizations.orthogonal(net.fc1)
    return net


def pruned():
    net = View()
    prune.l1_unstructured(net.conv1, "weight", amount=0.4)
    prune.random_unstructured(net.fc1, "weight", amount=0.3)
    return net


def old_weight_norm():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 6, 3)), nn.ReLU(), nn.Flatten(),
                            nn.Linear(216, CLASSES))  # fmt: skip
    net(torch.rand(2, 3, 8, 8))
    return net


def hooked():
    net = View()
    net.conv1.register_forward_hook(lambda module, inputs, output: output * 2)
    net.fc1.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    return net


def scripted(frozen=False):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(View().eval())
        return torch.jit.freeze(made) if frozen else made


def traced():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(FlattenedByShape().eval(), torch.rand(2, 3, 8, 8))


class FlattenedByShape(View):
    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(F.max_pool2d(self.conv1(x), 2))))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def compiled(called=False):
    net = torch.compile(FlattenedByShape().eval(), backend="eager")
    if called:
        net(torch.rand(2, 3, 8, 8))
    return net


def compiled_in_place():
    net = FlattenedByShape().eval()
    net.compile(backend="eager")
    return net


def exported():
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(
        FlattenedByShape().eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: batch},)
    )
    return program.module()


def graph_module():
    return torch.fx.symbolic_trace(FlattenedByShape().eval())


def patched():
    """A forward set on the instance."""
    net = View()
    old = net.forward
    net.forward = lambda x: old(x) * 2
    return net


def partial_head():
    net = View()
    net.act = functools.partial(F.leaky_relu, negative_slope=0.3)
    old = net.forward
    net.forward = lambda x: net.act(old(x))
    return net


def user_channels_last():
    return headed(*features(), width=8).to(memory_format=torch.channels_last)


def many_classes():
    return nn.Sequential(*features(True), nn.Flatten(), nn.Linear(32, 1200))


def tied():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 192), nn.ReLU(), nn.Linear(192, 192),
                        nn.Linear(192, CLASSES))  # fmt: skip
    net[3].weight = net[1].weight
    return net


ODD = {
    "stateful": Stateful, "caches shapes": CachesShapes, "caches on eval": CachesOnEval,
    "registers hooks": RegistersHooks, "writes weights": WritesWeights, "dict": InADict,
    "tuple": InATuple, "dataclass": InADataclass, "more arguments": MoreArguments,
    "rounds": Rounds, "rounds hard": RoundsHard, "softmax": Softmax,
    "dropout always": DropoutAlways, "stochastic depth": StochasticDepth,
    "channels last": ChannelsLast, "tokens": Tokens, "windows": Windows, "recurrent": Recurrent,
    "frozen": frozen, "mixed requires_grad": mixed, "train mode": training,
    "weight norm": weight_norm, "spectral norm": spectral_norm, "orthogonal": orthogonal,
    "pruned": pruned, "old weight norm": old_weight_norm, "hooked": hooked,
    "scripted": scripted, "frozen scripted": lambda: scripted(frozen=True), "traced": traced,
    "compiled": compiled, "compiled and called": lambda: compiled(called=True),
    "compiled in place": compiled_in_place, "exported": exported, "graph module": graph_module,
    "data parallel": lambda: nn.DataParallel(View()), "patched": patched,
    "partial head": partial_head, "user's channels-last": user_channels_last,
    "float64": lambda: FlattenedByShape().double(),
    "bfloat16": lambda: FlattenedByShape().bfloat16(),
    "many classes": many_classes, "tied": tied,
}  # fmt: skip

WRAPPED_WITH = {
    "dict": {"output": lambda out: out["logits"]},
    "tuple": {"output": lambda out: out[0]},
    "dataclass": {"output": lambda out: out.logits},
    "softmax": {"probabilities": True},
}

# The compiler itself warns; what it compiles means what eager execution says.
ODD_TWINS = {
    name: lambda: FlattenedByShape().eval()
    for name in ("compiled", "compiled and called", "compiled in place")
}
