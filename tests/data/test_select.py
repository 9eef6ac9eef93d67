from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import open_dataset, read_image, select_images
from convscope.data._select import parse_rows
from convscope.errors import DataError, ImageError, ResourceError, UsageError

DIGITS = SimpleNamespace(input_shape=(1, 28, 28), class_names=tuple("0123456789"))
INSECTS = SimpleNamespace(input_shape=(3, 16, 16), class_names=("ants", "bees", "cats"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("0,5,9", [0, 5, 9]),
        ("8,0-2,8", [8, 0, 1, 2, 8]),
        (" 1 , 3 - 4 ", [1, 3, 4]),
        ("9-9", [9]),
        (None, list(range(10))),
    ],
)
def test_rows(text, rows):
    assert parse_rows(text, 10, where="x") == rows


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1-", "3-1", "10", "0-10", "1,,2", "1;2", "1.5", "9" * 30, "\u0661"]
)
def test_rows_that_do_not_exist(text):
    with pytest.raises(UsageError) as caught:
        parse_rows(text, 10, where="digits:test")
    assert caught.value.exit_code == 2


def test_images_of_a_data_set_come_with_labels_and_names():
    data = open_dataset("digits")
    chosen = select_images("digits:test/3,0-1", like=DIGITS)
    assert chosen.names == ("digits:test/3", "digits:test/0", "digits:test/1")
    assert torch.equal(chosen.images, data.test.to_float([3, 0, 1]))
    assert chosen.labels.tolist() == data.test.labels[[3, 0, 1]].tolist()
    assert len(chosen) == 3


def test_a_whole_split():
    assert len(select_images("digits:validation", like=DIGITS)) == 179


def test_several_at_once_open_a_data_set_once(monkeypatch):
    import convscope.data._select as module

    opened = []
    original = module.open_dataset
    monkeypatch.setattr(
        module, "open_dataset", lambda *a, **k: opened.append(a) or original(*a, **k)
    )
    chosen = select_images(["digits:test/1", "digits:train/2"], like=DIGITS)
    assert chosen.names == ("digits:test/1", "digits:train/2")
    assert len(opened) == 1


@pytest.mark.parametrize("spec", ["digits:tset/1", "digits:test/999", "digits:test/x", []])
def test_specifications_without_meaning(spec):
    with pytest.raises(UsageError):
        select_images(spec, like=DIGITS)


def test_data_of_another_shape_are_refused(refused):
    error = refused("U10", DataError, select_images, "digits:test/0", like=INSECTS)
    assert "1x28x28" in str(error) and "3x16x16" in str(error)


def test_offline_is_passed_on(tmp_path, refused):
    refused("", ResourceError, select_images, "mnist:test/0", like=DIGITS, data_dir=tmp_path,
            offline=True)  # fmt: skip


def test_a_single_file(image_folder):
    path = image_folder / "ants" / "0.png"
    chosen = select_images(path, like=INSECTS)
    assert torch.equal(chosen.images[0], read_image(path, channels=3))
    assert chosen.labels is None
    assert chosen.names == (str(path),)


def test_files_are_brought_to_the_size_of_the_network(image_folder):
    network = SimpleNamespace(input_shape=(1, 9, 11), class_names=("x",))
    chosen = select_images(str(image_folder / "ants" / "0.png"), like=network)
    assert chosen.images.shape == (1, 1, 9, 11)
    assert chosen.notes[0].endswith("I17: color reduced to luma (ITU-R 601)")


def test_a_bad_single_file_is_an_error(tmp_path, refused):
    (tmp_path / "x.png").write_bytes(b"")
    refused("I01", ImageError, select_images, str(tmp_path / "x.png"), like=INSECTS)


def test_a_missing_file_reminds_of_data_sets(refused):
    error = refused("U02", DataError, select_images, "mnsit:test/7", like=DIGITS)
    assert "mnist:test/7" in str(error)


def test_class_folders_give_labels(image_folder):
    chosen = select_images(str(image_folder), like=INSECTS)
    assert len(chosen) == 18
    assert chosen.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6


def test_unknown_class_folders_give_none(image_folder):
    network = SimpleNamespace(input_shape=(3, 16, 16), class_names=("ants", "bees", "dogs"))
    assert select_images(str(image_folder), like=network).labels is None


def test_a_flat_folder_and_a_pattern(image_folder):
    flat = select_images(str(image_folder / "bees"), like=INSECTS)
    assert len(flat) == 6 and flat.labels is None
    some = select_images(str(image_folder / "*" / "[01].png"), like=INSECTS)
    assert [name.rsplit("/", 2)[-2:] for name in some.names[:2]] == [
        ["ants", "0.png"],
        ["ants", "1.png"],
    ]
    assert some.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_file_named_like_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "a[1].png"
    Image.new("RGB", (4, 4)).save(path)
    assert select_images(str(path), like=INSECTS).names == (str(path),)


