"""What holds for every attack, beyond the contracts."""

import inspect

import pytest
import torch
from torch import nn

from convscope.attacks import ATTACKS, pgd
from convscope.classifier import Classifier
from convscope.flags import codes_of

FAST = {"steps": 4, "queries": 10, "search_steps": 2, "classes": 2}
BOUNDED = [name for name, f in ATTACKS.items() if "epsilon" in inspect.signature(f).parameters]
each = pytest.mark.parametrize("name", ATTACKS)


def run(name, classifier, images, labels, **more):
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    settings = {k: v for k, v in (FAST | more).items() if k in parameters}
    if "generator" in parameters:
        settings["generator"] = torch.Generator().manual_seed(0)
    needed = "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty
    if needed:
        settings.setdefault("targets", (labels + 1) % 10)
    return attack(classifier, images, labels, **settings)


@pytest.mark.parametrize("name", BOUNDED)
def test_u04_epsilon_zero_gives_the_input_bit_for_bit(digits, name):
    classifier, images, labels = digits
    result = run(name, classifier, images[:20], labels[:20], epsilon=0.0)
    assert torch.equal(result.adversarials, images[:20])
    assert torch.equal(result.success, result.already_misclassified)


@each
def test_a_permuted_batch_gives_permuted_results(digits, name):
    classifier, images, labels = digits
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    one = run(name, classifier, images[:7], labels[:7], epsilon=0.1)
    other = run(name, classifier, images[:7][order], labels[:7][order], epsilon=0.1)
    assert torch.allclose(other.adversarials, one.adversarials[order], atol=1e-4)
    assert torch.equal(other.success, one.success[order])


@each
def test_the_chunk_size_changes_nothing(digits, name, monkeypatch):
    classifier, images, labels = digits
    one = run(name, classifier, images[:7], labels[:7], epsilon=0.1)
    monkeypatch.setattr("convscope.probe.rows_per_chunk", lambda shape, device: 3)
    other = run(name, classifier, images[:7], labels[:7], epsilon=0.1)
    assert torch.allclose(other.adversarials, one.adversarials, atol=1e-4)
    assert torch.equal(other.success, one.success)


@pytest.mark.parametrize("name", BOUNDED)
def test_success_never_falls_when_epsilon_grows(digits, name):
    classifier, images, labels = digits
    rates = [
        run(name, classifier, images[:40], labels[:40], epsilon=e).success.sum()
        for e in (0.02, 0.3)
    ]
    assert rates[0] < rates[1]


@each
def test_nan_is_no_success(name):
    class Broken(nn.Module):
        def forward(self, x):
            total = x.flatten(1).sum(1, keepdim=True)
            logits = torch.cat([total, -total] + [total * 0] * 8, dim=1)
            return torch.where(total > 7.9, torch.nan, logits)

    classifier = Classifier(module=Broken(), class_names=tuple("abcdefghij"), input_shape=(1, 4, 4))
    images, labels = torch.full((3, 1, 4, 4), 0.499), torch.zeros(3, dtype=torch.int64)
    result = run(name, classifier, images, labels, epsilon=0.3)
    finite = result.logits_after.isfinite().all(1)
    assert not (result.success & ~finite).any()
    assert result.adversarials.isfinite().all()


class Scaled(nn.Module):
    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, x):
        return self.factor * self.net(x)


@pytest.mark.parametrize("factor", [1e-3, 1e3, 1e6])
@pytest.mark.parametrize("name", ["pgd", "apgd", "ddn"])
def test_the_scale_of_logits_is_no_defense(digits, name, factor):
    """With plain cross-entropy, factors of 1/100 and 1000 leave twice as many images standing."""
    classifier, images, labels = digits
    scaled = Classifier.wrap(Scaled(classifier.module, factor), input_shape=(1, 8, 8))
    plain = run(name, classifier, images, labels, epsilon=0.12, steps=30)
    result = run(name, scaled, images, labels, epsilon=0.12, steps=30)
    assert result.success_rate > plain.success_rate - 0.05
    assert result.distance("l2").median() < 1.1 * plain.distance("l2").median()
    assert (result.zero_gradients == 0).all()
    assert ("saturated" in codes_of(result.flags)) is (factor > 1)


