"""A network that returns NaN or infinity: flagged everywhere, neither fooled nor robust."""

import inspect

import pytest
import torch
from torch import nn

from convscope import robustness
from convscope.attacks import ATTACKS, SHARED, apply_noise, pgd
from convscope.classifier import Classifier
from convscope.flags import codes_of, count_of
from tests.contracts.test_attacks import settings_for


class BrokenOffTheGrid(nn.Module):
    """Right on 8-bit images, NaN (or infinite) as soon as a pixel is none of 256 gray levels."""

    def __init__(self, value=torch.nan):
        super().__init__()
        self.value = value
        self.layer = nn.Linear(16, 5)

    def forward(self, x):
        levels = x.detach() * 255
        off = ((levels - levels.round()).abs() > 1e-3).flatten(1).any(dim=1)
        # `where` keeps the gradient of the honest rows.
        return torch.where(off[:, None], self.value, self.layer(x.flatten(1)))


@pytest.fixture(params=[torch.nan, torch.inf, -torch.inf], ids=["nan", "inf", "-inf"])
def broken(request):
    torch.manual_seed(0)
    classifier = Classifier(
        module=BrokenOffTheGrid(request.param), class_names=tuple("abcde"), input_shape=(1, 4, 4)
    )
    images = torch.randint(60, 200, (6, 1, 4, 4)) / 255
    return classifier, images, classifier.predict(images, top=1).labels[:, 0]


def test_robustness_is_not_credited(broken):
    classifier, images, labels = broken
    found = robustness.evaluate(classifier, images, labels, epsilon=0.3, effort="quick")
    assert found.clean_accuracy == 1.0
    assert found.robust_accuracy == 0.0 and found.nonfinite == 6
    assert "non-finite" in codes_of(found.flags)
    assert found.summary()["nonfinite"] == 6


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_says_so(name, broken):
    classifier, images, labels = broken
    chosen = settings_for(ATTACKS[name], labels)
    if "epsilon" in inspect.signature(ATTACKS[name]).parameters:
        chosen["epsilon"] = 0.1  # No whole number of gray levels.
    result = ATTACKS[name](classifier, images, labels, **chosen)
    assert count_of(result.flags, "nonfinite") == int(result.unreadable.sum()) > 0
    assert result.unreadable.any() and not (result.success & ~torch.isfinite(
        result.logits_after).all(1)).any()  # fmt: skip
    assert result.summary()["nonfinite"] == int(result.unreadable.sum())


def test_unreadable_originals_are_wrong_and_no_task(broken):
    classifier, images, labels = broken
    images = images.clone()
    images[0] += 0.3 / 255
    result = pgd(classifier, images, labels, epsilon=0.0, steps=1)
    assert result.wrong_before.tolist() == [True] + [False] * 5
    assert result.already_misclassified[0] and not result.success[0] and result.unreadable[0]
    assert robustness.evaluate(
        classifier, images, labels, epsilon=0.0, effort="quick"
    ).clean_accuracy == pytest.approx(5 / 6)


def test_the_curve_falls_where_logits_end(broken):
    classifier, images, labels = broken
    found = robustness.curve(classifier, images, labels, epsilons=[0.1, 0.2], steps=3)
    assert found.accuracies.tolist() == [1.0, 0.0, 0.0]
    assert count_of(found.flags, "nonfinite") == 6 and found.flags[0].of == 6


def test_votes_go_to_no_class(broken):
    classifier, images, labels = broken
    found = robustness.certify(classifier, images, labels, std=0.1, draws=50)
    assert found.votes.tolist() == [0] * 6 and found.predicted.tolist() == [-1] * 6
    assert "6 of 6 images" in str(found.flags[0]) and found.summary()["flags"]


def test_views_and_transfers_and_defenses_say_so(broken):
    classifier, images, labels = broken
    honest = Classifier(
        module=nn.Sequential(nn.Flatten(), nn.Linear(16, 5)),
        class_names=classifier.class_names,
        input_shape=(1, 4, 4),
    )
    made = pgd(honest, images, labels, epsilon=0.3, steps=3, keep="best")
    views = {"dim": lambda x: x * 0.777}
    survived = robustness.transformation_robustness(classifier, made, transformations=views)
    assert survived.flags and not survived.still_adversarial[1].any()
    assert survived.summary()["originals_right"]["dim"] == 0.0
    moved = apply_noise(classifier, images, labels, noises=torch.full((1, 1, 4, 4), 0.0123))
    assert moved.error_rates.tolist() == [1.0] and moved.target_rates.tolist() == [0.0]
    assert moved.flags and moved.summary()["flags"]
    shown = robustness.model_transfer(
        {"honest": honest, "broken": classifier}, images,
        honest.predict(images, top=1).labels[:, 0], attack="mi-fgsm", steps=2, epsilon=0.3,
    )  # fmt: skip
    assert shown.flags and shown.summary()["flags"]
    compared = robustness.compare_defenses(
        honest, {"broken": classifier}, images, labels, epsilon=0.3, steps=3
    )
    assert compared.rows[1].adaptive == 0.0 and compared.flags


@pytest.mark.parametrize("name", SHARED)
def test_shared_perturbations_say_so(name, broken):
    classifier, images, labels = broken
    chosen = {k: v for k, v in {"steps": 2, "samples": 2}.items()
              if k in inspect.signature(SHARED[name]).parameters}  # fmt: skip
    found = SHARED[name](classifier, images, labels, **chosen)
    assert count_of(found.flags, "nonfinite") > 0


def test_a_universal_perturbation_that_is_given_up_leaves_the_others():
    """Held-out images are classified with all perturbations, also when one has left the ascent."""

    class BreaksTowardOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 2, bias=False)
            self.layer.weight.data = torch.tensor([[-1.0] * 16, [1.0] * 16])

        def forward(self, x):
            logits = self.layer(x.flatten(1))
            return torch.where(logits[:, 1:] > 9, torch.nan, logits)

    classifier = Classifier(module=BreaksTowardOne(), class_names=("a", "b"), input_shape=(1, 4, 4))
    images, labels = torch.full((20, 1, 4, 4), 0.5), torch.arange(20) % 2
    found = SHARED["uap"](classifier, images, labels, steps=20, samples=2, epsilon=0.3)
    assert found.validation_rates.shape == (11, 2) and count_of(found.flags, "nonfinite") == 1
    assert found.training_error[:, 0].isfinite().all() and found.training_error[-1, 1].isnan()
    # The first point is before the first step: perturbations are zero there.
    plain = classifier.predict(images[4::5], top=1).labels[:, 0]
    assert found.validation_steps[0] == 0
    assert found.validation_rates[0, 0] == (plain == 0)[labels[4::5] != 0].float().mean()


def test_gradients_that_are_nan_are_told_apart():
    """Logits are fine everywhere, gradients are not: the row stands, and the reader is told."""

    class Kinked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            flat = x.flatten(1)
            return self.layer(flat) + 0 * (flat[:, :1] - flat[:, :1].detach()).abs().sqrt()

    torch.manual_seed(0)
    classifier = Classifier(module=Kinked(), class_names=("a", "b"), input_shape=(1, 2, 2))
    images = torch.full((3, 1, 2, 2), 0.5)
    labels = classifier.predict(images, top=1).labels[:, 0]
    result = pgd(classifier, images, labels, epsilon=0.1, steps=2)
    assert count_of(result.flags, "nonfinite-gradient") == 3
    assert not result.unreadable.any() and result.logits_after.isfinite().all()
