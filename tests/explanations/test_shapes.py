"""The shapes data set: one object decides, and its mask is known."""

import pytest
import torch

from convscope.data import DIFFICULTIES, open_dataset, shape_scenes
from convscope.errors import UsageError


@pytest.fixture(scope="module")
def dataset():
    return open_dataset("shapes")


def test_ten_classes_in_equal_numbers(dataset):
    assert len(dataset.class_names) == 10 and dataset.input_shape == (3, 32, 32)
    assert dataset.test.labels.bincount().tolist() == [200] * 10
    assert len(dataset.train) == 10_000


def test_masks_belong_to_the_images_of_the_data_set(dataset):
    scenes = shape_scenes("test", 60)
    assert torch.equal(scenes.images, dataset.test.images[:60])
    assert torch.equal(scenes.labels, dataset.test.labels[:60])
    share = scenes.masks.float().mean(dim=(1, 2))
    assert share.min() > 0.02 and share.max() < 0.35


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_objects_stand_out_from_their_surroundings(difficulty):
    scenes = shape_scenes("validation", 200, difficulty=difficulty)
    images, masks = scenes.images.float() / 255, scenes.masks[:, None]
    count = masks.sum(dim=(2, 3))
    inside = (images * masks).sum(dim=(2, 3)) / count
    outside = (images * ~masks).sum(dim=(2, 3)) / (~masks).sum(dim=(2, 3))
    distance = (inside - outside).norm(dim=1)
    assert distance.quantile(0.1) > 0.6 * DIFFICULTIES[difficulty].contrast


def test_color_and_brightness_say_nothing_about_the_class():
    scenes = shape_scenes("train", 3000)
    means = scenes.images.float().mean(dim=(2, 3)) / 255
    per_class = torch.stack([means[scenes.labels == k].mean(dim=0) for k in range(10)])
    assert per_class.std(dim=0).max() < 0.03


def test_splits_and_sizes_are_different_and_repeatable():
    first, again = shape_scenes("test", 20), shape_scenes("test", 20)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, shape_scenes("train", 20).images)
    assert shape_scenes("test", 10, side=64).masks.shape == (10, 64, 64)
    with pytest.raises(UsageError, match="no split"):
        shape_scenes("tests")
    with pytest.raises(UsageError, match="no difficulty"):
        shape_scenes("test", difficulty="impossible")
