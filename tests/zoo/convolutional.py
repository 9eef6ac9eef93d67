"""Convolutional networks in the spellings that people write; small, 3 x 8 x 8, 5 classes."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 5


class View(nn.Module):
    """The network of all tutorials: ``x.view(-1, 72)``."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 2)
        self.fc1, self.fc2 = nn.Linear(72, 16), nn.Linear(16, CLASSES)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(self.conv2(x))
        x = x.view(-1, 72)
        return self.fc2(F.relu(self.fc1(x)))


class ViewOfSize(View):
    """``x.view(x.size(0), -1)``."""

    def forward(self, x):
        x = torch.relu(torch.max_pool2d(self.conv1(x), 2))
        x = torch.relu(self.conv2(x))
        x = x.view(x.size(0), -1)
        return self.fc2(torch.relu(self.fc1(x)))


class FlattenMethod(View):
    """``x.flatten(1)`` and functions for everything else."""

    def forward(self, x):
        x = self.conv1(x).relu()
        x = F.max_pool2d(x, kernel_size=2, stride=2)
        x = self.conv2(x).clamp(min=0).flatten(1)
        return self.fc2(self.fc1(x).relu())


class Functional(View):
    """Convolutions as functions, with positional integers."""

    def forward(self, x):
        x = F.conv2d(x, self.conv1.weight, self.conv1.bias, 1, 1, 1, 1)
        x = F.max_pool2d(torch.relu_(x), 2)
        x = F.conv2d(x, self.conv2.weight, None, 1, 0) + self.conv2.bias[:, None, None]
        x = F.relu(x, inplace=True).reshape(len(x), -1)
        return F.linear(F.relu(F.linear(x, self.fc1.weight, self.fc1.bias)), self.fc2.weight)


def features(inplace=False):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2),
    )  # fmt: skip


class Sliced(nn.Module):
    """Fine and coarse maps from slices of one sequence: what lies between is seen."""

    def __init__(self):
        super().__init__()
        self.features, self.head = features(), nn.Linear(6 + 8, CLASSES)

    def forward(self, x):
        fine = self.features[:2](x)
        coarse = self.features[2:](fine)
        return self.head(torch.cat([fine.mean((2, 3)), coarse.mean((2, 3))], 1))


class Indexed(Sliced):
    """Layers by number."""

    def forward(self, x):
        fine = self.features[1](self.features[0](x))
        coarse = self.features[2](fine)
        for number in range(3, 6):
            coarse = self.features[number](coarse)
        return self.head(torch.cat([fine.amax((2, 3)), coarse.mean((2, 3))], 1))


class Looped(nn.Module):
    """A loop that keeps every map it passes."""

    def __init__(self):
        super().__init__()
        self.features, self.head = features(), nn.Linear(6 + 6 + 6 + 8 + 8 + 8, CLASSES)

    def forward(self, x):
        kept = []
        for layer in self.features:
            x = layer(x)
            kept.append(x.mean((2, 3)))
        return self.head(torch.cat(kept, 1))


class LoopedByKind(Sliced):
    """A loop that keeps the maps before each pooling."""

    def forward(self, x):
        kept = []
        for layer in self.features.children():
            if isinstance(layer, nn.MaxPool2d):
                kept.append(x.amax((2, 3)))
            x = layer(x)
        return self.head(torch.cat(kept, 1))


class SideEffect(nn.Module):
    """Needs what an in-place ReLU does to its input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.tail = nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        y = self.conv(x)
        z = self.tail(y)
        return self.head(torch.cat([y.mean((2, 3)), z.mean((2, 3))], 1))


class SkipReadsOverwritten(nn.Module):
    """A skip branch that reads the map that an in-place ReLU has overwritten."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, CLASSES)

    def forward(self, x):
        skip = self.first(x)
        out = self.second(self.relu(skip))
        out += skip
        return self.head(F.avg_pool2d(self.relu(out), 8).flatten(1))


class NormalizesInPlace(View):
    """Overwrites its input."""

    def forward(self, x):
        x -= 0.5
        x /= 0.25
        return super().forward(x)


