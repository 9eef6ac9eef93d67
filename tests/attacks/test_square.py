"""The moves of the Square attack, and that it gets somewhere."""

import pytest
import torch

from convscope.attacks import auto_attack, square
from convscope.attacks._square import L2Moves, LinfMoves, bump, two_bumps
from convscope.errors import UsageError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_bump_is_a_pyramid_of_inverse_squares():
    """Rings from outside in: 1/9, + 1/4, + 1: equation 2 of the paper for h = 5."""
    expected = torch.tensor([1 / 9, 1 / 9 + 1 / 4, 1 / 9 + 1 / 4 + 1])
    assert torch.allclose(bump(5, 5)[2, :3], expected)
    assert torch.equal(bump(5, 5), bump(5, 5).T) and torch.equal(bump(5, 5), bump(5, 5).flip(0))
    assert (bump(7, 3) >= 0).all() and (bump(3, 7) == bump(7, 3).T).all()


def test_two_bumps_have_opposite_signs_and_fill_the_square():
    pair = two_bumps(7)
    assert pair.shape == (7, 7) and (pair[:, :3] >= 0).all() and (pair[:, 3:] <= 0).all()


@pytest.mark.parametrize("area", [1.0, 0.8, 0.3, 0.1, 0.02, 0.001])
@pytest.mark.parametrize("size", [(11, 9), (28, 28), (5, 40)])
def test_linf_moves_paint_a_square_of_that_share_of_the_area(area, size):
    center, rows = torch.full((2, 3, *size), 0.5), torch.arange(2)
    moved = LinfMoves(torch.tensor([0.1, 0.2])).change(center, center, rows, area, seeded())
    painted = (moved != center).any(dim=1)
    side = min(max(1, round((area * size[0] * size[1]) ** 0.5)), *size)
    for mask in painted:
        assert sorted(set(mask.sum(0).tolist()) | set(mask.sum(1).tolist())) in ([side], [0, side])
        assert mask.sum() == side**2
    sizes = (moved - center).abs().flatten(1).amax(1)
    assert torch.allclose(sizes, torch.tensor([0.1, 0.2]))


def test_l2_moves_keep_the_norm():
    """Algorithm 3 moves length about; with nothing unused the norm stays epsilon."""
    generator = seeded()
    center, rows = torch.full((4, 3, 11, 9), 0.5), torch.arange(4)
    radii = torch.tensor([0.1, 0.5, 1.0, 2.0])
    moves = L2Moves(radii)
    x = moves.start(center, rows, generator)
    for area in (0.5, 0.3, 0.1, 0.05, 0.01):
        assert torch.allclose((x - center).flatten(1).norm(dim=1), radii, rtol=1e-5)
        x = moves.change(x, center, rows, area, generator)


def test_l2_moves_use_what_is_unused():
    center, rows = torch.full((2, 1, 9, 9), 0.5), torch.arange(2)
    moves = L2Moves(torch.tensor(1.0))
    short = center + 0.3 * (moves.start(center, rows, seeded()) - center)
    longer = moves.change(short, center, rows, 0.2, seeded())
    assert torch.allclose((longer - center).flatten(1).norm(dim=1), torch.ones(2), rtol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_nothing_nearer_than_the_plane_and_something_beyond(plane, norm):
    classifier, image, label, w, gap = plane
    nearest = gap / float(w.abs().sum() if norm == "linf" else w.norm())
    settings = {"norm": norm, "queries": 400}
    assert not square(classifier, image, label, epsilon=0.99 * nearest, generator=seeded(),
                      **settings).success.any()  # fmt: skip
    # Without gradients the very nearest point is not found; twice as far there are many.
    found = square(classifier, image, label, epsilon=2 * nearest, generator=seeded(), **settings)
    assert found.success.all() and found.success_quantized.all()


def test_in_l2_it_fools_without_gradients(digits):
    classifier, images, labels = digits
    found = square(classifier, images[:40], labels[:40], epsilon=1.5, norm="l2", queries=300,
                   generator=seeded())  # fmt: skip
    assert found.success_rate > 0.6 and found.cost.backwards == 0
    assert found.norm == "l2" and (found.distance("l2").double() <= 1.5 + 1e-7).all()
    norms = (found.adversarials.double() - found.originals.double()).flatten(1).norm(dim=1)
    assert (norms <= 1.5).all()


def test_a_row_leaves_only_if_its_bytes_fool(digits):
    classifier, images, labels = digits
    images = (images * 255).round() / 255
    found = square(classifier, images, labels, epsilon=0.2001, queries=150, generator=seeded())
    assert found.success.sum() > 30 and found.lost_to_quantization <= 1


def test_auto_attack_in_l2_has_its_gradient_free_member(digits, monkeypatch):
    seen = []

    def spy(*args, **more):
        seen.append(more["norm"])
        return square(*args, **more)

    monkeypatch.setattr("convscope.attacks._auto_attack.square", spy)
    classifier, images, labels = digits
    auto_attack(classifier, images[:5], labels[:5], epsilon=0.01, norm="l2", steps=2, queries=3)
    assert seen == ["l2"]


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"share": 2.0}, {"queries": 0}])
def test_nonsense_is_refused(plane, settings):
    classifier, image, label, *_ = plane
    with pytest.raises(UsageError):
        square(classifier, image, label, **settings)
