"""A data set that trains in milliseconds, and the settings of a run on it."""

import hashlib

import pytest
import torch

from convscope.data import Augmentation, Dataset, Split
from convscope.training import TrainSettings, _faults


def stripes(count, seed, name):
    """Four classes of 12x12 images: stripes of four directions, random phase, noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    waves = torch.stack([x, y, (x + y) / 2**0.5, (x - y) / 2**0.5])
    phase = torch.rand(count, 1, 1, generator=generator) * 6.3
    clean = 0.5 + 0.4 * torch.sin(waves[labels] * 1.6 + phase)
    noisy = clean + 0.1 * torch.randn(count, 12, 12, generator=generator)
    images = (noisy.clamp(0, 1) * 255).to(torch.uint8)[:, None]
    return Split(name=name, images=images, labels=labels)


@pytest.fixture(scope="session")
def dataset():
    return Dataset(
        name="stripes",
        class_names=("columns", "rows", "rising", "falling"),
        train=stripes(200, 0, "train"),
        validation=stripes(60, 1, "validation"),
        test=stripes(40, 2, "test"),
        source="generated stripes",
        hashes={},
    )


@pytest.fixture(scope="session")
def settings():
    """Everything that could need state is on: batch norm, momentum, average, augmentation."""
    return TrainSettings(
        model="mnist-conv1-bn",
        data="stripes",
        epochs=2,
        batch_size=32,
        learning_rate=0.01,
        augment=Augmentation(shift=1),
        precision="fp32",
        evals_per_epoch=2,
        validation_images=20,
        checkpoint_seconds=1e9,
        checkpoint_steps=5,
    )


@pytest.fixture
def digest():
    """SHA-256 of everything that a run must reproduce: weights, average, optimizer, metrics."""

    def of(folder):
        newest = max((folder / "checkpoints").glob("step-*"))
        files = [folder / "model.safetensors", folder / "metrics.csv", *sorted(newest.iterdir())]
        whole = hashlib.sha256()
        for path in files:
            whole.update(path.name.encode() + path.read_bytes())
        return whole.hexdigest()

    return of


@pytest.fixture
def crash_after():
    """An `on_event` that crashes the run after an update: nothing is saved then."""

    def at(step):
        def on_event(event):
            if type(event).__name__ == "Stepped" and event.step == step:
                raise RuntimeError("crash")

        return on_event

    return at


@pytest.fixture(autouse=True)
def disarmed():
    """No failpoint outlives its test."""
    yield
    _faults.arm("")
