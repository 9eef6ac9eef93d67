"""On linear networks the attacks have closed forms."""

import pytest
import torch

from convscope import attacks
from convscope.attacks._deepfool import onto_plane
from tests.attacks.conftest import linear_classifier


def test_fast_gradient_moves_every_pixel_by_epsilon_along_the_sign(plane):
    classifier, image, label, w, _ = plane
    result = attacks.fgsm(classifier, image, label, epsilon=0.05)
    assert torch.allclose(result.perturbations.flatten(), -0.05 * w.sign(), atol=1e-7)


def test_fast_gradient_in_l2_moves_along_the_unit_gradient(plane):
    classifier, image, label, w, _ = plane
    result = attacks.fgsm(classifier, image, label, epsilon=0.01, norm="l2")
    assert torch.allclose(result.perturbations.flatten(), -0.01 * w / w.norm(), atol=1e-7)


def test_projected_gradient_with_one_step_is_fast_gradient(plane):
    classifier, image, label, *_ = plane
    one = attacks.pgd(classifier, image, label, epsilon=0.02, steps=1, step_size=0.02)
    fast = attacks.fgsm(classifier, image, label, epsilon=0.02)
    assert torch.equal(one.adversarials, fast.adversarials)


@pytest.mark.parametrize("share,falls", [(0.999, False), (1.01, True)])
@pytest.mark.parametrize("attack", [attacks.pgd, attacks.apgd, attacks.mi_fgsm])
def test_the_ball_is_searched_to_its_border(plane, attack, share, falls):
    classifier, image, label, w, gap = plane
    nearest = gap / float(w.abs().sum())
    result = attack(classifier, image, label, epsilon=share * nearest, steps=40)
    assert bool(result.success) is falls


@pytest.mark.parametrize("share,falls", [(0.999, False), (1.01, True)])
@pytest.mark.parametrize("attack", [attacks.pgd, attacks.apgd])
def test_so_is_the_round_ball(plane, attack, share, falls):
    classifier, image, label, w, gap = plane
    nearest = gap / float(w.norm())
    result = attack(classifier, image, label, epsilon=share * nearest, norm="l2", steps=40)
    assert bool(result.success) is falls


def test_deepfool_takes_one_step_across_the_plane(plane):
    classifier, image, label, w, gap = plane
    result = attacks.deepfool(classifier, image, label)
    assert result.success.all() and result.steps.item() == 1
    assert result.distance().item() == pytest.approx(1.02 * gap / float(w.norm()), rel=1e-3)


def test_deepfool_in_linf(plane):
    classifier, image, label, w, gap = plane
    result = attacks.deepfool(classifier, image, label, norm="linf")
    assert result.distance("linf").item() == pytest.approx(1.02 * gap / w.abs().sum().item(), 1e-3)


def test_ddn_finds_the_nearest_point(plane):
    classifier, image, label, w, gap = plane
    result = attacks.ddn(classifier, image, label)
    assert result.distance().item() == pytest.approx(gap / float(w.norm()), rel=0.03)
    assert result.success.all()


def test_carlini_wagner_finds_the_nearest_point(plane):
    classifier, image, label, w, gap = plane
    result = attacks.carlini_wagner(
        classifier, image, label, steps=60, search_steps=5, step_size=0.02
    )
    assert result.success.all()
    assert result.distance().item() == pytest.approx(gap / float(w.norm()), rel=0.05)


def test_carlini_wagner_halves_a_weight_that_is_too_large(plane):
    """A large weight overshoots; the search between failure and success comes near."""
    classifier, image, label, w, gap = plane
    once, often = (
        attacks.carlini_wagner(
            classifier,
            image,
            label,
            steps=20,
            step_size=0.05,
            first_weight=10.0,
            search_steps=search_steps,
        ).distance()
        * float(w.norm())
        / gap
        for search_steps in (1, 10)
    )
    assert once.item() > 1.2 and often.item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_the_nearest_point(plane, norm):
    classifier, image, label, w, gap = plane
    nearest = gap / float(w.abs().sum() if norm == "linf" else w.norm())
    result = attacks.fab(classifier, image, label, norm=norm, steps=30)
    assert result.distance(norm).item() == pytest.approx(nearest, rel=0.02)


@pytest.mark.parametrize("targeted", [False, True])
def test_fab_runs_the_network_once_per_iterate_and_at_the_end(plane, targeted):
    """At the end on the image found and on its bytes; untargeted, first to choose rivals."""
    classifier, image, label, _, _ = plane
    more = {"targets": 1 - label} if targeted else {}
    found = attacks.fab(classifier, image, label, steps=7, **more)
    assert found.cost.backwards == 7 + 1
    assert found.cost.forwards == (7 + 1) + 2 + (not targeted)


