"""Folders that Hugging Face's datasets saved; the tables here are written with pyarrow alone."""

import importlib.util
import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import ADDRESSES, StoredImages, open_dataset
from convscope.errors import DataError, UsageError

with_library = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow"
)


def picture(seed):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


FEATURES = {
    "image": {"_type": "Image"},
    "label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]},
}


def write(folder, rows, features=FEATURES, per_batch=4, name="data-00000-of-00001.arrow", **kinds):
    """What save_to_disk writes: a description, a state, and tables in the form of a stream."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    image = pa.struct([("bytes", kinds.get("bytes", pa.binary())), ("path", pa.string())])
    label = kinds.get("label", pa.int64())
    schema = pa.schema([("image", kinds.get("image", image)), ("label", label)])
    with pa.OSFile(str(folder / name), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression=kinds.get("compression"))
        with pa.ipc.new_stream(sink, schema, options=options) as out:
            for first in range(0, len(rows), per_batch):
                columns = list(zip(*rows[first : first + per_batch], strict=True))
                arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
                out.write_batch(pa.record_batch(arrays, schema=schema))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    return folder


def rows(count, first=0):
    return [({"bytes": picture(k), "path": f"{k}.png"}, k % 3) for k in range(first, first + count)]


@with_library
def test_a_saved_data_set_is_read_row_by_row(tmp_path, monkeypatch):
    write(tmp_path / "set", rows(30))
    spec = f"hfdata:{tmp_path / 'set'}"
    data = open_dataset(spec)
    assert data.class_names == ("ant", "bee", "cat")
    assert [len(split) for split in data.splits] == [21, 3, 6]
    for split in data.splits:
        for name, label, pixels in zip(split.names, split.labels, split.pixels(), strict=True):
            row = int(name.rpartition("[")[2][:-1])
            image = np.array(Image.open(io.BytesIO(picture(row)))).transpose(2, 0, 1)
            assert np.array_equal(pixels, image) and label == row % 3
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    for workers in ("0", "2"):
        monkeypatch.setenv("CONVSCOPE_WORKERS", workers)
        stored = open_dataset(spec)
        assert isinstance(stored.test.images, StoredImages) and stored.hashes == data.hashes
        assert torch.equal(stored.split("all").pixels(), data.split("all").pixels())


@with_library
def test_own_splits_and_large_columns(tmp_path):
    import pyarrow as pa

    for k, name in enumerate(("train", "validation", "test", "extra")):
        write(tmp_path / name, rows(6, 6 * k), bytes=pa.large_binary())
    splits = ["train", "validation", "test", "extra"]
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    data = open_dataset(f"hfdata:{tmp_path}")
    assert [len(split) for split in data.splits] == [6, 6, 6] and data.cut == ()
    assert any("extra" in note for note in data.warnings)


@with_library
def test_labels_without_names(tmp_path):
    import pyarrow as pa

    features = {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "string"}}
    named = [(image, "xyz"[label]) for image, label in rows(9)]
    write(tmp_path, named, features, label=pa.string())
    assert open_dataset(f"hfdata:{tmp_path}").class_names == ("x", "y", "z")


@with_library
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (({"bytes": None, "path": "/etc/passwd"}, 1), "only a path"),
        ((None, 1), "only a path"),
        (({"bytes": b"", "path": "a"}, 1), "only a path"),
        (({"bytes": picture(1), "path": "a"}, -1), "label -1"),
        (({"bytes": picture(1), "path": "a"}, 3), "label 3"),
        (({"bytes": picture(1), "path": "a"}, None), "label None"),
        (({"bytes": b"<html>", "path": "a"}, 1), "I07"),
    ],
)
def test_rows_that_cannot_be_used_are_problems(tmp_path, refused, row, words):
    write(tmp_path, [*rows(9), row, *rows(9, 9)])
    assert words in str(refused("D21", DataError, open_dataset, f"hfdata:{tmp_path}"))
    data = open_dataset(f"hfdata:{tmp_path}", skip_bad=True)
    assert len(data.split("all")) == 18 and words in data.refused[0]


@with_library
def test_columns_that_are_not_certain(tmp_path, refused):
    for features in (
        {"label": FEATURES["label"]},
        {"image": FEATURES["image"]},
        {**FEATURES, "other": FEATURES["image"]},
        {**FEATURES, "other": FEATURES["label"]},
    ):
        write(tmp_path, rows(6), features)
        refused("D21", DataError, open_dataset, f"hfdata:{tmp_path}")


@with_library
def test_tables_of_another_form(tmp_path, refused):
    import pyarrow as pa

    write(tmp_path, rows(6), compression="lz4")
    refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")
    write(tmp_path, [(b"x", 1)] * 6, image=pa.binary())
    refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")
    write(tmp_path, rows(6), bytes=pa.string(), image=pa.struct([("path", pa.string())]))
    refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")
    table = tmp_path / "data-00000-of-00001.arrow"
    for data in (b"", b"x" * 900, b"ARROW1\0\0"):
        table.write_bytes(data)
        with pytest.raises(DataError) as caught:
            open_dataset(f"hfdata:{tmp_path}")
        assert caught.value.code in ("D27", "D21")


@with_library
def test_damaged_tables_are_refused(tmp_path):
    """What a table says of offsets becomes places in a file: it is checked first."""
    write(tmp_path, [({"bytes": b"x" * 9, "path": "p"}, 1)] * 8)
    table = tmp_path / "data-00000-of-00001.arrow"
    good = table.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), 3):
            bad[place] ^= 1 << int(rng.integers(8))
        table.write_bytes(bad[: int(rng.integers(1, len(bad)))] if rng.random() < 0.3 else bad)
        with pytest.raises(DataError):
            open_dataset(f"hfdata:{tmp_path}")


@with_library
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("state.json", "["),
        ("state.json", "[]"),
        ("state.json", "{}"),
        ("state.json", '{"_data_files": [{"filename": "../a.arrow"}]}'),
        ("state.json", '{"_data_files": [{"filename": "/etc/passwd"}]}'),
        ("state.json", '{"_data_files": [3]}'),
        ("dataset_info.json", "{}"),
        ("dataset_info.json", "[" * 5000),
        ("dataset_info.json", '{"features": {"image": {"_type": "Image"}, '
         '"label": {"_type": "ClassLabel", "names": ["a", "a"]}}}'),
        ("dataset_info.json", '{"features": {"image": {"_type": "Image"}, '
         '"label": {"_type": "ClassLabel", "names": []}}}'),
    ],
)  # fmt: skip
def test_damaged_descriptions_are_refused(tmp_path, refused, file, text):
    write(tmp_path, rows(6))
    (tmp_path / file).write_text(text)
    refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")


@with_library
def test_other_folders(tmp_path, refused):
    refused("U02", DataError, open_dataset, f"hfdata:{tmp_path / 'none'}")
    refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")
    for splits in ("[]", '["../a"]', "3", "[3]"):
        (tmp_path / "dataset_dict.json").write_text(f'{{"splits": {splits}}}')
        refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs datasets")
def test_what_the_library_saves(tmp_path):
    import datasets

    pictures = [Image.open(io.BytesIO(picture(k))) for k in range(12)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    table = {"image": pictures, "label": [k % 3 for k in range(12)]}
    saved = datasets.Dataset.from_dict(table, features=features)
    saved.select([5, 3, 1, 0, 2, 4]).save_to_disk(tmp_path / "some")
    parts = datasets.DatasetDict(train=saved, test=saved.select(range(6)))
    parts.save_to_disk(tmp_path / "both", num_shards={"train": 2, "test": 1})
    data = open_dataset(f"hfdata:{tmp_path / 'both'}")
    assert [len(split) for split in data.splits] == [9, 3, 6]
    image = np.array(pictures[4]).transpose(2, 0, 1)
    assert np.array_equal(data.test.pixels([4])[0], image)
    some = open_dataset(f"hfdata:{tmp_path / 'some'}").split("all")
    assert sorted(some.labels.tolist()) == [0, 0, 1, 1, 2, 2]


def test_without_the_library(tmp_path, refused, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    error = refused("M22", UsageError, open_dataset, f"hfdata:{tmp_path}")
    assert "not installed" in str(error) and ADDRESSES.spec("hfdata").install in str(error)


SAVED = {
    "as it is": lambda data: data,
    "filtered": lambda data: data.filter(lambda label: label != 1, input_columns="label"),
    "shuffled": lambda data: data.shuffle(seed=1),
    "with a format": lambda data: data.with_format("numpy"),
    "with another column": lambda data: data.add_column("index", list(range(len(data)))),
    "under other names": lambda data: data.rename_columns({"image": "img", "label": "fine_label"}),
}


def as_saved(folder, count=12):
    """The same rows by the library itself."""
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets")
    from datasets import ClassLabel, Features
    from datasets import Image as ImageFeature

    datasets.disable_progress_bars()
    kinds = Features({"image": ImageFeature(), "label": ClassLabel(names=["ant", "bee", "cat"])})
    images = [Image.open(io.BytesIO(picture(k))) for k in range(count)]
    return datasets.Dataset.from_dict(
        {"image": images, "label": [k % 3 for k in range(count)]}, features=kinds
    )


def pairs(images, labels):
    return sorted((np.asarray(x).tobytes(), int(y)) for x, y in zip(images, labels, strict=True))


@with_library
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", SAVED)
def test_what_the_library_itself_saves_is_read(way, tmp_path):
    from_library = SAVED[way](as_saved(tmp_path))
    from_library.save_to_disk(tmp_path / "set", num_shards=2)
    split = open_dataset(f"hfdata:{tmp_path / 'set'}").split("all")
    plain = from_library.with_format(None)
    image = next(name for name in plain.column_names if name in ("image", "img"))
    label = next(name for name in plain.column_names if "label" in name)
    theirs = [np.array(row).transpose(2, 0, 1) for row in plain[image]]
    assert pairs(split.pixels(), split.labels) == pairs(theirs, plain[label])


@with_library
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_splits_of_the_library_and_parquet_by_way_of_it(tmp_path):
    from_library = as_saved(tmp_path)
    import datasets

    both = datasets.DatasetDict({"train": from_library, "test": from_library.select(range(6))})
    both.save_to_disk(tmp_path / "dict")
    found = open_dataset(f"hfdata:{tmp_path / 'dict'}")
    assert len(found.test) == 6 and found.class_names == ("ant", "bee", "cat")
    (tmp_path / "files").mkdir()
    from_library.to_parquet(tmp_path / "files" / "train.parquet")
    files = str(tmp_path / "files" / "train.parquet")
    again = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    again.save_to_disk(tmp_path / "again")
    split = open_dataset(f"hfdata:{tmp_path / 'again'}").split("all")
    mine = open_dataset(f"hfdata:{tmp_path / 'dict'}").train
    assert len(split) == 12 and set(pairs(mine.pixels(), mine.labels)) <= set(
        pairs(split.pixels(), split.labels)
    )


def test_parquet_is_refused_with_the_way_out(tmp_path, refused):
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1")
    error = refused("D27", DataError, open_dataset, f"hfdata:{tmp_path}")
    assert "save_to_disk" in str(error) and "parquet" in str(error)
