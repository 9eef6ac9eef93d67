"""Class images: closed forms, controls, comparisons and priors."""

import pytest
import torch
from torch import nn

from convscope import results
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.models import load
from convscope.visualizations import (
    VISUALIZATION_RECIPES,
    Jitter,
    Visualization,
    chosen_recipe,
    class_images,
    fourier,
    gaussian_gradient,
    nearest,
    neuron_images,
    noise_adam,
    pca,
    spectrum,
    stationarity,
    zero_l2,
)
from convscope.visualizations._priors import PrincipalAxes, Spectrum
from convscope.visualizations._recipes import RandomAffine
from tests.explanations.nets import linear, pooled


def test_zero_l2_of_a_linear_network_ends_at_weights_over_twice_the_pull():
    classifier, weights = linear(shape=(1, 6, 6), classes=3)
    found = class_images(classifier, recipe=zero_l2(pull=0.5, steps=300), control=False)
    assert torch.allclose(found.images, weights.clamp(0, 1), atol=0.01)


def test_the_blur_is_a_variance_or_as_printed_or_usual():
    assert gaussian_gradient().settings["blur_std"] == "variance"
    for sigma in ("variance", "printed", "usual"):
        assert gaussian_gradient(blur_std=sigma).settings["blur_std"] == sigma
    with pytest.raises(UsageError, match="unknown blur_std"):
        gaussian_gradient(blur_std="4k/n")


@pytest.fixture(scope="module")
def shipped():
    return load("mnist-conv2-fc")


@pytest.mark.parametrize("sigma", [pytest.param("printed", marks=pytest.mark.slow), "variance"])
def test_neurons_are_shown_at_their_best_and_never_below_their_start(shipped, sigma):
    recipe = gaussian_gradient(steps=100, blur_std=sigma)
    found = neuron_images(shipped, "pool2:0-9", at="center", recipe=recipe, control=False)
    best = found.history.max(dim=0)
    assert torch.equal(found.kept, best.indices)
    assert torch.allclose(found.activations, best.values, rtol=1e-3)
    assert (found.activations > found.history[0]).all()
    # Silent units are woken up, not driven up: what the recipe reaches is its own.
    assert (found.history[0] < 0.3 * found.activations).all()
    usual = shipped.logits(torch.full((1, 1, 28, 28), 0.5)).detach()
    assert torch.allclose(found.effect, shipped.logits(found.images).detach() - usual, atol=1e-3)


def test_read_as_a_variance_the_objective_rises_to_the_end_as_the_document_says(shipped):
    peaks = {}
    for sigma in ("printed", "variance"):
        recipe = gaussian_gradient(blur_std=sigma)
        found = class_images(shipped, [0, 3, 6, 9], recipe=recipe, control=False)
        peaks[sigma] = found.history.max(dim=0).values.mean()
        fell = any("fell after its best step" in flag for flag in found.flags)
        assert fell == (sigma == "printed")
    assert found.history[-1].mean() > 0.99 * peaks["variance"] > peaks["printed"]


def test_an_image_that_is_not_predicted_as_its_class_is_named():
    """A class whose logit no image can make the largest."""

    class Hopeless(nn.Module):
        def forward(self, x):
            mean = x.mean(dim=(1, 2, 3))
            return torch.stack([mean, mean + 1, -mean], dim=1)

    classifier = Classifier.wrap(Hopeless(), input_shape=(1, 8, 8))
    found = class_images(classifier, recipe=noise_adam(steps=5), control=False)
    assert found.predicted_as_intended.tolist() == [False, True, False]
    assert "2 of 3 images are not predicted as the class they were optimized for" in found.flags


def test_one_step_is_one_grey_level_per_deviation_of_the_gradient():
    classifier, _ = linear(shape=(1, 6, 6), classes=2)
    recipe = gaussian_gradient(steps=1, weight_decay=0.0)
    moved = class_images(classifier, recipe=recipe, control=False).images
    recipe = gaussian_gradient(steps=1, weight_decay=0.0, step_size=1e-12)
    start = class_images(classifier, recipe=recipe, control=False).images
    inside = ((moved > 0) & (moved < 1)).all(dim=1)
    assert inside.float().mean() > 0.9
    spread = (moved - start).flatten(1).std(dim=1)
    assert torch.allclose(spread, torch.full_like(spread, 1 / 255), rtol=0.05)


