"""Blocks of images change no explanation: not a bit of a map, a logit or a table."""

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.explanations import EXPLANATIONS, _streamed
from convscope.progress import watch

COUNT = 300


def classifier():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 3)
    )
    return Classifier.wrap(net, input_shape=(1, 8, 8))


IMAGES = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(1))
FEW = {
    "rise": {"masks": 20},
    "smooth-grad": {"num_samples": 3},
    "integrated-gradients": {"steps": 2},
}
FILLS = {"occlusion": "fill", "rise": "fill", "integrated-gradients": "baseline"}


def tensors(found):
    table = found.table
    rows = [found.maps, found.targets, found.logits, *found.evidence.values(), found.images]
    return rows if table is None else [*rows, table.probabilities, table.clean, table.labels]


def same(one, two):
    pairs = zip(tensors(one), tensors(two), strict=True)
    return one.settings == two.settings and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one chunk of the Probe; returns how many there have been."""
    monkeypatch.setattr(_streamed, "VALUES", 1)
    monkeypatch.setattr(_streamed, "LEAST_ROWS", 128)
    blocks = []
    put = _streamed._put
    monkeypatch.setattr(_streamed, "_put", lambda *a: (blocks.append(a[2]), put(*a)))
    return blocks


@pytest.mark.parametrize("entry", EXPLANATIONS)
@pytest.mark.parametrize("targets", [None, "all"])
def test_blocks_change_nothing(entry, targets, small_blocks, monkeypatch):
    found = EXPLANATIONS[entry](classifier(), IMAGES, targets, **FEW.get(entry, {}))
    many = len(small_blocks)
    with monkeypatch.context() as patch:
        patch.setattr(_streamed, "VALUES", 2**40)
        whole = EXPLANATIONS[entry](classifier(), IMAGES, targets, **FEW.get(entry, {}))
    assert len(small_blocks) == many == (3 if entry in (*FILLS, "smooth-grad") else 0)
    assert same(found, whole) and found.cost.forwards == whole.cost.forwards
    assert found.cost.backwards == whole.cost.backwards


@pytest.mark.parametrize("entry", FILLS)
def test_each_image_keeps_its_own_fill(entry, small_blocks, monkeypatch):
    fills = IMAGES.flip(0)
    settings = {FILLS[entry]: fills, **FEW.get(entry, {})}
    found = EXPLANATIONS[entry](classifier(), IMAGES, 1, **settings)
    monkeypatch.setattr(_streamed, "VALUES", 2**40)
    assert same(found, EXPLANATIONS[entry](classifier(), IMAGES, 1, **settings))


def test_progress_does_not_start_again_with_each_block(small_blocks):
    heard = []
    with watch(lambda share, what: heard.append(share)):
        EXPLANATIONS["occlusion"](classifier(), IMAGES)
    assert heard == sorted(heard) and heard[-1] == 1.0 and len(small_blocks) == 3
