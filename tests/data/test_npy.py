import numpy as np
import pytest
import torch

from convscope.data import StoredImages, open_dataset, select_images
from convscope.errors import DataError, UsageError


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def array(tmp_path):
    """Write an array and labels beside it; gives the specification."""

    def write(values, labels=None, name="digits.npy", beside="digits.labels.npy"):
        np.save(tmp_path / name, values)
        if labels is None:
            labels = np.arange(len(values)) % 3
        if beside:
            np.save(tmp_path / beside, labels)
        return f"npy:{tmp_path / name}"

    return write


@pytest.fixture(params=["memory", "disk"])
def place(request, monkeypatch):
    if request.param == "disk":
        monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    return request.param


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 5, 7), None),
        ((30, 5, 7, 1), (0, 3, 1, 2)),
        ((30, 5, 7, 3), (0, 3, 1, 2)),
        ((30, 1, 5, 7), (0, 1, 2, 3)),
        ((30, 3, 5, 7), (0, 1, 2, 3)),
        ((30, 3, 3), None),
        ((30, 1, 3), None),
    ],
)
def test_each_layout_gives_the_images(array, place, shape, axes):
    values = pixels(*shape)
    expected = torch.from_numpy(values[:, None] if axes is None else values.transpose(axes).copy())
    data = open_dataset(array(values))
    assert data.class_names == ("0", "1", "2") and data.cut == ("test", "validation")
    assert [len(split) for split in data.splits] == [21, 3, 6]
    seen = []
    for split in data.splits:
        assert isinstance(split.images, StoredImages) == (place == "disk")
        rows = [int(name[len("digits.npy[") : -1]) for name in split.names]
        assert rows == sorted(rows)
        assert torch.equal(split.pixels(), expected[rows])
        assert torch.equal(split.pixels([2, 0]), expected[[rows[2], rows[0]]])
        assert split.labels.tolist() == [row % 3 for row in rows]
        seen += rows
    assert sorted(seen) == list(range(30))


def test_in_memory_and_on_the_disk_is_the_same(array, monkeypatch):
    values = pixels(30, 6, 6)
    values[29] = values[2]
    spec = array(values)
    one = open_dataset(spec)
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    other = open_dataset(spec)
    assert one.hashes == other.hashes and one.warnings == other.warnings
    assert one.mean_std() == other.mean_std() and one.source == other.source
    assert torch.equal(one.split("all").pixels(), other.split("all").pixels())


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("a.npy", "a.labels.npy"),
        ("images.npy", "labels.npy"),
        ("train_images.npy", "train_labels.npy"),
        ("x_test.npy", "y_test.npy"),
        ("X.npy", "y.npy"),
    ],
)
def test_labels_lie_beside(array, name, beside):
    assert len(open_dataset(array(pixels(9, 4, 4), name=name, beside=beside)).split("all")) == 9


def test_no_labels_and_two_files_of_labels_are_refused(array, tmp_path, refused):
    spec = array(pixels(9, 4, 4), name="x_images.npy", beside="")
    assert "x_labels.npy" in str(refused("D21", DataError, open_dataset, spec))
    for name in ("x_labels.npy", "x_images.labels.npy"):
        np.save(tmp_path / name, np.zeros(9, np.int64))
    assert "2 files" in str(refused("D21", DataError, open_dataset, spec))


