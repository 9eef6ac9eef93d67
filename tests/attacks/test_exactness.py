"""No pixel leaves the ball or the box, in exact arithmetic, before or after saving."""

import inspect
import io
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from convscope.attacks import ATTACKS, projected_gradient
from convscope.classifier import Classifier

torch.manual_seed(3)
NET = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).requires_grad_(False)
CLASSIFIER = Classifier.wrap(NET, input_shape=(1, 3, 4))
BOUNDED = [name for name, f in ATTACKS.items() if "epsilon" in inspect.signature(f).parameters]


def exact(values):
    return [Fraction(value) for value in values.flatten().tolist()]


def outside(result, epsilon, norm):
    """How many pixels (rows, in L2) are outside, in rational arithmetic."""
    radius, count = Fraction(epsilon), 0
    for x, center in zip(result.adversarials, result.originals, strict=True):
        pixels, middle = exact(x), exact(center)
        count += sum(not 0 <= p <= 1 for p in pixels)
        moves = [p - m for p, m in zip(pixels, middle, strict=True)]
        if norm == "linf":
            count += sum(abs(move) > radius for move in moves)
    return count


@pytest.mark.parametrize("name", BOUNDED)
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    epsilon=st.one_of(st.integers(0, 64).map(lambda n: n / 255), st.floats(0, 1)),
    lattice=st.booleans(),
)
def test_linf_is_exact_in_rationals(name, seed, epsilon, lattice):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 1, 3, 4, generator=generator)
    if lattice:
        images = (images * 255).round() / 255
    labels = torch.randint(0, 3, (3,), generator=generator)
    parameters = inspect.signature(ATTACKS[name]).parameters
    more = {k: v for k, v in {"steps": 3, "queries": 4}.items() if k in parameters}
    if "generator" in parameters:
        more["generator"] = generator
    result = ATTACKS[name](CLASSIFIER, images, labels, epsilon=epsilon, **more)
    assert outside(result, epsilon, "linf") == 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0, 2))
def test_l2_is_at_most_the_float64_norm(seed, epsilon):
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(3, 1, 3, 4, generator=generator), torch.tensor([0, 1, 2])
    result = projected_gradient(
        CLASSIFIER, images, labels, epsilon=epsilon, norm="l2", steps=4, keep="best"
    )
    norms = (result.adversarials.double() - images.double()).flatten(1).norm(dim=1)
    assert (norms <= epsilon).all() and outside(result, epsilon, "box") == 0


@settings(deadline=None, max_examples=60)
@example(seed=0, levels=0, fine=0.9999999999999999)
@given(seed=st.integers(0, 10_000), levels=st.integers(0, 80), fine=st.floats(0, 1))
def test_saved_images_of_8_bit_originals_stay_inside_and_survive_a_png(seed, levels, fine):
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(3, 1, 3, 4, generator=generator) * 255).round() / 255
    labels = torch.tensor([0, 1, 2])
    epsilon = (levels + fine) / 255
    result = projected_gradient(CLASSIFIER, images, labels, epsilon=epsilon, steps=4, keep="best")
    low = torch.round(images * 255).long()
    moved = (result.saved.long() - low).abs()
    # The radius in levels, as the attack got it: levels + 0.9999999999999999 is one level more.
    assert (moved <= math.floor(epsilon * 255 * (1 + 1e-12))).all()
    assert not any("no 8-bit image" in flag for flag in result.flags)
    for image in result.saved:
        file = io.BytesIO()
        Image.fromarray(image[0].numpy()).save(file, "PNG")
        assert np.array_equal(np.asarray(Image.open(file)), image[0].numpy())


def test_success_on_saved_images_is_judged_on_the_bytes():
    images, labels = torch.rand(6, 1, 3, 4), torch.zeros(6, dtype=torch.int64)
    result = projected_gradient(CLASSIFIER, images, labels, epsilon=0.3, steps=5)
    with CLASSIFIER.probe() as probe:
        said = probe.logits(result.saved.float() / 255)
    assert torch.equal(said, result.logits_saved)
