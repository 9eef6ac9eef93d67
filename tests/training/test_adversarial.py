"""Training against an adversary: examples stay in the ball, and the lesson is learned."""

from dataclasses import replace

import pytest
import torch

from convscope.models import build
from convscope.training import Warned, train
from convscope.training._batches import Normalize
from convscope.training._checkpoints import State
from convscope.training._objective import Adversary, evaluating
from convscope.training._process import World

KINDS = ["pgd", "fgsm-rs", "trades"]


@pytest.fixture
def robust(settings):
    return replace(settings, adversary="pgd", epsilon=0.1, adversary_ramp=0.0, adversary_steps=3)


def state_of(settings):
    generator = torch.Generator().manual_seed(0)
    module = build(settings.model, num_classes=4, input_shape=(1, 12, 12), generator=generator)
    return State.fresh(module, settings)


def seen_by(settings, dataset, position=0):
    """The images that the network was asked about in training mode, and the clean ones."""
    state = state_of(settings)
    seen = []
    adversary = Adversary(settings, Normalize((0.0,), (1.0,)), 6)
    images = dataset.train.to_float(range(16))
    hook = state.module.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach()) if module.training else None
    )
    loss, _ = adversary.loss(state, images, dataset.train.labels[:16], 0, position, World())
    hook.remove()
    return images, seen[-1], loss


@pytest.mark.parametrize("kind", KINDS)
def test_examples_stay_in_the_ball_and_in_range(robust, dataset, kind):
    images, seen, loss = seen_by(replace(robust, adversary=kind), dataset)
    worst = seen[-16:]
    gap = (worst - images).abs()
    assert gap.max() <= 0.1 + 1e-6
    assert gap.max() > 0.09
    assert 0 <= worst.min() <= worst.max() <= 1
    assert loss.requires_grad


def test_the_budget_grows_over_the_ramp(robust):
    adversary = Adversary(replace(robust, adversary_ramp=2.0), Normalize((0.0,), (1.0,)), 6)
    assert [adversary.budget(e) for e in (0, 0.5, 2, 5)] == pytest.approx([0, 0.025, 0.1, 0.1])


def test_crafting_does_not_touch_batch_norm_gradients_or_modes(robust, dataset):
    state = state_of(robust)
    adversary = Adversary(robust, Normalize((0.0,), (1.0,)), 6)
    images = dataset.train.to_float(range(8))
    buffers = [b.clone() for b in state.module.buffers()]
    adversary._ascend(state.module, images, images, 0.1, 2, 0.05, lambda z: z.sum())
    for before, after in zip(buffers, state.module.buffers(), strict=True):
        assert torch.equal(before, after)
    assert all(p.requires_grad and p.grad is None for p in state.module.parameters())
    assert all(part.training for part in state.module.modules())


def test_modes_come_back_after_an_error(robust):
    state = state_of(robust)
    with pytest.raises(RuntimeError), evaluating(state.module):
        assert not state.module.training
        raise RuntimeError
    assert state.module.training


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
def test_the_result_is_harder_to_fool(tmp_path, robust, dataset, kind):
    longer = replace(robust, epochs=8, adversary_ramp=1.0, ema=0.0, epsilon=0.15)
    plain = train(replace(longer, adversary="none"), dataset, out=tmp_path / "plain").classifier
    hard = train(replace(longer, adversary=kind), dataset, out=tmp_path / kind).classifier
    before = attacked_accuracy(plain, dataset.validation, 0.15)
    assert attacked_accuracy(hard, dataset.validation, 0.15) > before + 0.2


def test_the_guard_switches_one_step_training_to_many_steps(robust, dataset, monkeypatch):
    settings = replace(robust, adversary="fgsm-rs")
    state = state_of(settings)
    adversary = Adversary(settings, Normalize((0.0,), (1.0,)), 4)
    calls = []
    ascend = adversary._ascend

    def counted(module, images, start, epsilon, steps, size, objective):
        calls.append(steps)
        return ascend(module, images, start, epsilon, steps, size, objective)

    monkeypatch.setattr(adversary, "_ascend", counted)
    monkeypatch.setattr("convscope.training._objective.GUARD_GAP", -1.0)
    images, labels = dataset.train.to_float(range(8)), dataset.train.labels[:8]
    adversary.loss(state, images, labels, 0, 0, World())
    assert calls == [1]
    assert "one-step training overfits" in adversary.look(state, 0, 0)
    assert state.guard == 1
    adversary.loss(state, images, labels, 0, 1, World())
    assert calls == [1, 1, 7, 3]


def test_overfitting_is_said_as_a_warning(tmp_path, robust, dataset, monkeypatch):
    monkeypatch.setattr("convscope.training._objective.GUARD_GAP", -1.0)
    heard = []
    settings = replace(robust, adversary="fgsm-rs")
    train(settings, dataset, out=tmp_path / "run", on_event=heard.append)
    assert any(isinstance(e, Warned) and "overfits" in e.text for e in heard)
