"""A run on images that are read from the disk has the bits of one on images in memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.classifier import Classifier
from convscope.data import StoredImages, known_digest, open_folder
from convscope.training import evaluate, train
from convscope.training._batches import Batches
from convscope.training._environment import data_digest
from convscope.training._process import World


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / label).mkdir()
        for number in range(28):
            pixels = rng.integers(0, 256, (28, 28)).astype(np.uint8) // (1 + (label == "a"))
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


def opened(folder, monkeypatch, workers):
    if workers is None:
        monkeypatch.delenv("CONVSCOPE_IMAGE_MEMORY", raising=False)
    else:
        monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
        monkeypatch.setenv("CONVSCOPE_WORKERS", str(workers))
    return open_folder(folder)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("variant", [{}, {"train_split": "train+validation"}])
def test_same_bits_after_a_crash(
    photos, tmp_path, settings, crash_after, digest, monkeypatch, workers, variant
):
    settings = replace(settings, batch_size=8, **variant)
    train(settings, opened(photos, monkeypatch, None), out=tmp_path / "memory")
    data = opened(photos, monkeypatch, workers)
    assert isinstance(data.train.images, StoredImages)
    with pytest.raises(RuntimeError, match="crash"):
        train(settings, data, out=tmp_path / "disk", on_event=crash_after(6))
    # The digest of the data is the same, too: where images lie may change between sessions.
    train(settings, opened(photos, monkeypatch, workers), out=tmp_path / "disk", resume=True)
    assert digest(tmp_path / "disk") == digest(tmp_path / "memory")
    with pytest.raises(RuntimeError, match="crash"):
        train(settings, data, out=tmp_path / "both", on_event=crash_after(4))
    train(settings, opened(photos, monkeypatch, None), out=tmp_path / "both", resume=True)
    assert digest(tmp_path / "both") == digest(tmp_path / "memory")


def test_batches_in_any_order(photos, settings, monkeypatch):
    settings = replace(settings, batch_size=8)
    memory, disk = (
        Batches(opened(photos, monkeypatch, workers).train, settings, World())
        for workers in (None, 2)
    )
    last = settings.epochs - 1, memory.steps_per_epoch - 1
    places = [(0, 2), (0, 3), (1, 0), (0, 0), (0, 1), last, (last[0] + 1, 0), (0, 1), (0, 1)]
    for epoch, batch in places:
        for positions in (None, torch.tensor([5, 0, 5])):
            one, other = (each.load(epoch, batch, positions) for each in (memory, disk))
            assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_batches_are_read_once_and_in_order(photos, settings, monkeypatch):
    settings = replace(settings, batch_size=8, epochs=2)
    data = opened(photos, monkeypatch, 0)
    batches = Batches(data.train, settings, World())
    asked = []
    real = type(data.train.images.source).parts
    monkeypatch.setattr(
        type(data.train.images.source),
        "parts",
        lambda self, parts: real(self, (asked.append(part) or part for part in parts)),
    )
    steps = [(epoch, k) for epoch in range(2) for k in range(batches.steps_per_epoch)]
    for epoch, batch in steps:
        batches.load(epoch, batch)
    rows = data.train.images.rows
    assert asked == [rows[batches.rows(*step)].tolist() for step in steps]


def test_the_hash_of_the_data_is_the_same(photos, monkeypatch):
    """It is made when the data are opened, and only for what was opened."""
    memory, disk = opened(photos, monkeypatch, None), opened(photos, monkeypatch, 0)
    variants = [
        (lambda data: data, True),
        (lambda data: data.with_all_trained_on(), False),
        (lambda data: replace(data, train=data.train.subset([3, 1])), False),
        (
            lambda data: replace(data, train=replace(data.train, labels=1 - data.train.labels)),
            False,
        ),
        (lambda data: replace(data, validation=data.validation.subset([])), False),
    ]
    for change, known in variants:
        one, other = change(memory), change(disk)
        parts = (other.train, other.validation)
        found = known_digest([part.images for part in parts], [part.labels for part in parts])
        assert (found is not None) == known
        assert data_digest(other) == data_digest(one)


def test_evaluation_is_the_same(photos, monkeypatch):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 2))
    classifier = Classifier.wrap(net, input_shape=(1, 28, 28), class_names=["a", "b"])
    one, other = (
        evaluate(classifier, opened(photos, monkeypatch, workers).split("all"))
        for workers in (None, 2)
    )
    assert one.summary() == other.summary()
    assert torch.equal(one.predicted, other.predicted)
    assert torch.equal(one.confidences, other.confidences)
