"""One rule for every part of a data set: stratified, seeded, the same for ever."""

import math

import pytest
import torch

from convscope.data import sample_rows
from convscope.data._shapes import _star
from convscope.errors import UsageError

BALANCED = torch.arange(10).repeat_interleave(100)
SKEWED = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)


@pytest.mark.parametrize("count", [10, 20, 500, 1000])
def test_classes_of_one_size_get_the_same_number(count):
    """The first ten of a folder were all of one class."""
    assert BALANCED[sample_rows(BALANCED, count)].bincount().tolist() == [count // 10] * 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 7, 50, 100, 333])
def test_classes_get_their_share_to_the_next_number(count, seed):
    counts = SKEWED[sample_rows(SKEWED, count, seed=seed)].bincount(minlength=3)
    share = SKEWED.bincount() * count / len(SKEWED)
    assert int(counts.sum()) == count and bool(((counts - share).abs() < 1).all())


def test_the_first_rows_of_a_sample_are_a_sample():
    large = sample_rows(SKEWED, 300, seed=3)
    for count in (1, 10, 299):
        assert torch.equal(large[:count], sample_rows(SKEWED, count, seed=3))


def test_a_sample_is_a_function_of_seed_labels_and_count():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    rows = sample_rows(BALANCED, 8, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(rows, sample_rows(BALANCED.int(), 8, seed=5))
    assert not torch.equal(rows, sample_rows(BALANCED, 8, seed=6))
    # Written down once: another machine or version must not choose others.
    assert rows.tolist() == WRITTEN_DOWN


WRITTEN_DOWN = [283, 607, 425, 329, 736, 109, 597, 820]


@pytest.mark.parametrize("labels", [BALANCED, SKEWED, BALANCED.flip(0)])
def test_no_row_twice_and_all_if_there_are_fewer(labels):
    rows = sample_rows(labels, 5000)
    assert rows.sort().values.tolist() == list(range(len(labels)))


def test_within_a_class_every_row_has_the_same_chance():
    hits = torch.zeros(100)
    for seed in range(400):
        hits[sample_rows(torch.zeros(100).long(), 10, seed=seed)] += 1
    assert float(hits.min()) > 15 and float(hits.max()) < 70


def test_pictures_show_as_many_classes_as_possible():
    counts = SKEWED[sample_rows(SKEWED, 12, balanced=True)].bincount()
    assert counts.tolist() == [4, 4, 4]


@pytest.mark.parametrize(("settings", "code"), [({"count": 0}, "U05"), ({"seed": -1}, "U12"),
                                                ({"seed": 2**63}, "U12")])  # fmt: skip
def test_settings_without_meaning(refused, settings, code):
    settings = {"count": 3, **settings}
    refused(code, UsageError, sample_rows, BALANCED, settings.pop("count"), **settings)


def test_no_images_give_no_rows():
    assert sample_rows(torch.empty(0).long(), 3).tolist() == []


def test_a_star_is_bounded_by_straight_edges_between_its_two_radii():
    """Signed distances: 0 on the ten edges, negative within, a unit step changes them by one."""
    turns = torch.arange(5) * 2 * math.pi / 5
    tips = torch.stack([turns.sin(), -turns.cos()], dim=1)
    half = turns + math.pi / 5
    corners = 0.42 * torch.stack([half.sin(), -half.cos()], dim=1)
    share = torch.linspace(0, 1, 7)[:, None, None]
    edges = (share * tips + (1 - share) * corners).reshape(-1, 2)
    assert torch.allclose(_star(edges[:, 0], edges[:, 1]), torch.zeros(35), atol=1e-6)
    middle = torch.tensor(0.0)
    apothem = (
        0.42
        * math.sin(math.pi / 5)
        / math.dist((1, 0), (0.42 * math.cos(math.pi / 5), 0.42 * math.sin(math.pi / 5)))
    )
    assert float(_star(middle, middle)) == pytest.approx(-apothem, abs=1e-6)