def test_until_fooled_stops_at_the_first_step_that_fools(plane):
    classifier, image, label, w, gap = plane
    result = attacks.l2_gradient_ascent(classifier, image, label, targets=1 - label, step_size=0.02)
    needed = int(gap / float(w.norm()) / 0.02) + 1
    assert result.steps.item() == needed


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_onto_a_plane_respects_the_box_and_reaches_the_plane(norm):
    generator = torch.Generator().manual_seed(0)
    x, w = torch.rand(50, 12, generator=generator), torch.randn(50, 12, generator=generator)
    active = torch.randn(50, generator=generator) * 0.5
    move = onto_plane(x, w, active, norm)
    assert ((x + move) >= -1e-6).all() and ((x + move) <= 1 + 1e-6).all()
    got = (w * move).sum(1)
    room = torch.where(w * active[:, None] > 0, 1 - x, x) * w.abs()
    feasible = room.sum(1) > active.abs() + 1e-4
    assert feasible.sum() > 30
    assert torch.allclose(got[feasible], active[feasible], atol=1e-4)


@pytest.mark.parametrize("norm,order", [("linf", torch.inf), ("l2", 2)])
def test_no_other_point_of_the_plane_is_nearer(norm, order):
    x, w = torch.tensor([[0.9, 0.5, 0.2]]), torch.tensor([[1.0, 2.0, -1.0]])
    active = torch.tensor([0.8])
    best = onto_plane(x, w, active, norm).norm(p=order)
    axis = torch.linspace(-1, 1, 101)
    grid = torch.cartesian_prod(axis, axis)
    third = -(active - grid @ w[0, :2])
    points = torch.cat([grid, third[:, None]], dim=1)
    inside = ((x + points >= 0) & (x + points <= 1)).all(1)
    assert points[inside].norm(p=order, dim=1).min() >= best - 1e-4


def test_raising_the_probability_of_a_class_raises_its_share(plane):
    """The sign that a course document prints wrongly: ascend log p(c), not the cost of c."""
    classifier, image, _, w, _ = plane
    images = image + 0.05 * torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images = images.clamp(0, 1)
    labels = classifier.predict(images, top=1).labels[:, 0]
    before = (labels == 0).double().mean()
    result = attacks.uap(
        classifier, images, labels, targets=torch.tensor([0]), epsilon=0.1, steps=10
    )
    with classifier.probe() as probe:
        after = (probe.logits((images + result.noises[0]).clamp(0, 1)).argmax(1) == 0).double()
    assert after.mean() > before
    assert torch.equal(result.noises[0].flatten().sign(), -w.sign())


def test_a_step_of_a_universal_noise_along_the_gradient_is_that_gradient(plane):
    """Of a linear network: step size x mean of (1 - p) times the difference of the rows."""
    classifier, image, _, w, _ = plane
    target = torch.tensor([0])
    with classifier.probe() as probe:
        p = probe.logits(image).softmax(1)[0, 0]
    found = attacks.uap(
        classifier, image, 1 - target, targets=target, validation=(image, 1 - target),
        epsilon=None, steps=1, samples=3, update="gradient", step_size=0.02,
    )  # fmt: skip
    assert torch.allclose(found.noises[0].flatten(), -0.02 * (1 - p) * w.flatten(), atol=1e-6)
    assert found.settings["update"] == "gradient" and "decay" not in found.settings


def test_error_of_a_noise_is_a_share_of_what_was_right_before():
    """Of three images one is classified correctly, and the noise changes it."""
    weight = torch.tensor([[1.0] * 4, [-1.0] * 4])
    classifier = linear_classifier(weight, torch.tensor([-2.0, 2.0]), (1, 2, 2))
    images = torch.tensor([0.9, 0.8, 0.7])[:, None, None, None].expand(3, 1, 2, 2).contiguous()
    labels, noise = torch.tensor([0, 1, 1]), torch.full((1, 1, 2, 2), -0.9)
    moved = attacks.apply_noise(classifier, images, labels, noises=noise)
    assert moved.error_rates.tolist() == [1.0]


@pytest.mark.slow
def test_the_pull_to_an_image_balances_the_pull_of_the_class(plane):
    """There ``pull * 2 / 16 * (x - image)`` is the gradient of the log-probability."""
    classifier, image, label, w, _ = plane
    result = attacks.toward_image(
        classifier, image, label, targets=1 - label, pull=1000.0, steps=600, step_size=0.005
    )
    other = 1 - float(result.logits_after.softmax(1)[0, 0])
    expected = -other * w * 16 / (2 * 1000.0)
    assert torch.allclose(
        result.perturbations.flatten(), expected, atol=0.05 * float(w.norm()) / 125
    )
