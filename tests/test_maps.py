"""Which layers are maps of the image: told from what happens to the axes, not from shapes."""

import enum
import math
import random
import types
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope._network.hooks import find_layer
from convscope._network.snapshot import snapshot
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer
from convscope.explanations import grad_cam, hires_cam
from tests.zoo.attention import ATTENTION, VisionTransformer

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """A convolution, something of a subclass's own in the middle, a convolution, a head."""

    planes = 8

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.build()
        self.last = nn.Conv2d(self.planes, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def build(self):
        pass

    def forward(self, x):
        return self.head(self.last(self.middle(self.stem(x))).mean((2, 3)))


class InPlaceHardswish(Net):
    def build(self):
        self.act = nn.Hardswish(inplace=True)

    def middle(self, x):
        return self.act(x)


class Highway(Net):
    """A gate and one minus the gate."""

    def build(self):
        self.gate = nn.Conv2d(8, 8, 1)

    def middle(self, x):
        gate = self.gate(x).sigmoid()
        return gate * x.relu() + (1 - gate) * x


class LogSigmoid(Net):
    def middle(self, x):
        return F.logsigmoid(x)


class Gated(Net):
    planes = 4

    def middle(self, x):
        return F.glu(x, dim=1)


class Sorted(Net):
    """Channels by a list of numbers, as in a shuffle or a cosine transform."""

    def middle(self, x):
        return x[:, torch.tensor([3, 1, 2, 0, 7, 6, 5, 4])]


class SpaceToDepth(Net):
    """Cells of 4 x 4 pixels become channels, as in the stem of TResNet."""

    planes = 128

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, c * 16, h // 4, w // 4)


class Windows(Net):
    """Attention within windows of 4 x 4, which are put together again."""

    def build(self):
        self.qkv = nn.Linear(8, 24)

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q, k, v = self.qkv(x).chunk(3, dim=2)
        x = (q @ k.transpose(1, 2)).softmax(dim=2) @ v
        x = x.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(n, c, h, w)


class Attention(Net):
    """Fused attention over all places."""

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)[:, None]
        x = F.scaled_dot_product_attention(x, x, x)[:, 0]
        return x.transpose(1, 2).view(n, c, h, w)


class Additive(Net):
    """As in SwiftFormer: one query of the whole image, repeated for every place."""

    def build(self):
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        query = F.normalize(self.query(x), dim=-1)
        whole = query.mean(dim=1).unsqueeze(1).repeat(1, h * w, 1)
        x = query + whole * F.normalize(self.key(x), dim=-1)
        return x.transpose(1, 2).reshape(n, c, h, w)


class Unfolded(Net):
    """As in MobileViTV2: attention between equal places of all cells, then folded again."""

    def build(self):
        self.mix = nn.Conv2d(8, 9, 1)

    def middle(self, x):
        n, c, h, w = x.shape
        x = F.unfold(x, (4, 2), stride=(4, 2)).reshape(n, c, 8, -1)
        scores, values = self.mix(x).split([1, 8], dim=1)
        x = x + values * (x * scores.softmax(dim=-1)).sum(dim=-1, keepdim=True)
        return F.fold(x.reshape(n, c * 8, -1), (h, w), (4, 2), stride=(4, 2))


