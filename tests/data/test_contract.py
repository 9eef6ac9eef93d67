"""What every data set promises, whoever adds it to the registry."""

import numpy as np
import pytest
import torch

from convscope.data import DATASETS, open_dataset, status


@pytest.fixture(params=[*DATASETS, "folder"])
def dataset(request, tmp_path, make_mnist, make_cifar, make_pets):
    name = request.param
    if name == "mnist":
        make_mnist(tmp_path / "mnist")
    elif name == "cifar10":
        make_cifar(tmp_path / "cifar10")
    elif name == "pets":
        tmp_path = make_pets(count=3)
    elif name == "folder":
        name = f"folder:{request.getfixturevalue('image_folder')}"
    elif not status(name).ready:
        pytest.skip(f"{name} has to be downloaded")

    def reopen():
        return open_dataset(name, data_dir=tmp_path, offline=True, accept_modified=True)

    return reopen


def test_promises(dataset):
    data = dataset()
    assert len(set(data.class_names)) == len(data.class_names) >= 2
    assert [split.name for split in data.splits] == ["train", "validation", "test"]
    for split in data.splits:
        assert len(split) > 0
        assert split.images.dtype == torch.uint8
        assert tuple(split.images.shape[1:]) == data.input_shape
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.int64
        assert split.labels.min() >= 0
        assert split.labels.max() < len(data.class_names)
        assert split.names is None or len(split.names) == len(split)
        if split.masks is not None:
            assert split.masks.dtype == torch.bool
            assert split.masks.shape == (len(split), *data.input_shape[1:])
            share = split.masks.flatten(1).float().mean(dim=1)
            assert share.min() > 0 and share.max() < 1
    assert data.source and data.hashes
    assert all(len(value) == 64 for value in data.hashes.values())
    mean, std = data.mean_std()
    assert len(mean) == len(std) == data.input_shape[0]
    assert all(0 < value < 1 for value in mean)
    data.split("train").to_float([0])


@pytest.mark.parametrize(
    "dataset",
    [  # Shapes are drawn anew, in seconds; tests/contracts compares two openings of them as well.
        pytest.param(name, marks=[pytest.mark.slow] if name == "shapes" else [])
        for name in [*DATASETS, "folder"]
    ],
    indirect=True,
)
def test_two_openings_are_equal_and_apart(dataset):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = dataset(), dataset()
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert first.hashes == second.hashes
    assert first.warnings == second.warnings
    for one, other in zip(first.splits, second.splits, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert (one.masks is None) == (other.masks is None)
        assert one.masks is None or torch.equal(one.masks, other.masks)
    first.train.images.zero_()
    assert second.train.images.max() > 0
