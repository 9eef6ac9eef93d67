"""Images read one after the other: the same images as at once, in the memory of a few."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import catalog, open_dataset, read_files, select_images, stream_images
from convscope.errors import ImageError, UsageError

GRAY = SimpleNamespace(input_shape=(1, 28, 28), class_names=tuple("0123456789"))


@pytest.fixture
def folder(tmp_path):
    """Forty photos of two classes, of several sizes."""
    draw = np.random.default_rng(0)
    for number in range(40):
        place = tmp_path / "set" / ("ant", "bee")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        levels = draw.integers(0, 256, (30 + number, 40)).astype(np.uint8)
        Image.fromarray(levels).save(place)
    return tmp_path / "set"


def whole(stream):
    pieces = list(stream.pieces)
    return torch.cat([piece.images for piece in pieces]), pieces


SPECS = ["{}", "{}/*/1*.png", "folder:{}", "folder:{}:test", "{}/ant/0.png",
         "folder:{}?class=bee/2-5", "digits:test/0-40"]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_a_stream_has_the_images_of_a_selection(folder, spec):
    spec = spec.format(folder)
    stream = stream_images([spec], like=GRAY)
    images, pieces = whole(stream)
    right = select_images(spec, like=GRAY)
    assert stream.count == len(right) and torch.equal(images, right.images)
    assert max(map(len, pieces)) <= 32
    assert len({name for piece in pieces for name in piece.names}) == len(right)


def test_what_cannot_be_read_is_refused_where_it_stands(folder):
    (folder / "ant" / "10.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for spec in (folder, f"folder:{folder}"):
        stream = stream_images([spec, folder / "bee" / "1.png"], like=GRAY)
        images, pieces = whole(stream)
        refused = [reason for piece in pieces for reason in piece.refused]
        assert stream.count == 41 and len(images) == 40
        assert len(refused) == 1 and "10.png: I05" in refused[0]


def test_files_are_read_a_few_ahead_of_whoever_takes_them(folder, monkeypatch):
    opened = []
    from convscope.data import _items

    read = _items.read_image_file
    monkeypatch.setattr(_items, "read_image_file", lambda path: opened.append(path) or read(path))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    paths = sorted(folder.rglob("*.png"))
    reading = read_files(paths, shape=(1, 28, 28), resize=None)
    next(reading)
    assert len(opened) <= 9
    reading.close()
    assert len(opened) <= 9


def test_pixels_that_nobody_wants_are_not_decoded(folder):
    paths = sorted((folder / "ant").iterdir())[:3]
    hashes = [read.sha256 for read in read_files(paths, shape=(1, 28, 28), resize=None)]
    again = list(read_files(paths, shape=(1, 28, 28), resize=None, wanted=lambda x: x == hashes[1]))
    assert [read.pixels is None for read in again] == [True, False, True]
    assert [read.sha256 for read in again] == hashes


def test_errors_of_files_are_given_not_raised(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    (found,) = read_files([tmp_path / "a.png"], shape=(1, 28, 28), resize=None)
    assert isinstance(found, ImageError)


def test_a_catalog_has_the_splits_of_the_data_set(folder):
    listed, opened = catalog(f"folder:{folder}"), open_dataset(f"folder:{folder}")
    assert catalog("digits") is None
    assert listed.class_names == opened.class_names
    for split in ("train", "validation", "test", "all"):
        items = listed.split(split)
        assert tuple(item.name for item in items) == opened.split(split).names
        assert [item.label for item in items] == opened.split(split).labels.tolist()


def test_nothing_is_no_stream():
    with pytest.raises(UsageError, match="no images"):
        stream_images([], like=GRAY)
