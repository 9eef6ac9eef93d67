from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.ascent import box, l2_ball, linf_ball, unconstrained
from convscope.errors import UsageError

radii = st.floats(0, 2, allow_nan=False, allow_subnormal=True)
seeds = st.integers(0, 2**31)
pixel = st.floats(0, 1, width=32)


def outside(x, center, radius):
    """Pixels outside the ball or [0, 1], counted in rational numbers: no rounding anywhere."""
    limit = Fraction(radius)
    bad = 0
    for value, middle in zip(x.flatten().tolist(), center.flatten().tolist(), strict=True):
        inside = abs(Fraction(value) - Fraction(middle)) <= limit and 0 <= value <= 1
        bad += not inside
    return bad


@given(center=st.lists(pixel, min_size=4, max_size=4), radius=radii)
@settings(max_examples=100, deadline=None)
def test_linf_bounds_are_inside_in_rational_arithmetic(center, radius):
    middle = torch.tensor(center).view(1, 1, 2, 2)
    ball = linf_ball(middle, radius)
    rows = torch.tensor([0])
    for far in (2.0, -2.0):
        x = ball.project(torch.full_like(middle, far), rows)
        assert outside(x, middle, radius) == 0


@given(center=st.lists(pixel, min_size=4, max_size=4), radius=radii)
@settings(max_examples=100, deadline=None)
def test_linf_bounds_are_as_wide_as_float32_allows(center, radius):
    middle = torch.tensor(center).view(1, 1, 2, 2)
    ball = linf_ball(middle, radius)
    above = torch.nextafter(ball.high, torch.tensor(torch.inf))
    for high, middle_value, next_one in zip(
        ball.high.flatten().tolist(), center, above.flatten().tolist(), strict=True
    ):
        widest = Fraction(next_one) > Fraction(middle_value) + Fraction(radius)
        assert high == 1.0 or widest


@pytest.mark.parametrize("kind", ["unconstrained", "box", "linf", "l2"])
def test_bytes_of_what_lies_beyond_the_pixels_are_black_and_white(kind):
    x = torch.tensor([-3.0, -0.002, 0.0, 1.0, 1.002, 1.004, 3.0, torch.nan]).view(-1, 1, 1, 1)
    center = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]).view(-1, 1, 1, 1)
    regions = {
        "unconstrained": unconstrained(),
        "box": box(0.0, 1.0),
        "linf": linf_ball(center, 0.1),
        "l2": l2_ball(center, 0.1),
    }
    assert torch.equal(regions[kind].nearest_bytes(x), (255 * center).to(torch.uint8))


def test_the_usual_projection_fails_the_same_count():
    """The negative control: what every peer does leaves pixels outside."""
    center = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    epsilon = 8 / 255
    usual = (center + (torch.ones_like(center)).clamp(-epsilon, epsilon)).clamp(0, 1)
    assert outside(usual, center, epsilon) > 0
    ours = linf_ball(center, epsilon).project(torch.ones_like(center), torch.tensor([0]))
    assert outside(ours, center, epsilon) == 0


@given(seed=seeds, radius=st.floats(0, 30, allow_nan=False), scale=st.floats(0, 5))
@settings(max_examples=60, deadline=None)
def test_l2_points_have_a_float64_norm_within_the_radius(seed, radius, scale):
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(3, 2, 5, 4, generator=generator)
    ball = l2_ball(center, radius)
    x = center + scale * torch.randn(3, 2, 5, 4, generator=generator)
    y = ball.project(x, torch.arange(3))
    norms = (y.double() - center.double()).flatten(1).norm(dim=1)
    assert (norms <= radius).all() and y.min() >= 0 and y.max() <= 1
    assert ball.contains(y).all()


def test_l2_projection_uses_the_radius_up():
    center = torch.full((2, 1, 6, 5), 0.5)
    x = center + 0.3 * torch.randn(2, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    y = l2_ball(center, 0.7).project(x, torch.arange(2))
    norms = (y.double() - center.double()).flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.full_like(norms, 0.7), rtol=1e-6)


@pytest.mark.parametrize("ball", [linf_ball, l2_ball])
def test_projection_is_idempotent_and_keeps_what_is_inside(ball):
    generator = torch.Generator().manual_seed(1)
    center = torch.rand(4, 3, 5, 4, generator=generator)
    region, rows = ball(center, 0.2), torch.arange(4)
    x = region.project(center + torch.randn(center.shape, generator=generator), rows)
    assert torch.equal(region.project(x, rows), x)
    assert torch.equal(region.project(center, rows), center)


@pytest.mark.parametrize("ball", [linf_ball, l2_ball])
def test_radius_zero_gives_the_center_bit_for_bit(ball):
    center = torch.rand(4, 1, 5, 4)
    x = ball(center, 0.0).project(torch.rand(4, 1, 5, 4), torch.arange(4))
    assert torch.equal(x, center)


@pytest.mark.parametrize("ball", [linf_ball, l2_ball])
def test_each_row_may_have_its_own_radius_and_rows_may_be_missing(ball):
    center = torch.full((3, 1, 2, 2), 0.5)
    region = ball(center, torch.tensor([0.0, 0.1, 0.2]))
    x = region.project(torch.ones(2, 1, 2, 2), torch.tensor([0, 2]))
    assert torch.equal(x[0], center[0]) and (x[1] > 0.5).all()
    assert torch.allclose(x[1], region.project(torch.ones(3, 1, 2, 2), torch.arange(3))[2])


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("ball", [linf_ball, l2_ball])
def test_u03_nonsense_radii_are_refused(ball, radius):
    with pytest.raises(UsageError, match="epsilon must be at least 0") as caught:
        ball(torch.zeros(1, 1, 2, 2), radius)
    assert caught.value.code == "U03"


def test_box_is_what_an_image_can_be():
    x = torch.tensor([[[[-1.0, 0.25], [0.5, 3.0]]]])
    assert torch.equal(box().project(x, torch.tensor([0])), x.clamp(0, 1))
