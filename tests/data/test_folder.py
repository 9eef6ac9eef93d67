import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import open_dataset, open_folder, read_image
from convscope.errors import DataError, ResourceError, UsageError
from convscope.progress import watch


def save(path, size=(16, 16), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, len(str(path)), *os.fsencode(path)[-9:]])
    pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def names(data):
    return {split.name: list(split.names) for split in data.splits}


def test_class_folders_are_cut_into_three_splits(image_folder):
    data = open_dataset(f"folder:{image_folder}")
    assert data.class_names == ("ants", "bees", "cats")
    assert [len(split) for split in data.splits] == [12, 3, 3]
    assert data.input_shape == (3, 16, 16)
    for split in data.splits:
        assert torch.bincount(split.labels).tolist() == [len(split) // 3] * 3
        for name, label in zip(split.names, split.labels.tolist(), strict=True):
            assert name.startswith(data.class_names[label])
    everything = [name for some in names(data).values() for name in some]
    assert len(set(everything)) == 18


def test_pixels_are_those_of_the_files(image_folder):
    data = open_folder(image_folder)
    for split in data.splits:
        for name, image in zip(split.names, split.to_float(), strict=True):
            assert torch.equal(image, read_image(image_folder / name, channels=3))


def test_the_cut_is_the_same_every_time_and_new_files_move_no_others(image_folder):
    before = names(open_folder(image_folder))
    assert names(open_folder(image_folder)) == before
    assert names(open_folder(image_folder, seed=1)) != before
    for number in range(20, 24):
        save(image_folder / "ants" / f"{number}.png")
    after = names(open_folder(image_folder))
    assert [name for name in after["test"] if name[5:] < "20" or name[:4] != "ants"]
    kept = set(before["test"]) & set(after["test"])
    assert {name for name in kept if not name.startswith("ants")} == {
        name for name in before["test"] if not name.startswith("ants")
    }


def test_own_split_folders_are_used_as_they_are(tmp_path):
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for label in ("a", "b"):
            for number in range(count):
                save(tmp_path / split / label / f"{number}.png")
    data = open_folder(tmp_path)
    assert [len(split) for split in data.splits] == [8, 4, 6]
    assert data.validation.names == ("val/a/0.png", "val/a/1.png", "val/b/0.png", "val/b/1.png")


@pytest.mark.parametrize(("present", "sizes"), [("val", [12, 4, 4]), ("test", [14, 2, 4])])
def test_a_missing_split_is_cut_from_train(tmp_path, present, sizes):
    for label in ("a", "b"):
        for number in range(8):
            save(tmp_path / "train" / label / f"{number}.png")
        for number in range(2):
            save(tmp_path / present / label / f"{number}.png")
    data = open_folder(tmp_path)
    assert [len(split) for split in data.splits] == sizes
    assert len(names(data)["validation" if present == "val" else "test"]) == 4


def test_numbers_are_classes_in_order_of_value(tmp_path):
    for label in ("10", "9", "0", "2"):
        for number in range(3):
            save(tmp_path / label / f"{number}.png")
    assert open_folder(tmp_path).class_names == ("0", "2", "9", "10")


@pytest.mark.parametrize(
    ("sizes", "mode", "shape"),
    [
        ([(40, 30)] * 6, "RGB", (3, 30, 40)),
        ([(40, 30)] * 6, "L", (1, 30, 40)),
        ([(400, 300)] * 6, "RGB", (3, 224, 224)),
        ([(300, 200)] * 6, "RGB", (3, 200, 200)),
        ([(100, 80)] * 3 + [(60, 120)] * 3, "RGB", (3, 70, 70)),
        ([(10, 10)] * 3 + [(9, 9)] * 3, "L", (1, 28, 28)),
    ],
)
def test_the_folder_decides_size_and_channels(tmp_path, sizes, mode, shape):
    for number, size in enumerate(sizes):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", size, mode)
    assert open_folder(tmp_path).input_shape == shape


def test_one_color_image_makes_all_rgb(tmp_path):
    for number in range(6):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", mode="L" if number else "RGB")
    assert open_folder(tmp_path).input_shape == (3, 16, 16)


def test_the_wanted_shape_wins(image_folder):
    assert open_folder(image_folder, input_shape=(1, 8, 10)).input_shape == (1, 8, 10)
    assert open_dataset(f"folder:{image_folder}@12").input_shape == (3, 12, 12)


def test_a_folder_named_like_a_size_wins(image_folder):
    other = image_folder.with_name("set@12")
    shutil.copytree(image_folder, other)
    assert open_dataset(f"folder:{other}").input_shape == (3, 16, 16)


@pytest.mark.parametrize("spec", ["folder:", "folder:somewhere@0", "folder:somewhere@99999"])
def test_specifications_without_meaning(spec):
    with pytest.raises(UsageError):
        open_dataset(spec)


def break_something(folder, what):
    if what == "nested":
        save(folder / "ants" / "more" / "1.png")
        return "ants/more/: a folder inside a class folder"
    if what == "unreadable":
        (folder / "bees" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        return "bees/2.png: I05 image file is cut off"
    if what == "not an image":
        (folder / "bees" / "2.png").write_bytes(b"<html>")
        return "bees/2.png: I07 not an image; it looks like an HTML page"
    if what == "damaged behind the header":
        data = bytearray((folder / "bees" / "2.png").read_bytes())
        data[60:90] = bytes(30)
        (folder / "bees" / "2.png").write_bytes(data)
        return "bees/2.png: I06 image is damaged"
    if what == "dead link":
        (folder / "cats" / "x.png").symlink_to(folder / "nowhere.png")
        return "cats/x.png: U02 no such file"
    if what == "pipe":
        os.mkfifo(folder / "cats" / "x.png")
        return "cats/x.png: I22 not a regular file"
    raise AssertionError(what)


TROUBLES = [
    *("nested", "unreadable", "not an image", "damaged behind the header", "dead link", "pipe"),
]


@pytest.mark.parametrize("what", TROUBLES)
def test_bad_folders_are_refused_or_skipped(image_folder, refused, what):
    words = break_something(image_folder, what)
    for shape in (None, (3, 16, 16)):
        error = refused("D21", DataError, open_folder, image_folder, input_shape=shape)
        assert words in str(error)
        assert "--skip-bad" in str(error)
        data = open_folder(image_folder, skip_bad=True, input_shape=shape)
        assert any(words in item for item in data.refused)
        assert data.class_names == ("ants", "bees", "cats")
        assert sum(map(len, data.splits)) >= 17


def test_the_first_five_troubles_are_listed(image_folder, refused):
    for number in range(6):
        (image_folder / "ants" / f"{number}.png").write_bytes(b"")
        (image_folder / "bees" / f"{number}.png").write_bytes(b"")
    error = refused("D21", DataError, open_folder, image_folder)
    assert "12 bad items" in str(error)
    assert "and 7 more" in str(error)
    data = open_folder(image_folder, skip_bad=True)
    assert len(data.split("all")) == 6 and len(data.refused) == 12


@pytest.mark.parametrize("content", ["", "notes.txt"])
def test_an_empty_class_is_said_and_left_out(image_folder, content):
    (image_folder / "dogs").mkdir()
    if content:
        (image_folder / "dogs" / content).write_text("x")
    data = open_folder(image_folder)
    assert data.class_names == ("ants", "bees", "cats") and not data.refused
    assert "dogs/: no images, left out" in data.warnings


def test_a_class_of_one_image_stays_in_the_training_images(image_folder):
    save(image_folder / "dogs" / "1.png")
    data = open_folder(image_folder)
    assert data.class_names == ("ants", "bees", "cats", "dogs")
    assert "dogs/1.png" in data.train.names and [len(s) for s in data.splits] == [13, 3, 3]
    assert any("1 of 4 classes have too few images" in note for note in data.warnings)


def test_one_class_can_be_judged_but_not_trained_on(tmp_path, refused):
    for number in range(9):
        save(tmp_path / "only" / f"{number}.png")
    data = open_folder(tmp_path)
    assert len(data.split("all")) == 9
    assert "one class" in str(refused("D11", DataError, data.check_trainable))


def test_no_images_at_all(tmp_path, refused):
    assert "no images" in str(refused("D21", DataError, open_folder, tmp_path))


def test_classes_that_a_split_lacks_are_said(tmp_path):
    for split in ("train", "val", "test"):
        for label in ("a", "b") if split != "test" else ("a", "c"):
            save(tmp_path / split / label / "1.png")
    data = open_folder(tmp_path)
    assert data.class_names == ("a", "b", "c")
    assert "1 of 3 classes have no test images: b" in data.warnings
    assert "1 of 3 classes have no train images: c" in data.warnings


def test_links_in_circles_are_passed_over(image_folder):
    (image_folder / "loop").symlink_to(image_folder)
    (image_folder / "again").symlink_to(image_folder / "ants")
    data = open_folder(image_folder)
    assert sum(map(len, data.splits)) == 18
    assert data.class_names == ("ants", "bees", "cats")
    assert sum("D22" in warning and "passed over" in warning for warning in data.warnings) == 2


def test_a_link_to_itself_is_a_stray_file(image_folder):
    (image_folder / "self").symlink_to(image_folder / "self")
    data = open_folder(image_folder)
    assert "1 files beside the class folders are not used" in data.warnings


def test_one_file_under_two_names_is_taken_once(image_folder):
    os.link(image_folder / "ants" / "0.png", image_folder / "ants" / "hard.png")
    (image_folder / "bees" / "soft.png").symlink_to(image_folder / "ants" / "1.png")
    data = open_folder(image_folder)
    assert sum(map(len, data.splits)) == 18
    assert sum(warning.startswith("D22") for warning in data.warnings) == 2


STRANGE = [
    *("new\nline", "right\u202eleft", "\U0001f600", "trailing ", "-dash", "con", "b" * 255),
    *("<script>alert(1)</script>", "$math$", "a&b", "\x1b[31mred"),
]


@pytest.mark.parametrize("name", [n for n in STRANGE if "/" not in n])
def test_strange_names_work(tmp_path, refused, name):
    for number in range(3):
        save(tmp_path / "plain" / f"{number}.png")
        save(tmp_path / name / f"{number}.png")
    data = open_folder(tmp_path)
    assert set(data.class_names) == {"plain", name}
    (tmp_path / name / "bad.png").write_bytes(b"")
    refused("D21", DataError, open_folder, tmp_path)


def test_names_that_are_no_text_are_escaped(tmp_path):
    for number in range(3):
        save(tmp_path / "plain" / f"{number}.png")
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9")  # noqa: PTH118 - bytes have no Path
    os.mkdir(raw)  # noqa: PTH102
    for number in range(3):
        shutil.copy(tmp_path / "plain" / "0.png", os.fsdecode(raw) + f"/{number}.png")
    data = open_folder(tmp_path)
    assert "caf\\udce9" in data.class_names
    "".join(data.class_names).encode("utf-8")


def test_hidden_files_are_passed_over(image_folder):
    (image_folder / ".cache").mkdir()
    (image_folder / "ants" / ".DS_Store").write_bytes(b"x")
    (image_folder / "ants" / "._0.png").write_bytes(b"x")
    assert open_folder(image_folder).warnings == ()


def test_other_files_are_counted(image_folder):
    (image_folder / "ants" / "notes.txt").write_text("x")
    (image_folder / "readme.md").write_text("x")
    warnings = open_folder(image_folder).warnings
    assert "ants/: 1 files are not images by name and are not used" in warnings
    assert "1 files beside the class folders are not used" in warnings


def test_notes_on_decoding_are_summed(tmp_path):
    for number in range(6):
        path = save(tmp_path / "ab"[number % 2] / f"{number}.png")
        path.rename(path.with_suffix(".jpg"))
    assert "I08: named .jpg but is PNG (6 images)" in open_folder(tmp_path).warnings


def test_the_hash_covers_names_and_contents(image_folder, tmp_path):
    first = open_folder(image_folder).hashes
    copy = tmp_path / "copy"
    shutil.copytree(image_folder, copy)
    assert open_folder(copy).hashes == first
    (copy / "ants" / "0.png").rename(copy / "ants" / "zero.png")
    assert open_folder(copy).hashes != first


def test_one_image_in_two_classes_is_an_overlap(image_folder):
    for source in ("ants", "bees"):
        for number in range(6):
            target = image_folder / "cats" / f"{source}{number}.png"
            shutil.copy(image_folder / source / f"{number}.png", target)
    assert any(warning.startswith("D25") for warning in open_folder(image_folder).warnings)


@pytest.mark.parametrize("name", ["data.npz", "data.npy"])
def test_numpy_files_are_not_opened(tmp_path, refused, name):
    """An object array is a pickle in disguise."""
    content = np.array([{"a": 1}], dtype=object)
    if name.endswith("z"):
        np.savez(tmp_path / name, content=content)
    else:
        np.save(tmp_path / name, content)
    refused("D19", DataError, open_dataset, f"folder:{tmp_path / name}")


def test_archives_and_missing_folders(tmp_path, refused):
    (tmp_path / "set.zip").write_bytes(b"PK\x03\x04" + bytes(30))
    assert "unpack it" in str(refused("U02", DataError, open_folder, tmp_path / "set.zip"))
    refused("U02", DataError, open_folder, tmp_path / "nowhere")


def test_progress_is_told(image_folder):
    seen = []
    with watch(lambda *step: seen.append(step)):
        open_folder(image_folder)
    assert seen[-1] == (1.0, "set")
    assert len(seen) == 18


def test_a_folder_that_may_not_be_listed(image_folder, refused, monkeypatch):
    original = os.scandir

    def scandir(path):
        if str(path) == str(image_folder):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr("convscope.data._layouts.os.scandir", scandir)
    refused("I23", ResourceError, open_folder, image_folder)


def test_real_photos_of_pets(shared, tmp_path):
    """Three breeds by their official lists: names ``Breed_number.jpg``."""
    images = sorted((shared / "data" / "oxford-iiit-pet" / "images").glob("*.jpg"))
    for image in images[::12]:
        breed = tmp_path / image.stem.rsplit("_", 1)[0]
        breed.mkdir(exist_ok=True)
        (breed / image.name).symlink_to(image)
    data = open_folder(tmp_path)
    assert data.input_shape == (3, 224, 224)
    assert len(data.class_names) == 3
    assert sum(map(len, data.splits)) == len(images[::12])