def test_log_odds_lead_where_cross_entropy_leads():
    """Cross-entropy is softplus of the log-odds: gradients are parallel, orders equal."""
    from convscope.attacks._criteria import Criterion, cross_entropy, log_odds

    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(50, 10, dtype=torch.float64, generator=generator)
    logits[:, 0] = logits.amin(1) - 1e-3
    logits[:, 1] = logits[:, 0] + 20  # a range that is left alone
    rows = torch.arange(50)
    for criterion in (
        Criterion(labels=rows % 10),
        Criterion(labels=rows % 10, targets=(rows + 3) % 10),
    ):
        found = []
        for objective in (cross_entropy, log_odds):
            x = logits.clone().requires_grad_(True)
            values = objective(criterion, x, rows)
            found.append((torch.autograd.grad(values.sum(), x)[0], values.detach()))
        (entropy, plain), (odds, climbed) = found
        assert torch.cosine_similarity(entropy, odds, dim=1).min() > 1 - 1e-9
        # A label's own row: -CE is -softplus(-odds), its own odds; against the label softplus.
        signs = criterion.sign
        assert torch.allclose(plain, -signs * torch.nn.functional.softplus(-signs * climbed))


def test_u07_a_target_that_is_predicted_already_is_not_counted(digits):
    classifier, images, labels = digits
    result = pgd(classifier, images[:9], labels[:9], targets=labels[:9], epsilon=0.1)
    assert result.already_misclassified.all() and result.success_rate != result.success_rate
    assert {"target-predicted", "target-is-label"} & codes_of(result.flags)


@pytest.mark.parametrize("name", ["apgd-targeted", "fab", "auto-attack", "deepfool", "square"])
def test_targets_are_reached(digits, name):
    classifier, images, labels = digits
    images, targets = images[:20], (labels[:20] + 3) % 10
    more = {"epsilon": 0.5, "steps": 40, "queries": 300}
    result = run(name, classifier, images, labels[:20], targets=targets, **more)
    task = ~result.already_misclassified
    assert torch.equal(result.predictions_after[result.success], targets[result.success])
    share = result.success_rate
    assert task.sum() >= 18 and share > (0.3 if name == "square" else 0.9)


def test_u09_images_that_are_wrong_already_are_counted_apart(digits):
    classifier, images, labels = digits
    wrong = (labels + 1) % 10
    result = pgd(classifier, images, wrong, epsilon=0.0)
    assert result.summary()["errors_before"] > 0.9
    assert int(result.already_misclassified.sum()) == int(result.wrong_before.sum())


def test_rows_that_fool_leave_the_batch(digits):
    classifier, images, labels = digits
    result = pgd(classifier, images, labels, epsilon=0.4, steps=40, step_size=0.02)
    assert result.cost.backwards < 30 * len(images)
    assert result.success.double().mean() > 0.95
    full = pgd(classifier, images, labels, epsilon=0.4, steps=40, step_size=0.02, keep="best")
    assert full.cost.backwards == 40 * len(images)


def test_each_row_may_have_its_own_epsilon(digits):
    classifier, images, labels = digits
    radii = torch.linspace(0, 0.2, 10)
    result = pgd(classifier, images[:10], labels[:10], epsilon=radii, keep="best")
    assert (result.distance("linf") <= radii + 1e-7).all()
    assert torch.allclose(result.distance("linf"), radii, atol=1e-6)


def test_a_weak_walk_is_named(digits):
    classifier, images, labels = digits
    result = pgd(
        classifier, images[:2], labels[:2], epsilon=0.3, steps=40, step_size=0.01, random_start=True
    )
    assert any(f.code == "short-walk" and "cross the ball" in str(f) for f in result.flags)


def test_a_walk_from_the_middle_need_only_reach_the_border(digits):
    """Epsilon 0.3 with 40 steps of 0.01, as half of the literature has it, is no weak walk."""
    classifier, images, labels = digits

    def flags(size):
        settings = {"epsilon": 0.3, "steps": 40, "step_size": size}
        return pgd(classifier, images[:2], labels[:2], **settings).flags

    assert "short-walk" not in codes_of(flags(0.01))
    assert any(f.code == "short-walk" and "reach the border" in str(f) for f in flags(0.007))


def test_defaults_are_not_called_weak(digits):
    classifier, images, labels = digits
    for name in ("fgsm", "bim", "pgd", "mi-fgsm", "apgd"):
        assert ATTACKS[name](classifier, images[:2], labels[:2], epsilon=0.1).flags == ()
