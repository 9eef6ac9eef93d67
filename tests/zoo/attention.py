"""Networks of tokens and channels-last maps, and where their places are.

`PLACES` says how the outputs of the layer that class activation maps look at become maps; it is
written by hand, apart from what the package finds out.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tests.zoo.convolutional import CLASSES

WIDTH = 8


class Block(nn.Module):
    """Attention and a network per token, each added to what came in."""

    def __init__(self, fused=True):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 12), nn.GELU(), nn.Linear(12, WIDTH))
        self.fused = fused

    def attend(self, x):
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = (q @ k.transpose(-2, -1) / 2).softmax(dim=-1) @ v
        return self.out(x.transpose(1, 2).reshape(n, tokens, WIDTH))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Class token, registers behind it or after the patches, and a head that reads one or all."""

    def __init__(self, before=1, after=0, average=False, fused=True):
        super().__init__()
        self.patches, self.average = nn.Conv2d(3, WIDTH, 2, stride=2), average
        self.first = nn.Parameter(torch.randn(1, before, WIDTH))
        self.last = nn.Parameter(torch.randn(1, after, WIDTH))
        self.places = nn.Parameter(0.1 * torch.randn(1, 16, WIDTH))
        self.blocks = nn.Sequential(*(Block(fused) for _ in range(3)))
        self.norm, self.fc = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.before, self.after = before, after

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        parts = [self.first.expand(len(x), -1, -1)] if self.before else []
        parts += [x, *([self.last.expand(len(x), -1, -1)] if self.after else [])]
        x = self.norm(self.blocks(torch.cat(parts, dim=1)))
        kept = x[:, self.before : self.before + 16].mean(1) if self.average else x[:, 0]
        return self.fc(kept)


class LibraryTransformer(nn.Module):
    """Blocks of torch's own, and a patch grid of 2 rows and 4 columns."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, (4, 2), stride=(4, 2))
        self.start = nn.Parameter(torch.randn(1, 1, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.start.expand(len(x), -1, -1), x], dim=1)
        return self.fc(self.encoder(x)[:, 0])


class WindowBlock(Block):
    """Attention within windows of 2 x 2 of a channels-last map, which may be rolled by one."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x):
        n, height, width, _ = x.shape
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-1, -1), dims=(1, 2))
        y = y.view(n, height // 2, 2, width // 2, 2, WIDTH).permute(0, 1, 3, 2, 4, 5)
        y = self.attend(y.reshape(-1, 4, WIDTH))
        y = y.view(n, height // 2, width // 2, 2, 2, WIDTH).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(n, height, width, WIDTH)
        if self.shift:
            y = torch.roll(y, (1, 1), dims=(1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class ShiftedWindows(nn.Module):
    """Windows, then rolled windows; the head averages over rows and columns."""

    def __init__(self, *more):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 2, stride=2)
        self.blocks = nn.Sequential(WindowBlock(False), *(more or (WindowBlock(True),)))
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(self.blocks(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


class MaskedWindowBlock(WindowBlock):
    """Rolled windows whose attention is cut by a mask that is written part by part."""

    def __init__(self):
        super().__init__(True)

    def attend(self, x):
        mask = x.new_zeros((4, 4))
        for number, rows in enumerate((slice(0, -2), slice(-2, -1), slice(-1, None))):
            for other, columns in enumerate((slice(0, -2), slice(-2, -1), slice(-1, None))):
                mask[rows, columns] = 3 * number + other
        mask = mask.view(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
        apart = (mask.unsqueeze(1) - mask.unsqueeze(2)) != 0
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores.view(-1, 4, 4, 4) + torch.zeros_like(apart, dtype=x.dtype).masked_fill(
            apart, -100.0
        )
        return self.out(scores.view(-1, 4, 4).softmax(-1) @ v)


class BestWindowBlock(WindowBlock):
    """Each place attends to the two that fit best: nobody can follow where those are."""

    def __init__(self):
        super().__init__(False)

    def attend(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        best, chosen = (q @ k.transpose(-2, -1)).topk(2, dim=-1)
        scores = torch.full_like(best[..., :1].expand(-1, -1, 4), -100.0)
        return self.out(scores.scatter(-1, chosen, best).softmax(-1) @ v)


class ChannelsLastBlock(nn.Module):
    """As in ConvNeXt: a depthwise convolution on maps, the rest on channels-last maps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 12), nn.GELU(), nn.Linear(12, WIDTH))

    def forward(self, x):
        y = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(self.norm(y))


class ChannelsLastBlocks(nn.Module):
    """Channels-last maps from the stem to the head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 2, stride=2)
        self.blocks = nn.Sequential(ChannelsLastBlock(), ChannelsLastBlock(), ChannelsLastBlock())
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))


class ChannelsFirstTokens(nn.Module):
    """Positions in the last axis, mixed by a network over them."""

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.across, self.within = nn.Linear(16, 16), nn.Conv1d(WIDTH, WIDTH, 1)

        def forward(self, x):
            x = x + self.across(x).relu()
            return x + self.within(x).relu()

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 2, stride=2)
        self.mixers = nn.Sequential(self.Mixer(), self.Mixer())
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(self.mixers(self.patches(x).flatten(2)).mean(2))


def tokens(before, rows=4, columns=4):
    return lambda x: (
        x[:, before : before + rows * columns].transpose(1, 2).reshape(len(x), -1, rows, columns)
    )


def rows_first(x):
    return x.permute(0, 3, 1, 2)


ATTENTION = {
    "vision transformer": VisionTransformer,
    "attention written out": lambda: VisionTransformer(fused=False),
    "averaged tokens": lambda: VisionTransformer(before=0, average=True),
    "registers": lambda: VisionTransformer(before=3),
    "registers at the end": lambda: VisionTransformer(before=1, after=2, average=True),
    "library transformer": LibraryTransformer,
    "shifted windows": ShiftedWindows,
    "masked windows": lambda: ShiftedWindows(MaskedWindowBlock(), MaskedWindowBlock()),
    "best windows": lambda: ShiftedWindows(*(BestWindowBlock() for _ in range(3))),
    "channels-last blocks": ChannelsLastBlocks,
    "channels-first tokens": ChannelsFirstTokens,
}
PLACES = {
    "vision transformer": ("blocks.1", tokens(1)),
    "attention written out": ("blocks.1", tokens(1)),
    "averaged tokens": ("norm", tokens(0)),
    "registers": ("blocks.1", tokens(3)),
    "registers at the end": ("norm", tokens(1)),
    "library transformer": ("encoder.layers.1.norm2", tokens(1, 2, 4)),
    "shifted windows": ("blocks.1", rows_first),
    "masked windows": ("blocks.2", rows_first),
    "channels-last blocks": ("blocks.2", rows_first),
    "channels-first tokens": ("mixers.1", lambda x: x.reshape(len(x), -1, 4, 4)),
}
