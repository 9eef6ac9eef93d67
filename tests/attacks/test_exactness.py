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

from convscope.attacks import ATTACKS, pgd
from convscope.classifier import Classifier
from convscope.flags import codes_of

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
    result = pgd(CLASSIFIER, images, labels, epsilon=epsilon, norm="l2", steps=4, keep="best")
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
    result = pgd(CLASSIFIER, images, labels, epsilon=epsilon, steps=4, keep="best")
    low = torch.round(images * 255).long()
    moved = (result.quantized.long() - low).abs()
    # The radius in levels, as the attack got it: levels + 0.9999999999999999 is one level more.
    assert (moved <= math.floor(epsilon * 255 * (1 + 1e-12))).all()
    assert "no-8-bit-image" not in codes_of(result.flags)
    for image in result.quantized:
        file = io.BytesIO()
        Image.fromarray(image[0].numpy()).save(file, "PNG")
        assert np.array_equal(np.asarray(Image.open(file)), image[0].numpy())


def bytes_outside(result, epsilon, norm):
    """Rows whose 8-bit image, as read back, is outside the ball, in rational arithmetic."""
    count = 0
    for saved, center in zip(result.quantized, result.originals, strict=True):
        pairs = zip(exact(saved.float() / 255), exact(center), strict=True)
        moves = [after - before for after, before in pairs]
        if norm == "linf":
            count += max(abs(move) for move in moves) > Fraction(epsilon)
        else:
            count += sum(move**2 for move in moves) > Fraction(epsilon) ** 2
    return count


@pytest.mark.parametrize(
    "name,settings",
    [
        ("pgd", {"epsilon": 13 / 255}),
        ("pgd", {"epsilon": 0.06, "steps": 100}),
        ("pgd", {"epsilon": 0.45, "norm": "l2", "steps": 100}),
        ("apgd", {"epsilon": 0.3, "norm": "l2"}),
        ("fab", {"epsilon": 0.5, "norm": "l2", "steps": 20, "classes": 3}),
        ("ddn", {"steps": 40}),
        ("deepfool", {}),
        ("deepfool", {"norm": "linf"}),
        ("carlini-wagner", {"steps": 40, "search_steps": 3}),
    ],
)
def test_saving_loses_no_success_and_leaves_no_ball(digits, name, settings):
    classifier, images, labels = digits
    images = (images * 255).round() / 255
    result = ATTACKS[name](classifier, images, labels, **settings)
    assert result.success.sum() >= 15
    assert result.lost_to_quantization == 0
    norm = settings.get("norm", "linf")
    if "epsilon" in settings:
        assert bytes_outside(result, settings["epsilon"], norm) == 0
    norm = "l2" if result.norm is None else result.norm
    farther = (
        result.distance_quantized(norm)[result.success] - result.distance(norm)[result.success]
    )
    assert farther.max() < 4 / 255


def test_rounding_alone_would_lose_successes(digits, monkeypatch):
    classifier, images, labels = digits
    images = (images * 255).round() / 255
    monkeypatch.setattr("convscope.attacks._quantize.ROUNDS", 0)
    assert ATTACKS["ddn"](classifier, images, labels, steps=40).lost_to_quantization > 10


def test_a_grey_level_too_many_is_seen(digits, monkeypatch):
    """The judge above must notice a saving that leaves the ball."""
    from convscope.attacks import _quantize as _saving

    classifier, images, labels = digits
    images = (images * 255).round() / 255
    whole = _saving.quantize

    def careless(*args, **more):
        levels, said = whole(*args, **more)
        return (levels.int() + 1).clamp(0, 255).to(torch.uint8), said

    monkeypatch.setattr("convscope.attacks._base.quantize", careless)
    result = pgd(classifier, images, labels, epsilon=0.05)
    assert bytes_outside(result, 0.05, "linf") > 10


def test_an_attack_without_gradients_saves_without_gradients(digits):
    classifier, images, labels = digits
    generator = torch.Generator().manual_seed(0)
    result = ATTACKS["square"](
        classifier, images, labels, epsilon=0.1, queries=60, generator=generator
    )
    assert result.cost.backwards == 0


def test_success_on_saved_images_is_judged_on_the_bytes():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(6, 1, 3, 4, generator=generator)
        labels = torch.zeros(6, dtype=torch.int64)
        result = pgd(CLASSIFIER, images, labels, epsilon=0.3, steps=5)
        with CLASSIFIER.probe() as probe:
            said = probe.logits(result.quantized.float() / 255)
        # Rows whose bytes were mended were judged in a batch of their own: another order of sums.
        assert torch.allclose(
            said, result.logits_quantized, rtol=0, atol=1e-6 * float(said.abs().max())
        )
        assert torch.equal(said.argmax(1), result.logits_quantized.argmax(1))
