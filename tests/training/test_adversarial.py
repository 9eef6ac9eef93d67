"""Training against an adversary: examples stay in the ball, and the lesson is learned."""

from dataclasses import replace

import pytest
import torch

from convscope.models import build
from convscope.training import Warned, train
from convscope.training._batches import Normalize
from convscope.training._checkpoints import State
from convscope.training._objective import build_objective, evaluation_mode

KINDS = ["pgd", "fgsm-rs", "trades"]


@pytest.fixture(scope="module")
def robust(settings):
    return replace(settings, adversary="pgd", epsilon=0.1, adversary_ramp=0.0, adversary_steps=3)


@pytest.fixture(scope="module")
def longer(robust):
    return replace(robust, epochs=8, adversary_ramp=1.0, ema=0.0, epsilon=0.15)


@pytest.fixture(scope="module")
def plain_accuracy(longer, dataset, tmp_path_factory):
    """What is left under attack of a network that met no adversary."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    plain = train(replace(longer, adversary="none"), dataset, out=folder).classifier
    return attacked_accuracy(plain, dataset.validation, 0.15)


def state_of(settings):
    generator = torch.Generator().manual_seed(0)
    module = build(settings.model, num_classes=4, input_shape=(1, 12, 12), generator=generator)
    return State.fresh(module, settings, objective_of(settings))


def objective_of(settings, steps_per_epoch=6):
    return build_objective(settings, Normalize((0.0,), (1.0,)), steps_per_epoch=steps_per_epoch)


def loss_of(state, images, labels, step=0):
    """The images that a training step uses, and its loss."""
    perturbed = state.objective.perturb(state.model, images, labels, step=step)
    return perturbed, state.objective.loss(state.model(perturbed), labels)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_stay_in_the_ball_and_in_range(robust, dataset, kind):
    state = state_of(replace(robust, adversary=kind))
    images = dataset.train.to_float(range(16))
    perturbed, loss = loss_of(state, images, dataset.train.labels[:16])
    worst = perturbed[-16:]
    gap = (worst - images).abs()
    assert gap.max() <= 0.1 + 1e-6
    assert gap.max() > 0.09
    assert 0 <= worst.min() <= worst.max() <= 1
    assert loss.requires_grad


def test_the_budget_grows_over_the_ramp(robust):
    objective = objective_of(replace(robust, adversary_ramp=2.0))
    found = [objective.epsilon_at(step) for step in (0, 3, 12, 30)]
    assert found == pytest.approx([0, 0.025, 0.1, 0.1])


def test_crafting_does_not_touch_batch_norm_gradients_or_modes(robust, dataset):
    state = state_of(robust)
    images = dataset.train.to_float(range(8))
    buffers = [b.clone() for b in state.model.buffers()]
    state.objective.perturb(state.model, images, dataset.train.labels[:8], step=0)
    for before, after in zip(buffers, state.model.buffers(), strict=True):
        assert torch.equal(before, after)
    assert all(p.requires_grad and p.grad is None for p in state.model.parameters())
    assert all(part.training for part in state.model.modules())


def test_modes_come_back_after_an_error(robust):
    state = state_of(robust)
    with pytest.raises(RuntimeError), evaluation_mode(state.model):
        assert not state.model.training
        raise RuntimeError
    assert state.model.training


def attacked_accuracy(classifier, split, epsilon):
    """Accuracy under 10 signed gradient steps, written out."""
    x0, labels = split.to_float(), split.labels
    x = x0.clone()
    for _ in range(10):
        x.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(classifier.logits(x), labels)
        (gradient,) = torch.autograd.grad(loss, x)
        x = (x.detach() + epsilon / 4 * gradient.sign()).clamp(x0 - epsilon, x0 + epsilon)
        x = x.clamp(0, 1)
    return (classifier.logits(x).argmax(1) == labels).float().mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_harder_to_fool(tmp_path, longer, plain_accuracy, dataset, kind):
    hard = train(replace(longer, adversary=kind), dataset, out=tmp_path / kind).classifier
    assert attacked_accuracy(hard, dataset.validation, 0.15) > plain_accuracy + 0.2


def test_the_guard_switches_one_step_training_to_many_steps(robust, dataset, monkeypatch):
    settings = replace(robust, adversary="fgsm-rs")
    state = state_of(settings)
    state.objective = objective_of(settings, steps_per_epoch=4)
    calls = []
    ascend = state.objective.ascend

    def counted(model, images, start, **options):
        calls.append(options["steps"])
        return ascend(model, images, start, **options)

    monkeypatch.setattr(state.objective, "ascend", counted)
    monkeypatch.setattr("convscope.training._objective.GUARD_GAP", -1.0)
    images, labels = dataset.train.to_float(range(8)), dataset.train.labels[:8]
    state.objective.perturb(state.model, images, labels, step=0)
    assert calls == [1]
    assert "one-step training overfits" in state.objective.after_step(state.model, step=1)
    assert state.objective.state_dict() == {"guard": 2}
    state.objective.perturb(state.model, images, labels, step=1)
    assert calls == [1, 1, 7, 3]


def test_the_guard_comes_back_from_a_checkpoint(robust):
    settings = replace(robust, adversary="fgsm-rs")
    before, after = state_of(settings), state_of(settings)
    before.objective.multi_step_until = 9
    after.restore(before.capture())
    assert after.objective.multi_step_until == 9


def test_overfitting_is_said_as_a_warning(tmp_path, robust, dataset, monkeypatch):
    monkeypatch.setattr("convscope.training._objective.GUARD_GAP", -1.0)
    heard = []
    settings = replace(robust, adversary="fgsm-rs")
    train(settings, dataset, out=tmp_path / "run", on_event=heard.append)
    assert any(isinstance(e, Warned) and "overfits" in e.text for e in heard)
