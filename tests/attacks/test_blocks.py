"""Attacks on many images, block by block: the same results in bounded memory."""

import inspect

import pytest
import torch

from convscope.attacks import ATTACKS, AttackResult, _blocks, apgd, pgd, random_rotations
from convscope.errors import UsageError
from tests.contracts.test_attacks import settings_for

EACH = ("originals", "adversarials", "quantized", "labels", "logits_before", "logits_after",
        "logits_quantized", "steps", "history", "zero_gradients", "nonfinite")  # fmt: skip


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three rows."""

    return lambda: monkeypatch.setattr(_blocks, "block_rows", lambda shape: 3)


def same(whole: AttackResult, cut: AttackResult):
    for name in EACH:
        a, b = getattr(whole, name), getattr(cut, name)
        assert a.shape == b.shape and a.dtype == b.dtype, name
        assert torch.allclose(a.float(), b.float(), atol=1e-5, equal_nan=True), name
    assert torch.equal(whole.success, cut.success)
    assert whole.settings == cut.settings and whole.epsilon == cut.epsilon
    assert whole.flags == cut.flags
    assert whole.cost.forwards == cut.cost.forwards
    # A chunk whose rows are all done skips its backward pass; chunks end where blocks do.
    assert cut.cost.backwards <= whole.cost.backwards


@pytest.mark.parametrize("name", ATTACKS)
def test_blocks_change_no_result(name, case, small_blocks):
    classifier, images, labels = case
    chosen = settings_for(ATTACKS[name], labels)
    if "restarts" in inspect.signature(ATTACKS[name]).parameters:
        chosen["restarts"] = 2

    def run():
        if "generator" in chosen:
            chosen["generator"] = torch.Generator().manual_seed(3)
        result = ATTACKS[name](classifier, images, labels, **chosen)
        rest = torch.rand(3, generator=chosen["generator"]) if "generator" in chosen else None
        return result, rest

    whole, after_whole = run()
    small_blocks()
    cut, after_cut = run()
    if name in ("auto-attack", "apgd-targeted", "fab"):
        # A turn ends for a block, not for all, when its rows are done: never more work.
        assert torch.equal(whole.success, cut.success)
        assert torch.allclose(whole.adversarials, cut.adversarials, atol=1e-5)
        return
    same(whole, cut)
    if after_whole is not None and not bool(whole.success.all()):
        assert torch.equal(after_whole, after_cut)


def test_settings_of_each_row_go_with_their_rows(case, small_blocks):
    classifier, images, labels = case
    settings = {
        "epsilon": torch.linspace(0.01, 0.3, len(images)),
        "step_size": torch.linspace(0.001, 0.03, len(images)),
        "targets": (labels + 2) % 5,
        "steps": 4,
    }
    whole = pgd(classifier, images, labels, **settings)
    small_blocks()
    same(whole, pgd(classifier, images, labels, **settings))


def test_random_transforms_are_the_same_for_every_block(case, small_blocks):
    classifier, images, labels = case
    settings = {"epsilon": 0.1, "steps": 3, "transforms": random_rotations(30.0), "eot_samples": 2}
    whole = apgd(classifier, images, labels, **settings)
    small_blocks()
    same(whole, apgd(classifier, images, labels, **settings))


def test_a_wrong_label_in_the_last_block_is_refused_before_the_first(case, small_blocks):
    classifier, images, labels = case
    ran = []
    handle = classifier.module.register_forward_hook(lambda *_: ran.append(1))
    small_blocks()
    with pytest.raises(UsageError) as caught:
        pgd(classifier, images, labels.index_fill(0, torch.tensor([6]), 9))
    handle.remove()
    assert caught.value.code == "U08" and not ran


def test_no_ascent_holds_more_rows_than_a_block(monkeypatch):
    """Each row of an ascent keeps some twenty copies of its image: blocks bound how many."""
    from convscope.attacks import _base
    from convscope.classifier import Classifier

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64, 3))
    classifier = Classifier.wrap(net, input_shape=(1, 64, 64))
    rows, ascend = [], _base.ascend

    def watched(images, *more, **settings):
        rows.append(len(images))
        return ascend(images, *more, **settings)

    monkeypatch.setattr(_base, "ascend", watched)
    size = _blocks.block_rows((1, 64, 64))
    images = torch.full((2 * size + 5, 1, 64, 64), 0.5)
    result = pgd(classifier, images, torch.zeros(len(images)).long(), steps=1)
    assert rows == [size, size, 5] and len(result) == len(images)
    assert result.originals.data_ptr() == images.data_ptr(), "images are not copied"