class Merged(Net):
    """As in Swin: the four quarters of each cell of maps of 6 x 6 become channels."""

    planes = 32

    def middle(self, x):
        x = F.max_pool2d(x, 5, 2)
        parts = [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.cat(parts, dim=1)


SPATIAL = (
    InPlaceHardswish, Highway, LogSigmoid, Gated, Sorted, SpaceToDepth, Windows, Attention,
    Additive, Unfolded, Merged,
)  # fmt: skip


def wrapped(kind):
    return Classifier.wrap(kind().eval(), input_shape=(3, 16, 16))


@pytest.mark.parametrize("kind", SPATIAL)
def test_rows_and_columns_are_followed_through(kind):
    classifier = wrapped(kind)
    found = grad_cam(classifier, IMAGES, 1)
    assert found.layer == "last" and found.flags == ()
    maps = classifier.module.last(classifier.module.middle(classifier.module.stem(IMAGES)))
    by_hand = (classifier.module.head.weight[1][:, None, None] * maps).sum(1)
    by_hand = by_hand / maps[0, 0].numel()
    assert torch.allclose(found.evidence["coarse"][:, 0], by_hand, atol=1e-6)


class WithinCells(Net):
    """The wrong half of each axis stays: places within a cell, not cells."""

    planes = 128

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 1, 2, 4, 3, 5)
        return x.reshape(n, c * (h // 4) * (w // 4), 4, 4)


class CutIntoPatches(Net):
    """Windows that stay apart: a batch of patches."""

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(n * 4, c, h // 2, w // 2)

    def forward(self, x):
        maps = self.last(self.middle(self.stem(x)))
        return self.head(maps.mean((2, 3)).view(len(x), 4, 6).sum(1))


class MixedUp(Net):
    """Cells and places within them are put together in the wrong order."""

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 4, w).permute(0, 1, 3, 2, 4)
        return x.reshape(n, c, h, w)


class Rows(Net):
    """Rows cut twice and joined in another order."""

    def middle(self, x):
        n, c, h, w = x.shape
        x = x.view(n, c, h // 4, 2, 2, w).transpose(3, 4)
        return x.reshape(n, c, h, w)


@pytest.mark.parametrize("kind", [WithinCells, CutIntoPatches, MixedUp, Rows])
def test_axes_that_only_look_like_rows_and_columns_are_no_maps(kind):
    classifier = wrapped(kind)
    with classifier.probe() as probe:
        assert probe.maps().layouts["last"] in ("other", "unknown")
        assert probe.maps().default != "last"
    with pytest.raises(ModelContractError, match="no layer"):
        grad_cam(classifier, IMAGES, 1)


class SmallAndLost(Net):
    """To maps of 2 x 2 something of 2 x 2 is added whose order nobody can follow."""

    def middle(self, x):
        x = F.avg_pool2d(x, 8)
        return x + x.sort(dim=3).values


def test_the_smallest_maps_are_lost_by_what_cannot_be_followed():
    with wrapped(SmallAndLost).probe() as probe:
        assert probe.maps().layouts["last"] == "unknown"


class Ending(nn.Module):
    """The last block ends in modules that hand on what they got."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.act = nn.Conv2d(3, 6, 3), nn.ReLU()
        self.blur, self.drop, self.head = nn.Identity(), nn.Dropout(0.1), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.drop(self.blur(self.act(self.conv(x)))).mean((2, 3)))


def test_layers_are_named_after_what_made_them():
    with wrapped(Ending).probe() as probe:
        assert probe.last_spatial_layer() == "act"


class Between(nn.Module):
    """Something happens to the maps between two convolutions."""

    def __init__(self, change):
        super().__init__()
        self.a, self.b, self.change = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1), change
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.b(self.change(self.a(x).relu())).relu().mean((2, 3)))


def halves(x, y=None):
    y = x.clone() if y is None else y
    y[..., :4], y[..., 4:] = x[..., 4:], x[..., :4]
    return y


ELSEWHERE = {
    "halves exchanged": halves,
    "halves exchanged in zeros": lambda x: x + halves(x, torch.zeros(x.shape)),
    "halves exchanged in zeros like it": lambda x: x + halves(x, torch.zeros_like(x)),
    "halves exchanged in new zeros": lambda x: x + halves(x, x.new_zeros(x.shape)),
    "mirrored into all of new zeros": lambda x: (
        x + [y := x.new_zeros(x.shape), y.flatten(1).copy_(x.flip(3).flatten(1))][0]
    ),
    "four times": lambda x: x.repeat(1, 1, 2, 2),
    "as tokens twice": lambda x: x.flatten(2).repeat(1, 1, 4).unflatten(2, (16, 16)),
    "unfolded with overlap": lambda x: torch.nn.functional.unfold(x, 2)[:, :8].unflatten(2, (7, 7)),
    "folded in another order": lambda x: nn.functional.fold(
        nn.functional.unfold(x, (4, 2), stride=(4, 2)), (8, 8), (2, 4), stride=(2, 4)
    ),
    "folded with cells turned": lambda x: nn.functional.fold(
        nn.functional.unfold(x, 2, stride=2).unflatten(1, (8, 2, 2)).transpose(2, 3).flatten(1, 3),
        (8, 8),
        2,
        stride=2,
    ),
    "folded into an image twice as wide": lambda x: nn.functional.fold(
        nn.functional.unfold(x, 2, stride=2), (4, 16), 2, stride=2
    ),
    "a corner": lambda x: nn.functional.pad(x, (-4, 0, -4, 0)),
    "pushed aside": lambda x: nn.functional.pad(x, (8, 0, 8, 0)),
    "cropped thrice": lambda x: x[:, :, :6, :6][:, :, :5, :5][:, :, :4, :4],
    "every second row of a half": lambda x: x[:, :, 0:4:2, 0:4:2],
    "halves exchanged as tokens": lambda x: torch.cat(
        [x.flatten(2)[..., 32:], x.flatten(2)[..., :32]], dim=2
    ).unflatten(2, (8, 8)),
    "mixed with its mirror": lambda x: 0.01 * x + x.flip(3),
    "chosen from its mirror": lambda x: torch.where(x > 0, x.flip(3), x),
    "drawn to its mirror": lambda x: torch.lerp(x, x.flip(3), 1.0),
}
IN_PLACE = {
    "as it is": lambda x: x,
    "with a frame of a constant": lambda x: x + halves(torch.ones(8), x.new_zeros(x.shape)),
    "repeated along channels": lambda x: x[:, :4].repeat(1, 2, 1, 1),
    "unfolded and folded": lambda x: nn.functional.fold(
        nn.functional.unfold(x, 2, stride=2).relu(), (8, 8), 2, stride=2
    ),
    "cells as channels": lambda x: nn.functional.unfold(x, 2, stride=2)[:, :8].unflatten(2, (4, 4)),
    "normalized": lambda x: nn.functional.normalize(x, dim=3) * x,
    "a frame cut off": lambda x: x[:, :, 1:-1, 1:-1],
    "a frame cut off in two steps": lambda x: x[:, :, :-1, :-1][:, :, 1:, 1:],
    "as tokens, all of them": lambda x: x.flatten(2).narrow(2, 0, 64).unflatten(2, (8, 8)),
    "padded all around": lambda x: nn.functional.pad(x, (1, 1, 1, 1)),
    "padded for a larger window": lambda x: nn.functional.max_pool2d(
        nn.functional.pad(x, (1, 1, 1, 1)), 9, 1
    ),
    "every second row": lambda x: x[:, :, ::2, ::2],
    "gated": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "channels in reverse order": lambda x: x.flip(1),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_maps_that_lie_elsewhere_are_no_default_and_are_not_laid_over_the_image(name):
    torch.manual_seed(0)
    classifier = Classifier.wrap(Between(ELSEWHERE[name]), input_shape=(3, 8, 8))
    with classifier.probe() as probe:
        assert probe.maps().layouts["b"] != "maps" and probe.maps().default != "b"


@pytest.mark.parametrize("name", IN_PLACE)
def test_maps_that_lie_where_they_belong_are_followed(name):
    torch.manual_seed(0)
    classifier = Classifier.wrap(Between(IN_PLACE[name]), input_shape=(3, 8, 8))
    with classifier.probe() as probe:
        assert probe.maps().default == "b"


def test_what_is_done_after_a_layer_counts_in_whatever_form():
    """Three of four blocks come after the last one that could be followed."""
    torch.manual_seed(0)
    with Classifier.wrap(
        ATTENTION["best windows"]().eval(), input_shape=(3, 8, 8)
    ).probe() as probe:
        maps = probe.maps()
    assert maps.default == "" and maps.whole[-1] == "blocks.0"
    assert "after 'blocks.0'" in maps.why_not and "much is still done" in maps.why_not


@pytest.mark.parametrize(
    "change", [lambda x: x.flip(3), lambda x: x.transpose(2, 3), lambda x: x[:, :, :4, :4]]
)
def test_preprocessing_is_followed_too(change):
    torch.manual_seed(0)
    classifier = Classifier.wrap(Between(lambda x: x), input_shape=(3, 8, 8), preprocess=change)
    with classifier.probe() as probe:
        assert probe.maps().default == "" and probe.maps().layouts["b"] != "maps"


def test_images_in_blue_green_red_are_followed():
    torch.manual_seed(0)
    classifier = Classifier.wrap(
        Between(lambda x: x), input_shape=(3, 8, 8), preprocess=lambda x: x.flip(1) * 255
    )
    with classifier.probe() as probe:
        assert probe.maps().default == "b"


def test_maps_are_looked_at_again_when_an_object_of_the_network_may_have_changed():
    class Turns(Between):
        def __init__(self):
            super().__init__(lambda x: x)
            self.settings = {"turn": False}

        def forward(self, x):
            return super().forward(x.transpose(2, 3) if self.settings["turn"] else x)

    torch.manual_seed(0)
    net = Turns()
    classifier = Classifier.wrap(net, input_shape=(3, 8, 8))
    with classifier.probe() as probe:
        assert probe.maps().default == "b"
    net.settings["turn"] = True
    with classifier.probe() as probe:
        assert probe.maps().default == ""


class Settings:
    """An object as transformers' configurations are: everything in its dictionary or its class."""

    turn = False
    names: dict[int, str] = {}  # noqa: RUF012

    def __init__(self):
        self.kind, self.sizes, self.deep = torch.float32, [1, (2, {"turn"})], {"more": {}}
        self.again, self.act = self.sizes, F.relu

    def __call__(self):
        return self.turn


class Axes(enum.Enum):
    ROWS = 0


class Counted(dict):
    """Keeps its entries where its dictionary of attributes does not show them."""


def holding(value, **more):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier.wrap(net, input_shape=(3, 8, 8), **more)
    net.settings = value
    return classifier


@pytest.mark.parametrize(
    "change",
    [
        lambda s, patch: s.sizes.append(2),
        lambda s, patch: s.sizes[1][1].clear(),
        lambda s, patch: s.deep["more"].update(turn=True),
        lambda s, patch: setattr(s, "kind", torch.float64),
        lambda s, patch: setattr(s, "act", F.gelu),
        lambda s, patch: setattr(s, "new", None),
        lambda s, patch: patch.setattr(Settings, "turn", True),
        lambda s, patch: patch.setitem(Settings.names, 0, "cat"),
        lambda s, patch: patch.setattr(Settings, "__call__", lambda self: 1),
    ],
)
def test_what_an_object_holds_is_compared(change, monkeypatch):
    settings = Settings()
    classifier = holding(settings)
    before = snapshot(classifier)
    assert before is not None and snapshot(classifier) == before
    change(settings, monkeypatch)
    after = snapshot(classifier)
    assert after is None or after != before


def test_objects_that_hold_more_than_can_be_seen_are_never_trusted():
    box = {"turn": False}
    slotted = type("Slotted", (), {"__slots__": ("turn",)})()
    blind = [Counted(), random.Random(0), slotted, iter([1]), {"a": Counted()}, box.get,
             lambda: box, types.MethodType(lambda self: box, Settings()), Settings, [nn.ReLU()],
             (torch.zeros(1),)]  # fmt: skip
    for value in blind:
        assert snapshot(holding(value)) is None, value
    for value in (Axes.ROWS, partial(F.relu, inplace=False), Settings().__call__, math.sqrt):
        classifier = holding(value)
        assert snapshot(classifier) == snapshot(classifier) is not None


def test_a_default_that_changes_is_seen():
    def counted(state=[]):  # noqa: B006
        state.append(1)
        return len(state)

    classifier = holding(counted)
    before = snapshot(classifier)
    assert before is not None
    counted()
    assert snapshot(classifier) != before


def test_a_value_that_holds_itself_is_followed_once():
    itself: list[object] = []
    itself.append(itself)
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    classifier = holding(itself)
    assert snapshot(classifier) == snapshot(classifier) is not None
    assert snapshot(holding(deep)) is None


def test_hooks_and_preprocessing_of_a_user_are_looked_at_again():
    net = holding({})
    net.module.register_forward_hook(lambda module, inputs, output: None)
    assert snapshot(net) is None
    box = {"turn": False}
    turning = holding({}, preprocess=lambda x: x.transpose(2, 3) if box["turn"] else x)
    assert snapshot(turning) is None


def test_padding_modules_before_convolutions_are_followed():
    """As in networks that came from another framework."""
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3), nn.ReLU()]
    layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()]
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    with Classifier.wrap(net, input_shape=(3, 16, 16)).probe() as probe:
        assert probe.maps().default == "19"


