"""A training step with everything on another device than the CPU, setting by setting."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from convscope.data import Augmentation, Dataset, Split
from convscope.training import TrainSettings
from convscope.training._process import World
from convscope.training._setup import engine_and_state, fresh_network
from tests.stand_in import OneDevice, what_the_stand_in_lacks

FUSED = ("_fused_sgd_", "_fused_adamw_", "_fused_adam_")


def on_the_processor(kernel):
    """An optimizer's kernel, which the stand-in has not: computed on the CPU and put back."""

    def run(*args, **options):
        tensors = [x for x in tree_leaves((args, options)) if isinstance(x, Tensor)]
        kinds = {x.device.type for x in tensors}
        assert len(kinds) == 1, f"an optimizer's tensors are on {kinds}"
        here = {id(x): x.detach().cpu() for x in tensors}
        mine = tree_map(lambda x: here[id(x)] if isinstance(x, Tensor) else x, (args, options))
        kernel(*mine[0], **mine[1])
        for x in tensors:
            x.copy_(here[id(x)].to(x.device))

    return run


VARIANTS = {
    "plain": {},
    "mixed": {"mixup": 0.4, "cutmix": 1.0},
    "covered": {"cutout": 2, "label_smoothing": 0.1, "class_weights": "balanced"},
    "parts": {"microbatches": 2},
    "muon": {"optimizer": "muon", "max_grad_norm": 1.0},
    "adamw": {"optimizer": "adamw"},
    "pgd": {"adversary": "pgd", "epsilon": 0.1, "adversary_steps": 2},
    "fgsm-rs": {"adversary": "fgsm-rs", "epsilon": 0.1},
    "trades": {"adversary": "trades", "epsilon": 0.1, "adversary_steps": 2},
    "noise": {"noise_std": 0.1, "consistency": 2.0},
    "turned": {"augment": Augmentation(shift=1, flip="random", degrees=5, scale=0.1, shear=0.1)},
}


@pytest.fixture
def noise():
    """A data set of nothing but noise, and settings without what a Python number would spoil."""
    numbers = torch.Generator().manual_seed(0)
    splits = {
        name: Split(
            name=name,
            images=torch.randint(0, 256, (16, 1, 12, 12), generator=numbers, dtype=torch.uint8),
            labels=torch.arange(16) % 4,
        )
        for name in ("train", "validation", "test")
    }
    dataset = Dataset(
        name="noise", class_names=tuple("abcd"), source="generated", hashes={}, **splits
    )
    chosen = TrainSettings(
        model="mnist-conv1", data="noise", epochs=1, batch_size=8, learning_rate=0.01,
        optimizer="sgd", precision="fp32", evals_per_epoch=1, validation_images=8, ema=0.0,
    )  # fmt: skip
    return dataset, chosen


def begun(noise, variant, place):
    dataset, chosen = noise
    chosen = replace(chosen, **VARIANTS[variant])
    network = fresh_network(chosen, dataset)
    return engine_and_state(chosen, dataset, network, World(), stop=lambda: False, device=place)


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_and_loss_of_a_step(variant, noise, device):
    """What goes into an update: loaded, augmented, mixed and attacked images, and their loss."""

    def made(place):
        engine, state = begun(noise, variant, place)
        mixed = engine.mixing(0, 0)
        images = state.objective.perturb(state.model, mixed.images, mixed.labels, step=0)
        logits = state.model(engine.normalize(images)).detach()
        loss = state.objective.loss(logits, mixed.labels)
        return mixed.images, mixed.labels, mixed.others, images, logits, loss

    expected = made(torch.device("cpu"))
    with OneDevice(), what_the_stand_in_lacks():
        found = made(device)
        for mine, other in zip(found, expected, strict=True):
            assert mine.device.type == device.type
            assert torch.allclose(mine.cpu().float(), other.float(), atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_epoch(variant, noise, device, monkeypatch):
    """Two updates and the look at the validation images; the weights are those of the CPU."""

    def trained(place):
        engine, state = begun(noise, variant, place)
        losses = [event.loss for event in engine.run(state) if hasattr(event, "loss")]
        return losses, state.model.state_dict()

    losses, weights = trained(torch.device("cpu"))
    if device.type == "lazy":
        for name in FUSED:
            monkeypatch.setattr(torch, name, on_the_processor(getattr(torch, name)))
    with OneDevice(), what_the_stand_in_lacks():
        found, moved = trained(device)
        assert found == pytest.approx(losses, rel=1e-4)
        for name, value in moved.items():
            assert value.device.type == device.type, name
            assert torch.allclose(value.cpu(), weights[name], atol=1e-4), name
