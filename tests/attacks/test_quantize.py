"""Quantization: what one move by a gray level pays for another."""

import torch

from convscope.ascent import L2Ball
from convscope.attacks._quantize import _moved, _paid


def inside_ball():
    """Four pixels 3, 2, 1 and 0 levels from the center, on a sphere they are just inside of."""
    center = torch.full((1, 1, 2, 2), 100 / 255)
    levels = torch.tensor([[[[103.0, 98.0], [101.0, 100.0]]]])
    radius = (torch.tensor([9 + 4 + 1 + 0.5], dtype=torch.float64)).sqrt() / 255
    return levels, center, radius


def squared(levels, center):
    return float((levels.double() - center.double() * 255).square().sum())


def test_as_few_pixels_as_needed_go_back_toward_the_center():
    levels, center, radius = inside_ball()
    gradient = torch.tensor([[[[0.1, -0.1], [0.1, 9.0]]]])
    picked = torch.tensor([[[[False, False], [False, True]]]])
    ahead = levels + picked  # 100 -> 101: one more than the radius allows.
    paid = _paid(ahead, gradient, picked, center, radius)
    assert squared(ahead, center) > float(radius * 255) ** 2
    assert squared(paid, center) <= float(radius * 255) ** 2 + 1e-9
    # The pixel that is farthest out gives most room for its gradient: 9 - 4 = 5.
    assert paid.flatten().tolist() == [102.0, 98.0, 101.0, 101.0]


def test_pixels_at_the_center_have_no_room_to_give():
    """A pixel that is not away from the center cannot come nearer."""
    center = torch.full((1, 1, 1, 3), 100 / 255)
    levels = torch.tensor([[[[100.0, 103.0, 101.0]]]])
    picked = torch.tensor([[[[False, False, True]]]])
    gradient = torch.tensor([[[[0.0, 5.0, 9.0]]]])
    radius = torch.tensor([9.0], dtype=torch.float64).sqrt() / 255
    paid = _paid(levels, gradient, picked, center, radius)
    assert paid.flatten().tolist() == [100.0, 102.0, 101.0]


def test_moves_in_a_ball_end_in_it():
    levels, center, radius = inside_ball()
    gradient = torch.tensor([[[[0.1, -0.1], [0.1, 9.0]]]])
    region = L2Ball(center, radius)
    moved = _moved(levels, gradient, torch.tensor([0.01]), center, region, torch.tensor([0]))
    assert moved.flatten().tolist() == [102.0, 98.0, 101.0, 101.0]


def test_as_many_pixels_go_back_as_the_room_they_give_asks_for():
    """One level back from 3 gives 9 - 4 = 5, from 2 gives 3: 7.8 are missing, so both go."""
    levels, center, _ = inside_ball()
    picked = torch.tensor([[[[False, False], [False, True]]]])
    radius = torch.tensor([7.2], dtype=torch.float64).sqrt() / 255
    gradient = torch.tensor([[[[0.1, -0.1], [0.1, 9.0]]]])
    paid = _paid(levels + picked, gradient, picked, center, radius)
    assert paid.flatten().tolist() == [102.0, 99.0, 101.0, 101.0]
    assert squared(paid, center) <= 7.2 + 1e-9