@pytest.mark.parametrize("count", [30, 31])
def test_an_unknown_layer_is_refused_with_the_first_thirty_names(count):
    net = nn.Sequential(*(nn.Identity() for _ in range(count - 1)), nn.Flatten())
    with Classifier.wrap(net, input_shape=(1, 1, 2)).probe() as probe:
        layers = probe.layers()
    with pytest.raises(UnknownLayer) as caught:
        find_layer(layers, "nowhere")
    last = "29 (Identity), ..." if count > 30 else "29 (Flatten)"
    assert caught.value.code == "M15" and str(caught.value).endswith(last)


def test_sums_that_are_only_rounding_are_refused_with_the_layer_behind():
    """Before a layer normalization the gradient is at right angles to the activations."""
    torch.manual_seed(0)
    network = VisionTransformer().eval()
    classifier, images = Classifier.wrap(network, input_shape=(3, 8, 8)), IMAGES[:, :, :8, :8]
    with pytest.raises(ModelContractError, match="zero but for rounding") as caught:
        hires_cam(classifier, images)
    assert caught.value.code == "M15" and "'blocks.2.norm1'" in caught.value.hint
    found = hires_cam(classifier, images, layer="blocks.2.norm1")
    assert found.evidence["coarse"].abs().max() > 1e-3 and found.layer_kind == (
        "LayerNorm, 4 x 4 tokens, 1 without a place left out"
    )