def test_names_of_classes(array, tmp_path, refused):
    spec = array(pixels(9, 4, 4))
    (tmp_path / "classes.txt").write_text("cat\ndog\nfox\nowl\n")
    assert open_dataset(spec).class_names == ("cat", "dog", "fox", "owl")
    (tmp_path / "digits.classes.txt").write_text("null\n\x1b[31meins\nzwei")
    assert open_dataset(spec).class_names[2] == "zwei"
    (tmp_path / "digits.classes.txt").write_text("null\neins\n")
    refused("D10", DataError, open_dataset, spec)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (pixels(9, 3, 5, 3), "D27"),
        (pixels(9, 1, 5, 1), "D27"),
        (pixels(9, 1, 5, 3), "D27"),
        (pixels(9, 4, 5, 2), "D27"),
        (pixels(9, 5), "D27"),
        (pixels(9, 2, 2, 3, 3), "D27"),
        (np.uint8(3), "D27"),
        (pixels(2, 5000, 1, 1)[..., 0], "D27"),
        (pixels(0, 4, 4), "D21"),
        (pixels(9, 0, 4), "D21"),
        (pixels(9, 4, 4).astype(np.float32) / 255, "D27"),
        (pixels(9, 4, 4).astype(np.int64), "D27"),
        (pixels(9, 4, 4) > 9, "D27"),
        (np.asfortranarray(pixels(9, 4, 4)), "D27"),
        (np.array([{"a": 1}], dtype=object), "D27"),
        (np.zeros(3, dtype=[("a", "u1")]), "D27"),
    ],
)
def test_other_arrays_are_refused(array, refused, values, code):
    spec = array(values, labels=np.zeros(9, np.int64))
    assert "digits.npy" in str(refused(code, DataError, open_dataset, spec))


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (np.zeros(8, np.int64), "D09"),
        (np.zeros((9, 1), np.int64), "D27"),
        (np.zeros(9), "D27"),
        (np.array([{}] * 9, dtype=object), "D27"),
        (np.array([0] * 8 + [-1]), "D10"),
        (np.array([0] * 8 + [2**62]), "D10"),
        (np.array([0] * 8 + [2**64 - 1], dtype=np.uint64), "D10"),
    ],
)
def test_other_labels_are_refused(array, refused, labels, code):
    refused(code, DataError, open_dataset, array(pixels(9, 4, 4), labels=labels))


def test_pickles_are_never_opened(tmp_path, refused):
    import pickle

    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('run')",)

    (tmp_path / "a.npy").write_bytes(pickle.dumps(Trap()))
    refused("D27", DataError, open_dataset, f"npy:{tmp_path / 'a.npy'}")
    np.save(tmp_path / "b.npy", pixels(9, 4, 4))
    np.save(tmp_path / "b.labels.npy", np.array([Trap()] * 9, dtype=object), allow_pickle=True)
    refused("D27", DataError, open_dataset, f"npy:{tmp_path / 'b.npy'}")


@pytest.mark.parametrize("change", ["shorter", "longer", "touched", "gone", "pipe"])
def test_a_file_that_changes_is_noticed(array, tmp_path, refused, monkeypatch, change):
    import os

    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    data = open_dataset(array(pixels(30, 4, 4)))
    file = tmp_path / "digits.npy"
    if change == "touched":
        os.utime(file, ns=(1, 1))
    elif change in ("gone", "pipe"):
        file.unlink()
        if change == "pipe":
            os.mkfifo(file)
    else:
        size = file.stat().st_size
        os.truncate(file, size - 9 if change == "shorter" else size + 9)
    refused("D24" if change not in ("gone", "pipe") else "U02" if change == "gone" else "I22",
            DataError, data.test.pixels)  # fmt: skip


def test_files_that_are_not_there(tmp_path, refused):
    refused("U02", DataError, open_dataset, f"npy:{tmp_path / 'none.npy'}")
    refused("U02", UsageError, open_dataset, "npy:")
    np.save(tmp_path / "a.npy", pixels(9, 4, 4))
    assert "npy:" in str(refused("U01", UsageError, open_dataset, str(tmp_path / "a.npy")))


def test_rows_are_selected(array):
    from types import SimpleNamespace

    like = SimpleNamespace(input_shape=(1, 4, 4), class_names=("0", "1", "2"))
    spec = array(pixels(30, 4, 4))
    chosen = select_images(f"{spec}:test/0-2", like=like)
    assert torch.equal(chosen.images, open_dataset(spec).test.to_float([0, 1, 2]))
    assert len(select_images(f"{spec}?class=1", like=like)) == 10
    assert len(select_images(spec, like=like)) == 30
