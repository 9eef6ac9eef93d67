"""Noises on other images, adversarials on other networks and under transformations."""

import pytest
import torch

from convscope import results
from convscope.attacks import (
    added_noise,
    apply_noise,
    cropped,
    flipped,
    grayscale,
    pgd,
    random_rotations,
    rotated,
    uap,
)
from convscope.defenses import blur, threshold
from convscope.errors import UsageError
from convscope.robustness import (
    TransformationRobustness,
    compare_defenses,
    model_transfer,
    noise_transfer,
    transformation_robustness,
)


def test_survival_begins_with_the_untouched_images(digits):
    classifier, images, labels = digits
    made = pgd(classifier, images[:20], labels[:20], epsilon=0.2)
    found = transformation_robustness(classifier, made)
    assert found.names[0] == "none" and len(found.names) == 5
    assert torch.equal(found.still_adversarial[0], made.success_quantized)
    assert found.rates[0] == 1.0
    assert torch.equal(found.transformed[1], found.adversarials.flip(3))


def test_survival_is_saved_and_read_back(digits, tmp_path):
    classifier, images, labels = digits
    made = pgd(classifier, images[:3], labels[:3], epsilon=0.2)
    found = transformation_robustness(classifier, made)
    results.save(found, tmp_path / "s")
    assert torch.equal(
        results.load(TransformationRobustness, tmp_path / "s").transformed, found.transformed
    )


def test_zero_noise_changes_no_prediction(digits):
    classifier, images, labels = digits
    found = apply_noise(classifier, images, labels, noises=torch.zeros(2, 1, 8, 8))
    assert torch.equal(found.predicted[0], found.predicted_before)
    assert (found.error_rates == 0).all()


def test_a_noise_works_on_the_image_it_was_made_for(digits):
    classifier, images, labels = digits
    targets = (labels[:5] + 1) % 10
    made = added_noise(classifier, images[:5], labels[:5], targets=targets)
    found = noise_transfer(classifier, images[:5], labels[:5], made=made)
    assert made.success.all()
    assert torch.equal(found.predicted.diagonal(), targets)


def test_u10_noise_of_another_size_is_refused(digits):
    classifier, images, labels = digits
    with pytest.raises(UsageError) as caught:
        apply_noise(classifier, images, labels, noises=torch.zeros(1, 1, 1, 8))
    assert caught.value.code == "U10"


def test_universal_noise_raises_the_share_of_every_class(digits):
    classifier, images, labels = digits
    found = uap(classifier, images, labels, epsilon=None, steps=25, samples=16)
    assert found.rates.mean() > 0.8 and found.validation_rates[0].mean() < 0.1
    assert (found.noises.abs() <= 1).all()


def test_adversarials_fool_the_network_they_were_made_on(digits):
    classifier, images, labels = digits
    found = model_transfer(
        {"plain": classifier, "blurred": blur(classifier, std=0.6)},
        images[:40],
        labels[:40],
        epsilon=0.25,
    )
    assert found.rates.shape == (2, 2) and (found.rates.diagonal() > 0.8).all()


def test_around_a_defense_looks_better_than_through_it(digits):
    classifier, images, labels = digits
    found = compare_defenses(
        classifier,
        {"blur": blur(classifier, std=0.6), "threshold": threshold(classifier, level=0.3)},
        images[:50],
        labels[:50],
        epsilon=0.15,
        steps=20,
    )
    rows = {row.defense: row for row in found.rows}
    assert rows["none"].transfer == rows["none"].adaptive
    assert rows["blur"].adaptive <= rows["blur"].transfer


def test_views_of_symmetric_things():
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(flipped(flipped(images)), images)
    assert torch.allclose(rotated(images, 0.0), images, atol=1e-5)
    assert torch.allclose(cropped(images, 1.0), images, atol=1e-5)
    quarter = rotated(images, 90.0)
    assert torch.allclose(quarter, torch.rot90(images, 1, (2, 3)), atol=1e-4)
    assert torch.allclose(grayscale(grayscale(images)), grayscale(images), atol=1e-6)
    assert grayscale(images[:, :1]) is not None


def test_an_attack_through_views_survives_them_better(digits):
    classifier, images, labels = digits
    right = classifier.predict(images, top=1).labels[:, 0] == labels
    images, labels = images[right][:30], labels[right][:30]
    turn = random_rotations(30.0)
    settings = {"epsilon": 0.2, "steps": 15}
    plain = pgd(classifier, images, labels, keep="first", **settings)
    robust = pgd(
        classifier, images, labels, keep="best", transforms=turn, eot_samples=6,
        generator=torch.Generator().manual_seed(0), **settings,
    )  # fmt: skip
    share = []
    for found in (plain, robust):
        changed = {"left": lambda x: rotated(x, -25.0), "right": lambda x: rotated(x, 25.0)}
        seen = transformation_robustness(classifier, found, transformations=changed)
        share.append(seen.still_adversarial[1:].double().mean())
    assert share[1] > share[0]


def test_views_by_name_survive_the_transformations_of_survival(digits):
    """At the same budget 68 % against 53 %; transforms that fool on their own do not count."""
    from convscope.attacks import TRANSFORMS, apgd, random_choice

    classifier, images, labels = digits
    images, labels = images[:50], labels[:50]
    settings = {"epsilon": 0.15, "steps": 25}
    views = random_choice(TRANSFORMS["flip"], TRANSFORMS["crop"], TRANSFORMS["rotation"])
    plain = apgd(classifier, images, labels, **settings)
    made = apgd(classifier, images, labels, transforms=views, eot_samples=8,
                generator=torch.Generator().manual_seed(0), **settings)  # fmt: skip
    share = []
    for found in (plain, made):
        seen = transformation_robustness(classifier, found)
        fair = seen.originals_predicted[1:4] == labels
        share.append(float((seen.still_adversarial[1:4] & fair).sum() / fair.sum()))
    assert share[1] > share[0] + 0.1
