import pickle
import tarfile
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data import open_dataset
from convscope.data._cifar10 import CLASS_NAMES, read_binary, read_python
from convscope.errors import DataError, ResourceError


def open_small(folder, **settings):
    return open_dataset("cifar10", data_dir=folder, offline=True, **settings)


def pack(folder, target, *, compression="gz"):
    with tarfile.open(target, f"w:{compression}") as tar:
        tar.add(folder, folder.name)
    return target


@pytest.mark.parametrize("suffix", [".bin", ""], ids=["binary", "python"])
@pytest.mark.parametrize("root", ["cifar10", "."])
@pytest.mark.parametrize("inner", [True, False], ids=["own-folder", "flat"])
def test_batches_are_found_in_every_usual_place(tmp_path, make_cifar, suffix, root, inner):
    name = "cifar-10-batches-bin" if suffix else "cifar-10-batches-py"
    make_cifar(tmp_path / root / (name if inner else "."), suffix=suffix)
    data = open_small(tmp_path)
    assert [len(split) for split in data.splits] == [48, 12, 12]
    assert data.input_shape == (3, 32, 32)
    assert data.class_names == CLASS_NAMES


def test_all_four_layouts_hold_the_same_images(tmp_path, make_cifar, make_records):
    binary = make_cifar(tmp_path / "a" / "cifar-10-batches-bin")
    python = make_cifar(tmp_path / "b" / "cifar-10-batches-py", suffix="")
    (tmp_path / "c").mkdir()
    (tmp_path / "d").mkdir()
    pack(binary, tmp_path / "c" / "cifar-10-binary.tar.gz")
    pack(python, tmp_path / "d" / "cifar-10-python.tar.gz")
    opened = [open_small(tmp_path / one, accept_modified=True) for one in "abcd"]
    for data in opened:
        for split, first in zip(data.splits, opened[0].splits, strict=True):
            assert torch.equal(split.images, first.images)
            assert torch.equal(split.labels, first.labels)
    expected = make_records(12, 5)
    assert torch.equal(
        opened[0].test.images, torch.from_numpy(expected[:, 1:].reshape(12, 3, 32, 32))
    )


def test_loose_batches_with_another_checksum_are_noted(tmp_path, make_cifar):
    make_cifar(tmp_path)
    data = open_small(tmp_path)
    assert "6 of 6 batch files do not have the official checksum" in data.warnings[0]
    assert "not the official files" in data.source
    assert len(data.hashes) == 6


def test_an_archive_with_another_checksum_is_refused(tmp_path, make_cifar, refused):
    pack(make_cifar(tmp_path / "x"), tmp_path / "cifar-10-binary.tar.gz")
    error = refused("D24", DataError, open_small, tmp_path)
    assert "c4a38c50a1bc5f3a" in str(error)
    data = open_small(tmp_path, accept_modified=True)
    assert data.warnings[0] == "D24: cifar-10-binary.tar.gz is not the official archive"


def test_an_archive_without_a_batch_is_refused(tmp_path, make_cifar, refused):
    folder = make_cifar(tmp_path / "x")
    (folder / "data_batch_5.bin").unlink()
    pack(folder, tmp_path / "cifar-10-binary.tar.gz")
    error = refused("D13", DataError, open_small, tmp_path, accept_modified=True)
    assert "data_batch_5.bin" in str(error)


def test_a_missing_batch_is_named(tmp_path, make_cifar, refused):
    make_cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    assert "data_batch_3.bin" in str(refused("U02", DataError, open_small, tmp_path))


def test_offline_says_what_to_do(tmp_path, refused):
    error = refused("", ResourceError, open_small, tmp_path)
    assert "convscope data download cifar10" in str(error)


def records(count, make_records, **replaced):
    table = make_records(count)
    for index, label in replaced.get("labels", {}).items():
        table[index, 0] = label
    return table.tobytes()


@pytest.mark.parametrize(
    ("code", "edit", "words"),
    [
        ("D01", lambda data: b"", "empty"),
        ("D14", lambda data: data[:-1], "record 9 is cut: it has 3,072 of 3,073"),
        ("D14", lambda data: data + b"\0", "record 10 is cut: it has 1 of"),
        ("D14", lambda data: data[:100], "record 0 is cut"),
        ("D16", lambda data: bytes(3074 * 7), "looks like CIFAR-100"),
        ("D10", lambda data: data[: 3073 * 4] + b"\x0a" + data[3073 * 4 + 1 :], "label 10 at ind"),
    ],
)
def test_bad_binary_batches_are_refused(make_records, refused, code, edit, words):
    data = edit(make_records(10).tobytes())
    assert words in str(refused(code, DataError, read_binary, data, where="data_batch_1.bin"))


