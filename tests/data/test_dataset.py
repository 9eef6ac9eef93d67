import time

import numpy as np
import pytest
import torch

from convscope.data import DATASETS, Dataset, Split, open_dataset
from convscope.data._content_warnings import content_warnings
from convscope.data._digits import open_digits, upsample
from convscope.data._stratified import stratified_parts
from convscope.errors import DataError, UsageError


def small_split(name="train", count=4, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, 5, 3), generator=generator).byte()
    return Split(name=name, images=images, labels=torch.arange(count))


def dataset(train):
    return Dataset(
        name="x",
        class_names=("a", "b"),
        train=train,
        validation=small_split("validation", seed=1),
        test=small_split("test", seed=2),
        source="",
        hashes={},
    )


def test_floats_are_correctly_rounded_bytes():
    every = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
    split = Split(name="test", images=every, labels=torch.zeros(256, dtype=torch.int64))
    exact = torch.arange(256, dtype=torch.float64) / 255
    assert torch.equal(split.to_float().flatten(), exact.float())
    assert torch.equal((split.to_float() * 255).round().byte(), every)


@pytest.mark.parametrize(
    "rows", [[2, 0, 2], torch.tensor([2, 0, 2]), np.array([2, 0, 2]), range(1, 3), slice(1, 3)]
)
def test_rows_may_be_given_in_many_ways(rows):
    split = small_split()
    index = list(range(4))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
    assert torch.equal(split.to_float(rows), split.images[index].float() / 255)


def test_floats_never_share_memory():
    split = small_split()
    before = split.images.clone()
    split.to_float().zero_()
    split.to_float(slice(None)).zero_()
    assert torch.equal(split.images, before)


def test_subset_keeps_images_labels_and_names_together():
    split = Split(
        name="test",
        images=small_split().images,
        labels=torch.arange(4),
        names=("a", "b", "c", "d"),
    )
    some = split.subset([3, 1])
    assert some.names == ("d", "b")
    assert some.labels.tolist() == [3, 1]
    assert torch.equal(some.images, split.images[[3, 1]])
    assert len(some) == 2


@pytest.mark.parametrize(
    ("images", "labels", "code"),
    [
        (torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64), "I24"),
        (torch.zeros(2, 3, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "I24"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "D09"),
        (torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.zeros(2), "D09"),
    ],
)
def test_splits_that_make_no_sense(images, labels, code):
    with pytest.raises(DataError) as caught:
        Split(name="train", images=images, labels=labels)
    assert caught.value.code == code


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_the_pixels(channels):
    train = small_split(count=300, channels=channels)
    mean, std = dataset(train).mean_std()
    pixels = train.images.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(pixels.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), rel=1e-12)


def test_constant_images_have_no_deviation():
    train = Split(
        name="train",
        images=torch.full((9, 1, 5, 3), 77, dtype=torch.uint8),
        labels=torch.arange(9),
    )
    assert dataset(train).mean_std() == ((77 / 255,), (0.0,))


def test_all_training_and_validation_images_can_be_trained_on():
    data = dataset(small_split())
    whole = data.with_all_trained_on()
    assert torch.equal(whole.train.images, torch.cat([data.train.images, data.validation.images]))
    assert torch.equal(whole.train.labels, torch.cat([data.train.labels, data.validation.labels]))
    assert (whole.train.name, len(whole.validation)) == ("train", 0)
    assert whole.test is data.test and len(data.validation) == 4


def test_splits_by_name():
    data = dataset(small_split())
    assert [data.split(split.name) is split for split in data.splits] == [True] * 3
    with pytest.raises(UsageError, match="did you mean validation"):
        data.split("validaton")
    assert repr(data) == "Dataset('x', 4 / 4 / 4 images of 1x5x3, 2 classes)"
    assert repr(data.test) == "Split('test', 4x1x5x3 bytes)"


def test_unknown_data_sets_are_refused_with_the_closest():
    with pytest.raises(UsageError, match="did you mean cifar10"):
        open_dataset("cifar")
    assert {"digits", "mnist", "cifar10"} <= set(DATASETS)


def test_stratified_parts_are_disjoint_complete_and_in_proportion():
    labels = [0] * 100 + [1] * 50 + [2] * 10
    keys = [str(row) for row in range(160)]
    test, validation, train = stratified_parts(labels, keys, shares=(0.2, 0.1))
    assert sorted(test + validation + train) == list(range(160))
    counts = [np.bincount([labels[row] for row in part]).tolist() for part in (test, validation)]
    assert counts == [[20, 10, 2], [10, 5, 1]]
    again = stratified_parts(labels, keys, shares=(0.2, 0.1))
    assert again == (test, validation, train)
    assert stratified_parts(labels, keys, shares=(0.2, 0.1), seed=1) != again


def test_the_cut_is_pinned_for_ever():
    parts = stratified_parts([0, 1] * 8, list("abcdefghijklmnop"), shares=(0.25,))
    assert parts[0] == [4, 7, 11, 14]


def test_ordinary_data_have_no_warnings():
    assert content_warnings(*dataset(small_split()).splits) == ()


def test_digits_open_fast_and_are_balanced():
    start = time.process_time()
    data = open_dataset("digits")
    assert time.process_time() - start < 2  # CPU seconds: 0.07 measured
    assert [len(split) for split in data.splits] == [1259, 179, 359]
    assert data.warnings == ()
    for split in data.splits:
        counts = torch.bincount(split.labels)
        assert counts.max() - counts.min() <= 6


def test_the_cut_of_digits_is_that_of_seed_0():
    """Accuracies of shipped networks are those on this test split."""
    data = open_dataset("digits")
    assert "seed 0" in data.source
    again, other = open_digits(seed=0), open_digits(seed=1)
    assert torch.equal(data.test.images, again.test.images)
    assert not torch.equal(data.test.images, other.test.images)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    from convscope.data._digits import _values

    images, labels = _values()
    assert np.array_equal(images, load_digits().images)
    assert np.array_equal(labels, load_digits().target)


def test_digits_without_the_file_come_from_the_function(monkeypatch, tmp_path):
    import importlib.util

    expected = open_dataset("digits").hashes
    fake = importlib.util.spec_from_file_location("sklearn", tmp_path / "__init__.py")
    monkeypatch.setattr("convscope.data._digits.importlib.util.find_spec", lambda name: fake)
    assert open_dataset("digits").hashes == expected


def test_digits_have_the_same_bytes_on_every_machine():
    assert open_dataset("digits").hashes == {
        "digits": "a8d50e161a0edbf9183928c5e5999cfae96a47f426e72bdb63a08a240382b96e"
    }


def test_upsampling_is_cubic_convolution():
    """Against the formula in floating point, written plainly."""

    def kernel(distance):
        d = abs(distance)
        if d <= 1:
            return 1.5 * d**3 - 2.5 * d**2 + 1
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0

    small = np.random.default_rng(0).integers(0, 17, (2, 8, 8))
    weights = np.zeros((20, 8))
    for row in range(20):
        place = (row + 0.5) * 8 / 20 - 0.5
        for source in range(-3, 12):
            weights[row, min(max(source, 0), 7)] += kernel(place - source)
    wide = np.clip(weights @ small @ weights.T * 255 / 16, 0, 255)
    out = upsample(small)
    assert np.abs(out[:, 4:24, 4:24] - wide).max() <= 0.5 + 1e-9
    assert out.sum() == out[:, 4:24, 4:24].sum()
