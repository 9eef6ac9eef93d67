import gzip
import hashlib
import re
import time

import numpy as np
import pytest
import torch

from convscope.cli import main
from convscope.data import open_dataset
from convscope.data._mnist import CONTENT_SHA256, find_files
from convscope.errors import DataError, ResourceError


def open_small(folder, **settings):
    return open_dataset("mnist", data_dir=folder, offline=True, accept_modified=True, **settings)


@pytest.mark.parametrize("place", ["mnist", ".", "MNIST/raw", "mnist/MNIST/raw"])
@pytest.mark.parametrize("gz", [True, False], ids=["gz", "plain"])
def test_files_are_found_in_every_usual_place(tmp_path, make_mnist, place, gz):
    make_mnist(tmp_path / place, gz=gz)
    data = open_small(tmp_path)
    assert [len(split) for split in data.splits] == [20, 4, 10]
    assert data.input_shape == (1, 28, 28)


def test_a_folder_may_be_given_as_text(tmp_path, make_mnist):
    make_mnist(tmp_path / "mnist")
    assert len(open_small(str(tmp_path)).train) == len(open_small(tmp_path).train)


def test_dotted_names_are_found_too(tmp_path, make_mnist):
    make_mnist(tmp_path, gz=False)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(open_small(tmp_path).test) == 10


def test_the_environment_names_the_data_folder(tmp_path, make_mnist, monkeypatch):
    make_mnist(tmp_path / "mnist")
    monkeypatch.setenv("CONVSCOPE_DATA", str(tmp_path))
    assert len(open_small(None).test) == 10


def test_validation_is_the_end_of_the_training_file(tmp_path, make_mnist):
    make_mnist(tmp_path, gz=False)
    images = np.frombuffer((tmp_path / "train-images-idx3-ubyte").read_bytes()[16:], np.uint8)
    data = open_small(tmp_path)
    both = torch.cat([data.train.images, data.validation.images])
    assert torch.equal(both, torch.from_numpy(images.reshape(24, 1, 28, 28).copy()))
    assert data.train.labels.tolist() == [n % 10 for n in range(20)]
    assert data.validation.labels.tolist() == [n % 10 for n in range(20, 24)]


def test_hashes_do_not_depend_on_compression(tmp_path, make_mnist):
    make_mnist(tmp_path / "a", gz=True)
    make_mnist(tmp_path / "b", gz=False)
    hashes = open_small(tmp_path / "a").hashes
    assert hashes == open_small(tmp_path / "b").hashes
    plain = (tmp_path / "b" / "t10k-labels-idx1-ubyte").read_bytes()
    assert hashes["t10k-labels-idx1-ubyte"] == hashlib.sha256(plain).hexdigest()


def test_modified_files_are_refused_unless_accepted(tmp_path, make_mnist, refused):
    make_mnist(tmp_path)
    error = refused("D24", DataError, open_dataset, "mnist", data_dir=tmp_path)
    actual = open_small(tmp_path).hashes["train-images-idx3-ubyte"]
    assert actual in str(error)
    assert CONTENT_SHA256["train-images-idx3-ubyte"] in str(error)
    assert "--accept-modified-data" in str(error)


@pytest.mark.parametrize(
    "words",
    [
        "eval MODEL",
        "attack evaluate MODEL",
        "attack certify MODEL --std 0.5",
        "attack transfer MODEL mnist-conv2 --epsilon 0.2",
        "inspect MODEL --trust",
        "audit MODEL",
        "train MODEL",
        "scratch train MODEL",
        "data verify",
    ],
)
def test_no_command_goes_on_with_modified_files_unasked(tmp_path, make_mnist, capsys, words):
    make_mnist(tmp_path / "data")
    typed = words.replace("MODEL", "mnist-conv1").split()
    place = ["--data-dir", str(tmp_path / "data"), "--offline"]
    data = ["mnist"] if words == "data verify" else ["--data", "mnist"]
    out = ["--out", str(tmp_path / "out")] if words.startswith(("audit", "train")) else []
    if words == "data verify":
        place.remove("--offline")
    assert main([*typed, *data, *place, *out]) == DataError.exit_code
    assert "--accept-modified-data" in "".join(capsys.readouterr())