def batch(count=4, **replaced):
    content = {
        b"data": np.zeros((count, 3072), np.uint8),
        b"labels": [n % 10 for n in range(count)],
    }
    content.update({name.encode(): value for name, value in replaced.items()})
    return pickle.dumps({k: v for k, v in content.items() if v is not None}, protocol=2)


@pytest.mark.parametrize(
    ("code", "data", "words"),
    [
        ("D01", b"", "empty"),
        ("D16", batch(fine_labels=[0] * 4), "looks like CIFAR-100"),
        ("D14", batch(data=None), "holds no array"),
        ("D14", batch(data=np.zeros((4, 3073), np.uint8)), "holds no array"),
        ("D14", batch(data=b"abc"), "holds no array"),
        ("D09", batch(labels=[0] * 3), "4 images, 3 labels"),
        ("D09", batch(labels=None), "4 images, 0 labels"),
        ("D10", batch(labels=[0, 1, 10, 3]), "label 10 at index 2"),
        ("D10", batch(labels=[0, -1, 2, 3]), "label -1 at index 1"),
        ("D10", batch(labels=[0, 1, b"cat", 3]), "label bytes at index 2"),
        ("D10", batch(labels=[0, 1, True, 3]), "label True at index 2"),
        ("D11", batch(0), "no images"),
    ],
)
def test_bad_python_batches_are_refused(refused, code, data, words):
    assert words in str(refused(code, DataError, read_python, data, where="data_batch_1"))


@pytest.mark.slow
def test_the_real_pixels(shared, tmp_path):
    import subprocess
    import sys

    subprocess.run([sys.executable, shared / "data" / "unpack-cifar10", tmp_path], check=True)
    start = time.process_time()
    data = open_small(tmp_path)
    assert time.process_time() - start < 10
    assert [len(split) for split in data.splits] == [40_000, 10_000, 10_000]
    counts = sum(torch.bincount(split.labels) for split in data.splits[:2])
    assert counts.tolist() == [5000] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    both = torch.cat([data.train.images, data.validation.images])
    means = [both[:, channel].double().mean().item() / 255 for channel in range(3)]
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert not [warning for warning in data.warnings if warning.startswith("D25")]


def test_archives_are_read_without_writing(tmp_path, make_cifar, monkeypatch):
    pack(make_cifar(tmp_path / "x"), tmp_path / "cifar-10-binary.tar.gz")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    open_small(tmp_path / ".", accept_modified=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_record_is_a_label_and_three_planes(make_records):
    table = make_records(3)
    images, labels = read_binary(table.tobytes(), where="x")
    assert np.array_equal(images.reshape(3, -1), table[:, 1:])
    assert labels.tolist() == [0, 1, 2]


def slow_records(data):
    """An independent reader: byte by byte, None for whatever is not exactly right."""
    if not data or len(data) % 3073:
        return None
    records = []
    for start in range(0, len(data), 3073):
        if data[start] > 9:
            return None
        records.append((data[start], list(data[start + 1 : start + 3073])))
    return records


@given(
    st.integers(0, 3),
    st.integers(-2, 2),
    st.lists(st.tuples(st.integers(0, 9219), st.integers(0, 255))),
)
@settings(max_examples=200, deadline=None)
def test_any_records_are_read_as_the_slow_reader_does(count, extra, changes):
    table = bytearray(np.zeros((count, 3073), np.uint8).tobytes())
    for place, value in changes:
        if place < len(table):
            table[place] = value
    data = bytes(table[: len(table) + extra] if extra < 0 else table + bytes(extra))
    expected = slow_records(data)
    try:
        images, labels = read_binary(data, where="x")
    except DataError as error:
        assert expected is None
        assert error.code in {"D01", "D10", "D14", "D16"}
    else:
        assert expected == list(
            zip(labels.tolist(), images.reshape(len(labels), -1).tolist(), strict=True)
        )


@given(st.integers(1, 4), st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_honest_pickles_are_read_as_pickle_reads_them(count, protocol, random):
    pixels = np.frombuffer(random.randbytes(3072 * count), np.uint8).reshape(count, 3072)
    content = {
        b"data": pixels.copy(),
        b"labels": [random.randrange(10) for _ in range(count)],
        b"filenames": [b"image%d.png" % number for number in range(count)],
        b"batch_label": b"one",
    }
    data = pickle.dumps(content, protocol=protocol)
    images, labels = read_python(data, where="data_batch_1")
    trusted = pickle.loads(data, encoding="bytes")
    assert np.array_equal(images.reshape(count, 3072), trusted[b"data"])
    assert labels.tolist() == trusted[b"labels"]