def test_a_constant_gradient_moves_nothing_and_is_not_nan():
    class Mean(nn.Module):
        def forward(self, x):
            mean = x.mean(dim=(1, 2, 3))
            return torch.stack([mean, -mean], dim=1)

    classifier = Classifier.wrap(Mean(), input_shape=(1, 8, 8))
    found = class_images(classifier, recipe=gaussian_gradient(steps=5), control=False)
    assert found.images.isfinite().all() and found.history.isfinite().all()


@pytest.mark.parametrize("recipe", VISUALIZATION_RECIPES)
def test_every_recipe_raises_the_logit(recipe):
    torch.manual_seed(0)
    classifier = pooled(channels=3)
    reference = torch.rand(60, 3, 12, 12).cumsum(dim=3).remainder(1)
    made = VISUALIZATION_RECIPES[recipe](steps=20)
    found = class_images(classifier, recipe=made, reference=reference)
    assert found.history.shape == (21, 4) and found.recipe == recipe
    assert (found.history[-1] > found.history[0]).all()
    assert found.control.images.shape == found.images.shape
    assert not torch.equal(found.control.images, found.images)


def test_the_shown_activation_is_that_of_the_shown_image():
    classifier = pooled()
    found = class_images(classifier, [2, 0], recipe=fourier(steps=20), control=False)
    logits = classifier.logits(found.images).detach()
    assert torch.allclose(found.logits, logits, atol=1e-5)
    assert torch.allclose(found.activations, logits[[0, 1], [2, 0]], atol=1e-5)
    assert found.units == ("class 2", "class 0")


def test_real_images_are_compared_with():
    classifier = pooled()
    reference = torch.rand(100, 1, 12, 12)
    found = class_images(
        classifier, recipe=noise_adam(steps=20), reference=reference, control=False
    )
    logits = classifier.logits(reference).detach()
    assert torch.allclose(found.max_dataset_activation, logits.max(dim=0).values, atol=1e-5)
    assert torch.equal(found.max_dataset_images, reference[logits.argmax(dim=0)])
    distances = (found.images[:, None] - reference).flatten(2).norm(dim=2)
    assert torch.equal(found.nearest.rows, distances.argmin(dim=1))
    assert torch.allclose(found.nearest.distances, distances.amin(dim=1), atol=1e-4)
    assert torch.allclose(found.effect, found.logits - logits.mean(dim=0), atol=1e-5)


def test_the_held_out_evaluator_classifies_the_images_and_the_control():
    classifier, judge = pooled(), pooled(seed=5)
    found = class_images(classifier, recipe=noise_adam(steps=20), evaluator=judge)
    shares = judge.logits(found.images).softmax(dim=1).detach()
    assert torch.equal(found.held_out.labels, shares.argmax(dim=1))
    assert torch.allclose(found.held_out.probabilities, shares.diagonal(), atol=1e-5)
    assert found.held_out.correct == int((shares.argmax(dim=1) == torch.arange(4)).sum())
    assert found.control.held_out is not None
    with pytest.raises(UsageError, match="other classes"):
        class_images(classifier, evaluator=linear(shape=(1, 12, 12))[0])


def test_one_call_is_the_same_as_one_call_per_class():
    classifier = pooled()
    recipe = zero_l2(steps=10)
    together = class_images(classifier, recipe=recipe, control=False).images
    for target in range(4):
        alone = class_images(classifier, target, recipe=recipe, control=False).images
        assert torch.allclose(together[target : target + 1], alone, atol=1e-4)