def test_accepted_modified_files_are_named_in_the_warnings(tmp_path, make_mnist):
    make_mnist(tmp_path)
    data = open_small(tmp_path)
    notes = [warning for warning in data.warnings if warning.startswith("D24")]
    assert len(notes) == 4
    assert data.hashes["train-images-idx3-ubyte"] in notes[0]
    assert "modified" in data.source


@pytest.mark.parametrize(
    ("code", "broken", "words"),
    [
        ("D09", {"train_labels": np.zeros(23)}, "24 images, 23 labels"),
        ("D09", {"t10k_images": np.zeros((10, 27, 28))}, r"\(27, 28\)"),
        ("D10", {"train_labels": np.where(np.arange(24) == 7, 255, 1)}, "label 255 at index 7"),
        ("D10", {"t10k_labels": np.full(10, 10)}, "label 10 at index 0, expected 0..9"),
        ("D11", {"t10k_labels": np.zeros(0)}, "empty split"),
    ],
)
def test_contents_that_make_no_sense_are_refused(
    tmp_path, make_mnist, make_idx, refused, code, broken, words
):
    make_mnist(tmp_path, **{name: make_idx(values) for name, values in broken.items()})
    error = refused(code, DataError, open_small, tmp_path)
    assert re.search(words, str(error))


def test_structure_is_judged_before_the_checksum(tmp_path, make_mnist, refused):
    make_mnist(tmp_path, t10k_images=b"\0\0\x08\x03")
    refused("D02", DataError, open_dataset, "mnist", data_dir=tmp_path)


def test_one_class_only_is_a_warning(tmp_path, make_mnist, make_idx):
    make_mnist(tmp_path, t10k_labels=make_idx(np.full(10, 3)))
    assert "D11: all 10 labels of the test split are class 3" in open_small(tmp_path).warnings


def test_images_in_two_splits_are_counted(tmp_path, make_mnist, make_idx):
    make_mnist(tmp_path, gz=False)
    train = (tmp_path / "train-images-idx3-ubyte").read_bytes()[16:]
    shared = np.frombuffer(train, np.uint8).reshape(24, 28, 28)[[0, 1, 2, 21, 22]]
    new = np.random.default_rng(9).integers(0, 256, (5, 28, 28))
    make_mnist(tmp_path, gz=False, t10k_images=make_idx(np.concatenate([shared, new])))
    overlap = [warning for warning in open_small(tmp_path).warnings if warning.startswith("D25")]
    assert overlap == [
        "D25: 3 of 10 test images are also in the training split, pixel for pixel: scores on them "
        "are too good",
        "D25: 2 of 10 test images are also in the validation split",
    ]


def test_offline_says_what_to_do(tmp_path, refused, make_mnist):
    make_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    error = refused("", ResourceError, open_dataset, "mnist", data_dir=tmp_path, offline=True)
    assert error.exit_code == 6
    assert "t10k-labels-idx1-ubyte" in str(error)
    assert "convscope data import" in str(error)
    assert "--data-dir DIRECTORY" in error.hint
    assert "or digits in its place" in str(error)


def test_a_data_folder_that_is_a_file_is_refused(tmp_path, refused):
    (tmp_path / "file").write_text("")
    refused("U02", DataError, open_dataset, "mnist", data_dir=tmp_path / "file")


def test_a_gz_copy_next_to_nothing_else_is_enough(tmp_path, make_mnist):
    make_mnist(tmp_path)
    for path in list(tmp_path.glob("*.gz"))[:2]:
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert all(find_files(tmp_path).values())
    assert len(open_small(tmp_path).test) == 10


def test_the_real_files(shared):
    start = time.process_time()
    data = open_dataset("mnist", data_dir=shared / "data", offline=True)
    seconds = time.process_time() - start
    assert [len(split) for split in data.splits] == [50_000, 10_000, 10_000]
    assert data.warnings == ()
    assert data.hashes == CONTENT_SHA256
    assert data.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert data.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    mean, std = data.mean_std()
    pixels = data.train.images.double() / 255
    assert mean == pytest.approx([pixels.mean().item()], rel=1e-12)
    assert std == pytest.approx([pixels.std(correction=0).item()], rel=1e-9)
    assert seconds < 4  # CPU seconds: 0.45 measured
