"""pets: the official layout of the Oxford-IIIT Pet data set, whole, in part, or damaged."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import download, export_data, open_dataset, status
from convscope.data._pets import BACKGROUND, BORDER, PET
from convscope.errors import DataError, ResourceError, UsageError

SHAPE = (3, 32, 32)


def pets(folder, **settings):
    return open_dataset("pets", data_dir=folder, **({"input_shape": SHAPE} | settings))


def test_breeds_splits_and_masks(make_pets):
    data = pets(make_pets())
    assert data.class_names == ("Abyssinian", "american bulldog")
    assert [len(split) for split in data.splits] == [6, 2, 4]
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert "12 photos of 2 of 3 listed breeds" in data.source
    assert data.test.names[0] == "images/Abyssinian_5.jpg"
    for split in data.splits:
        assert split.masks.shape == (len(split), 32, 32) and split.masks.dtype == torch.bool


def test_mask_gets_the_window_of_its_photo(make_pets):
    """The pet is the white part of the photo: resized and cropped alike, both must agree."""
    data = pets(make_pets(size=(64, 40)), input_shape=(3, 20, 20))
    bright = data.test.images[:, 0] > 128
    assert (bright == data.test.masks).float().mean() > 0.95
    assert 0.1 < data.test.masks.float().mean() < 0.9


def test_border_counts_as_pet(make_pets):
    folder = make_pets(size=(32, 32))
    trimap = np.full((32, 32), BACKGROUND, np.uint8)
    trimap[:, :4], trimap[:, 4:8] = PET, BORDER
    Image.fromarray(trimap).save(folder / "oxford-iiit-pet/annotations/trimaps/Abyssinian_5.png")
    mask = pets(folder).test.masks[0]
    assert mask[:, :8].all() and not mask[:, 8:].any()


def test_default_size_and_subset_keep_masks(make_pets):
    data = open_dataset("pets", data_dir=make_pets(count=3))
    assert data.input_shape == (3, 224, 224)
    few = data.test.subset([1])
    assert torch.equal(few.masks[0], data.test.masks[1]) and few.names == data.test.names[1:2]


def test_absent_pets_say_where_they_come_from(tmp_path):
    with pytest.raises(ResourceError, match=r"(?s)not on this machine.*robots\.ox\.ac\.uk"):
        pets(tmp_path)
    assert not status("pets", tmp_path).ready
    with pytest.raises(ResourceError, match="annotations"):
        download("pets", data_dir=tmp_path)


def test_pets_that_are_here_need_no_getting_and_are_not_packed(make_pets, tmp_path):
    folder = make_pets()
    assert download("pets", data_dir=folder).ready
    with pytest.raises(UsageError, match="copy the folder"):
        export_data("pets", tmp_path / "pets.tar", data_dir=folder)


def broken(folder, kind):
    root = folder / "oxford-iiit-pet"
    photo, trimap = root / "images/Abyssinian_5.jpg", root / "annotations/trimaps/Abyssinian_5.png"
    if kind == "photo listed but absent":
        photo.unlink()
    elif kind == "photo cut off":
        photo.write_bytes(photo.read_bytes()[:-200])
    elif kind == "no trimap":
        trimap.unlink()
    elif kind == "trimap of another size":
        Image.fromarray(np.full((5, 5), PET, np.uint8)).save(trimap)
    elif kind == "no trimap but a picture":
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(trimap)
    return "Abyssinian_5"


@pytest.mark.parametrize(
    "kind",
    [
        "photo listed but absent",
        "photo cut off",
        "no trimap",
        "trimap of another size",
        "no trimap but a picture",
    ],
)
def test_damaged_photos_are_refused_or_left_out(make_pets, refused, kind):
    folder = make_pets()
    name = broken(folder, kind)
    error = refused("D21", DataError, pets, folder)
    assert name in str(error) and "--skip-bad" in str(error)
    data = pets(folder, skip_bad=True)
    assert len(data.test) == 3 and name in data.refused[0]


@pytest.mark.parametrize(
    ("file", "line", "code"),
    [
        ("list.txt", "../../etc/passwd_1 1 1 1", "D21"),
        ("test.txt", "nonsense", "D21"),
        ("test.txt", "Abyssinian_5 2 1 1", "D10"),
        ("test.txt", "Abyssinian_99 1 1 1", "D10"),
        ("test.txt", "Abyssinian_1 1 1 1", "D25"),
    ],
)
def test_damaged_lists_are_refused(make_pets, refused, file, line, code):
    folder = make_pets()
    path = folder / "oxford-iiit-pet/annotations" / file
    path.write_text(path.read_text() + line + "\n")
    refused(code, DataError, pets, folder)


def test_one_breed_is_no_classification(make_pets, refused):
    folder = make_pets()
    for path in (folder / "oxford-iiit-pet/images").glob("american*"):
        path.unlink()
    assert "1 of 3 listed breeds" in str(refused("D21", DataError, pets, folder))


def test_hash_is_of_photos_and_masks(make_pets):
    folder = make_pets()
    before = pets(folder).hashes
    assert before == pets(folder).hashes
    trimap = folder / "oxford-iiit-pet/annotations/trimaps/Abyssinian_5.png"
    Image.fromarray(np.full((40, 48), PET, np.uint8)).save(trimap)
    assert pets(folder).hashes != before
    assert all(len(value) == len(hashlib.sha256().hexdigest()) for value in before.values())


def test_real_pets(shared):
    folder = shared / "data"
    if not status("pets", folder).ready:
        pytest.skip("needs the Oxford-IIIT Pet data set")
    data = open_dataset("pets", data_dir=folder, input_shape=(3, 64, 64))
    assert not data.refused and len(data.class_names) >= 2
    area = data.test.masks.float().mean()
    assert 0.2 < area < 0.6