def test_seeds_decide_everything():
    classifier = pooled()
    runs = [
        class_images(
            classifier, recipe=fourier(steps=8), generator=torch.Generator().manual_seed(seed)
        ).images
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_a_prior_without_images_is_refused():
    with pytest.raises(UsageError, match="learns from images"):
        class_images(pooled(), recipe="pca")
    with pytest.raises(UsageError, match="did you mean"):
        class_images(pooled(), recipe="pcs")


def test_the_data_choose_the_prior():
    aligned = torch.zeros(80, 1, 12, 12)
    aligned[:, :, 3:9, 3:9] = 0.8 + 0.2 * torch.rand(80, 1, 6, 6)
    scattered = torch.rand(80, 1, 12, 12)
    assert stationarity(aligned) > 0.5 and stationarity(scattered) < 0.05
    assert chosen_recipe(None, aligned).name == "pca"
    assert chosen_recipe(None, scattered).name == "spectrum"
    assert chosen_recipe(None, scattered[:20]).name == chosen_recipe(None, None).name == "l2-blur"


@pytest.mark.parametrize("count", [200, 30])
def test_principal_axes_rebuild_the_variance(count):
    images = torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    prior = PrincipalAxes.fit(images, components=36)
    axes = prior.axes.flatten(1)
    gram = axes @ axes.T
    assert torch.allclose(gram, torch.diag(gram.diagonal()), atol=1e-5)
    centered = (images - images.mean(dim=0)).flatten(1)
    covariance = centered.T @ centered / (count - 1)
    assert torch.allclose(axes.T @ axes, covariance, atol=1e-5)
    assert (gram.diagonal().diff() <= 1e-6).all(), "largest variance first"
    assert torch.equal(prior.decode(torch.zeros(1, len(axes)))[0], prior.mean)


def test_the_spectrum_prior_has_the_colors_and_the_mean_of_the_images():
    torch.manual_seed(0)
    images = 0.5 + 0.1 * torch.randn(300, 1, 8, 8) * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
    images = images + 0.05 * torch.randn(300, 3, 8, 8)
    prior = Spectrum.fit(images)
    assert prior.shape == (3, 8, 5, 2)
    assert torch.allclose(prior.decode(torch.zeros(1, *prior.shape))[0, :, 0, 0], prior.mean)
    painted = prior.decode(torch.randn(2000, *prior.shape))
    there = torch.cov(images.transpose(0, 1).flatten(1))
    here = torch.cov(painted.transpose(0, 1).flatten(1))
    ratio = here.trace() / there.trace()
    assert torch.allclose(here / ratio, there, atol=0.1 * there.max().item())


def test_one_over_f_falls_with_frequency_and_mixes_colors():
    prior = Spectrum.of_photographs((3, 32, 32))
    assert prior.magnitude[0, 1] > prior.magnitude[0, 8] > prior.magnitude[0, 16]
    painted = prior.decode(0.01 * torch.randn(8, *prior.shape))
    assert painted.min() > 0 and painted.max() < 1


@pytest.mark.parametrize("recipe", [pca, spectrum, fourier])
def test_what_learns_from_images_begins_near_their_mean(recipe):
    reference = 0.5 + 0.1 * torch.randn(60, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    found = class_images(
        pooled(), recipe=recipe(steps=1, step_size=1e-6), reference=reference, control=False
    )
    assert (found.images - 0.5).std() < 0.2 * reference.std()


def test_views_without_jitter_are_the_image():
    still = Jitter(degrees=0.0, scale=0.0, shift=0.0, flip=False)
    images = torch.rand(3, 2, 9, 12)
    views = RandomAffine(still, 3, 4, torch.Generator().manual_seed(0))
    assert torch.allclose(views.apply(images, 2, torch.arange(3)), images, atol=1e-5)
    flipped = RandomAffine(Jitter(degrees=0.0, scale=0.0, shift=0.0), 40, 0, torch.Generator())
    seen = flipped.apply(torch.rand(1, 1, 5, 6).expand(40, 1, 5, 6), 0, torch.arange(40))
    assert len({tuple(view.flatten().tolist()) for view in seen.round(decimals=4)}) == 2


def test_views_stay_within_their_limits():
    views = RandomAffine(Jitter(), 50, 3, torch.Generator().manual_seed(0))
    size = views.matrices[..., :2, 0].norm(dim=-1)
    assert size.min() >= 0.9 - 1e-5 and size.max() <= 1.1 + 1e-5
    assert views.matrices[..., 2].abs().max() <= 0.2


def test_nearest_finds_an_identical_image():
    reference = torch.rand(20, 1, 5, 5)
    found = nearest(reference[[7, 3]], reference)
    assert found.rows.tolist() == [7, 3] and found.distances.abs().max() < 1e-6


def test_results_are_saved_and_read_back(tmp_path):
    found = class_images(
        pooled(),
        recipe=noise_adam(steps=5),
        reference=torch.rand(60, 1, 12, 12),
        evaluator=pooled(seed=3),
    )
    back = results.load(Visualization, results.save(found, tmp_path / "images"))
    assert torch.equal(back.images, found.images) and back.units == found.units
    assert back.held_out.correct == found.held_out.correct
    assert torch.equal(back.control.images, found.control.images)


def test_settings_of_recipes_reach_the_result():
    found = class_images(pooled(), recipe=fourier(steps=7, jitter=None), control=False)
    assert found.settings["steps"] == 7 and found.settings["views"] is False
    assert len(found.history) == 8
    assert pca(steps=3).settings["components"] == 60
    assert spectrum(jitter=None).settings["views"] is False
