"""Randomness is a function of (seed, purpose, position)."""

from dataclasses import replace

import pytest
import torch

from convscope.data import Augmentation
from convscope.training._batches import Batches, number, order, stream
from convscope.training._process import World


def test_a_stream_depends_on_every_part_of_its_name():
    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 1, 2), (0, "a", 12)]
    assert len({number(*name) for name in names}) == len(names)


def test_streams_do_not_touch_the_global_generator():
    before = torch.get_rng_state()
    torch.rand(3, generator=stream(0, "x"))
    order(0, 0, 10)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_are_pinned_for_ever():
    assert number(0, "order", 0) == 1829853113658518448
    assert order(0, 0, 8).tolist() == [0, 6, 4, 5, 3, 2, 7, 1]


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order():
    assert sorted(order(0, 0, 100).tolist()) == list(range(100))
    assert not torch.equal(order(0, 0, 100), order(0, 1, 100))


def test_two_processes_see_together_what_one_sees(dataset, settings):
    settings = replace(settings, noise_std=0.1)
    alone = Batches(dataset.train, settings, World())
    both = [Batches(dataset.train, settings, World(rank, 2)) for rank in (0, 1)]
    for epoch, position in ((0, 0), (1, 3)):
        images, labels = alone.load(epoch, position)
        for rank, share in enumerate(both):
            mine, mine_labels = share.load(epoch, position)
            assert torch.equal(mine, images[rank::2])
            assert torch.equal(mine_labels, labels[rank::2])


@pytest.mark.parametrize("seed", [0, 1, 2, 2**62 - 1])
def test_alternating_flip_shows_both_sides_in_two_epochs(dataset, settings, seed):
    settings = replace(settings, seed=seed, augment=Augmentation(flip="alternating"))
    batches = Batches(dataset.train, settings, World())
    seen = [{}, {}]
    for epoch in (0, 1):
        for position in range(batches.steps_per_epoch):
            rows = batches.rows(epoch, position).tolist()
            seen[epoch].update(zip(rows, batches.load(epoch, position)[0], strict=True))
    both = seen[0].keys() & seen[1].keys()
    assert len(both) > 100
    assert all(torch.equal(seen[0][row], seen[1][row].flip(2)) for row in both)
    mirrored = [not torch.equal(seen[0][row], dataset.train.to_float([row])[0]) for row in both]
    assert 0.3 < sum(mirrored) / len(mirrored) < 0.7


def test_a_batch_does_not_depend_on_the_ones_before(dataset, settings):
    walked = Batches(dataset.train, settings, World())
    for position in range(3):
        walked.load(0, position)
    jumped = Batches(dataset.train, settings, World())
    assert torch.equal(walked.load(1, 2)[0], jumped.load(1, 2)[0])