def test_bad_files_in_a_folder_are_listed_and_the_others_used(image_folder):
    """I21, with fewer files."""
    for number in (0, 3, 5):
        (image_folder / "ants" / f"{number}.png").write_bytes(b"<html>")
    chosen = select_images(str(image_folder), like=INSECTS)
    assert len(chosen) == 15
    assert len(chosen.refused) == 3
    assert "ants/0.png: I07 not an image" in chosen.refused[0]
    assert chosen.labels.tolist() == [0] * 3 + [1] * 6 + [2] * 6


@pytest.mark.slow
def test_three_bad_among_ten_thousand(tmp_path):
    small = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    small.save(tmp_path / "00000.png")
    data = (tmp_path / "00000.png").read_bytes()
    for number in range(10_000):
        bad = number in (17, 4_000, 9_999)
        (tmp_path / f"{number:05d}.png").write_bytes(data[:30] if bad else data)
    chosen = select_images(
        str(tmp_path), like=SimpleNamespace(input_shape=(1, 4, 4), class_names=())
    )
    assert len(chosen) == 9_997
    assert len(chosen.refused) == 3


def test_a_folder_of_nothing_but_bad_files(tmp_path, refused):
    (tmp_path / "x.png").write_bytes(b"")
    refused("I21", ImageError, select_images, str(tmp_path), like=INSECTS)


def test_a_folder_without_images(tmp_path, refused):
    (tmp_path / "notes.txt").write_text("x")
    refused("U02", DataError, select_images, str(tmp_path), like=INSECTS)
    refused("U02", DataError, select_images, str(tmp_path / "*.png"), like=INSECTS)


def test_images_of_a_folder_data_set(image_folder):
    chosen = select_images(f"folder:{image_folder}:test/0-1", like=INSECTS)
    assert chosen.images.shape == (2, 3, 16, 16)
    assert chosen.names[0].endswith(":test/0")


def test_more_images_than_memory(image_folder, refused, monkeypatch):
    monkeypatch.setattr("convscope.data._file.free_memory", lambda: 1000)
    refused("", ResourceError, select_images, str(image_folder), like=INSECTS)


def test_data_set_and_file_together(tmp_path):
    Image.new("L", (28, 28), 51).save(tmp_path / "x.png")
    chosen = select_images(["digits:test/0", tmp_path / "x.png"], like=DIGITS)
    assert len(chosen) == 2
    assert chosen.labels is None
    assert chosen.images[1].unique().tolist() == pytest.approx([0.2])


def test_the_documented_shape(shared):
    chosen = select_images("mnist:test/7", like=DIGITS, data_dir=shared / "data", offline=True)
    assert chosen.labels.tolist() == [9]


@pytest.mark.parametrize(
    ("spec", "rows"),
    [("digits:test?class=7", None), ("digits:test?class=7/0-4", [0, 1, 2, 3, 4]),
     ("digits:test?class=seven/2", [2]), ("digits:all?class=7/0", [0])],
)  # fmt: skip
def test_images_of_a_class(spec, rows):
    split = open_dataset("digits").split(spec[7:].partition("?")[0])
    sevens = (split.labels == 7).nonzero()[:, 0].tolist()
    wanted = sevens if rows is None else [sevens[row] for row in rows]
    chosen = select_images(spec, like=DIGITS)
    assert set(chosen.labels.tolist()) == {7}
    assert torch.equal(chosen.images, split.to_float(wanted))
    name = spec.partition("?")[0]
    assert chosen.names == tuple(f"{name}/{row}" for row in wanted)


@pytest.mark.parametrize("spec", ["digits:test?class=x", "digits:test?class=10",
                                  "digits:test?class=7/99999", "digits:test?class="])  # fmt: skip
def test_classes_that_do_not_exist(spec):
    with pytest.raises((UsageError, DataError)):
        select_images(spec, like=DIGITS)


def test_a_folder_without_a_split_is_all_of_it(image_folder):
    whole = select_images(f"folder:{image_folder}", like=INSECTS)
    assert len(whole) == 18
    bees = select_images(f"folder:{image_folder}?class=bees", like=INSECTS)
    assert bees.labels.tolist() == [1] * 6


def test_labels_are_numbers_of_the_network(image_folder):
    network = SimpleNamespace(input_shape=(3, 16, 16), class_names=("x", "cats", "ants"))
    chosen = select_images(f"folder:{image_folder}:test", like=network)
    assert chosen.labels.tolist() == [2, 1]
    assert any("left out: 'bees'" in note for note in chosen.notes)
    unknown = select_images(f"folder:{image_folder}:all?class=bees", like=network)
    assert len(unknown) == 6 and unknown.labels is None


def test_class_folders_are_matched_by_name_too(image_folder):
    network = SimpleNamespace(input_shape=(3, 16, 16), class_names=("Cats", "bees, wasps", "ants"))
    assert select_images(str(image_folder), like=network).labels.tolist() == [
        *([2] * 6), *([1] * 6), *([0] * 6)
    ]  # fmt: skip