class NormalizesByMethod(View):
    """Overwrites its input by method calls, channel by channel."""

    def forward(self, x):
        for channel, (mean, std) in enumerate(((0.4, 0.2), (0.5, 0.3), (0.6, 0.25))):
            x[:, channel].sub_(mean).div_(std)
        return super().forward(x.clamp_(-2, 2))


class Listed(nn.Module):
    """``ModuleList`` and ``ModuleDict``."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)])
        self.parts = nn.ModuleDict({"act": nn.SiLU(inplace=True), "head": nn.Linear(6, CLASSES)})

    def forward(self, x):
        for conv in self.convs:
            x = self.parts["act"](conv(x))
        return self.parts["head"](x.mean(dim=(-2, -1)))


class SharedModules(nn.Module):
    """One convolution, one ReLU and one pooling used again and again."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.pool(self.relu(self.stem(x)))
        for _ in range(2):
            x = self.relu(self.conv(x))
        return self.head(self.pool(x).flatten(2).mean(2))


class Residual(nn.Module):
    """Basic blocks with batch normalization, as torchvision writes them."""

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

        def forward(self, x):
            identity = x
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            out += identity
            return self.relu(out)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layer1 = nn.Sequential(self.Block(6), self.Block(6))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.avgpool(self.layer1(self.stem(x)))
        return self.fc(torch.flatten(x, 1))


class BareResidual(nn.Module):
    """Sums in the forward of the whole network: no module returns them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.c, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.a(x)
        x = x + F.relu(self.b(x))
        x = x + F.relu(self.c(x))
        return self.fc(x.mean((2, 3)))


class Dense(nn.Module):
    """Concatenates everything so far."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3)])
        self.norm, self.fc = nn.BatchNorm2d(15), nn.Linear(15, CLASSES)

    def forward(self, x):
        maps = [x]
        for conv in self.convs:
            maps.append(F.relu(conv(torch.cat(maps, 1))))
        return self.fc(F.relu(self.norm(torch.cat(maps, 1)), inplace=True).mean((2, 3)))


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3, padding=1)
        self.five, self.pool = nn.Conv2d(3, 3, 5, padding=2), nn.MaxPool2d(3, 1, 1)
        self.join, self.fc = nn.Identity(), nn.Linear(12, CLASSES)

    def forward(self, x):
        branches = [self.one(x), self.three(x), self.five(x), self.pool(x)]
        return self.fc(self.join(torch.cat(branches, dim=1)).relu().mean((2, 3)))


class ChannelShuffle(nn.Module):
    """Groups whose channels are mixed by a view and a transposition."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = F.relu(self.a(x))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.fc(F.relu(self.b(x)).mean((2, 3)))


class Splits(nn.Module):
    """``torch.split`` and ``chunk`` along channels."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(5, 4, 3, padding=1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        left, right = torch.split(self.stem(x), [3, 5], dim=1)
        y = torch.cat([self.left(left), self.right(right)], dim=1)
        a, b = y.chunk(2, dim=1)
        return self.fc(torch.cat([a * b.sigmoid(), b], 1).amax((2, 3)))


class ThereAndBack(nn.Module):
    """``permute`` to channels last for a normalization, and back."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.LayerNorm(6)
        self.point, self.act = nn.Linear(6, 6), nn.GELU()
        self.last, self.fc = nn.Conv2d(6, 6, 3, stride=2), nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.conv(x)
        y = self.act(self.point(self.norm(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        return self.fc(self.last(x + y).mean((2, 3)))


class ConvMixer(nn.Module):
    """Large depthwise kernels with a skip."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2, stride=2)
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, padding="same", groups=8), nn.GELU())
        self.point, self.norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        x = self.norm(F.gelu(self.point(x + self.depth(x))))
        return self.fc(x.mean([2, 3]))


class SqueezeExcite(nn.Module):
    """Channels gated by their mean."""

    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = (
            nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        )  # fmt: skip
        self.act, self.fc = nn.Hardswish(inplace=True), nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.act(self.conv(x))
        gate = self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))).sigmoid()
        return self.fc((x * gate).mean((2, 3)))


class Attention(nn.Module):
    """Attention between places in the middle of a convolutional network."""

    def __init__(self):
        super().__init__()
        self.conv, self.qkv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 24, 1)
        self.out, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, x):
        x = F.relu(self.conv(x))
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).view(n, 3, c, h * w).unbind(1)
        y = (v @ (q.transpose(1, 2) @ k / c**0.5).softmax(-1).transpose(1, 2)).view(n, c, h, w)
        return self.fc(self.out(x + y).mean((2, 3)))


class PreActivation(nn.Module):
    """Normalization and activation before each convolution, dropout and a flat head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.body = nn.Sequential(
            nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.Dropout2d(0.3)
        )
        self.fc = nn.Linear(6 * 64, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        return self.fc(F.dropout((x + self.body(x)).flatten(1), 0.2, self.training))


def sequence(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


def headed(*layers, width):
    """The layers, global average pooling and a dense head."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


CONVOLUTIONAL = {
    "view": View, "view of size": ViewOfSize, "flatten": FlattenMethod, "functional": Functional,
    "sliced": Sliced, "indexed": Indexed, "looped": Looped, "looped by kind": LoopedByKind,
    "side effect": SideEffect, "skip reads overwritten": SkipReadsOverwritten,
    "normalizes in place": NormalizesInPlace, "normalizes by method": NormalizesByMethod,
    "listed": Listed, "shared": SharedModules, "residual": Residual,
    "bare residual": BareResidual, "dense": Dense, "inception": Inception,
    "channel shuffle": ChannelShuffle, "splits": Splits, "there and back": ThereAndBack,
    "conv mixer": ConvMixer, "squeeze excite": SqueezeExcite, "attention": Attention,
    "pre-activation": PreActivation,
    "sequential": lambda: headed(*features(), width=8),
    "in-place sequential": lambda: headed(*features(True), width=8),
    "nested sequential": lambda: headed(nn.Sequential(features(True)[:3], features(True)[3:]),
                                        width=8),
    "ReLU first": lambda: headed(nn.ReLU(inplace=True), nn.Conv2d(3, 6, 3), nn.ReLU(),
                                 nn.MaxPool2d(2), width=6),
    "depthwise": lambda: headed(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 8, 1), nn.ReLU6(True),
                                width=8),
    "dilated": lambda: headed(nn.Conv2d(3, 6, 3, dilation=2, padding=2), nn.ELU(True), width=6),
    "grouped": lambda: headed(nn.Conv2d(3, 6, 3, groups=3), nn.Mish(inplace=True), width=6),
    "transposed": lambda: headed(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(True),
                                 nn.ConvTranspose2d(6, 5, 2, stride=2), nn.Tanh(), width=5),
    "circular": lambda: headed(nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                               width=6),
    "asymmetric": lambda: headed(nn.ZeroPad2d((0, 2, 1, 0)), nn.Conv2d(3, 6, (3, 2), (1, 2)),
                                 nn.LeakyReLU(0.1, True), width=6),
    "reflection": lambda: headed(nn.ReflectionPad2d(1), nn.Conv2d(3, 6, 3), nn.Softplus(),
                                 width=6),
    "average pooling": lambda: headed(nn.Conv2d(3, 6, 3), nn.ReLU(),
                                      nn.AvgPool2d(2, ceil_mode=True), width=6),
    "adaptive pooling": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveMaxPool2d(3),
                                              nn.PReLU(6), nn.Flatten(), nn.Linear(54, CLASSES)),
    "1x1 maps": lambda: nn.Sequential(nn.Conv2d(3, 8, 8), nn.ReLU(), nn.Conv2d(8, CLASSES, 1),
                                      nn.Flatten()),
    "group norm": lambda: headed(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.SELU(), width=6),
    "instance norm": lambda: headed(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6), nn.ReLU(), width=6),
    "pixel shuffle": lambda: headed(nn.Conv2d(3, 12, 3), nn.PixelShuffle(2), nn.ReLU(), width=3),
    "upsampled": lambda: headed(nn.Conv2d(3, 6, 3, stride=2), nn.Upsample(scale_factor=2),
                                nn.ReLU(), width=6),
    "unflattened": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 32),
                                         nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 3, 3),
                                         nn.Flatten(), nn.Linear(12, CLASSES)),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)),
    "no bias": lambda: headed(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), width=6),
}  # fmt: skip
