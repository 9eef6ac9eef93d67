"""The layouts in which people keep labeled images, each as somebody's folder has it."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from convscope.data import _layouts, open_dataset, open_folder
from convscope.data._layouts import class_in_name
from convscope.errors import DataError


def photo(path, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (level, len(path.name), 7)).save(path)
    return path


def found(data, split="all"):
    """Name of every image with the name of its class."""
    part = data.split(split)
    return {
        name: data.class_names[label]
        for name, label in zip(part.names, part.labels.tolist(), strict=True)
    }


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation", "eval", "train", "Test"])
def test_one_split_folder_alone_is_enough(tmp_path, name):
    for label in ("ant", "bee"):
        for number in range(2):
            photo(tmp_path / name / label / f"{number}.png")
    data = open_folder(tmp_path)
    assert found(data) == {f"{name}/{c}/{n}.png": c for c in ("ant", "bee") for n in range(2)}
    split = {"train": "train", "test": "test", "Test": "test", "eval": "test"}
    assert len(data.split(split.get(name, "validation"))) == 4


def test_one_photo_per_class_is_enough(tmp_path):
    for number, label in enumerate(("ant", "bee", "cat")):
        photo(tmp_path / label / "1.png", 50 * number)
    data = open_folder(tmp_path)
    assert found(data) == {"ant/1.png": "ant", "bee/1.png": "bee", "cat/1.png": "cat"}
    assert any("3 of 3 classes have too few images" in note for note in data.warnings)
    assert data.split_to_judge("hf:somebody's")[0] == "all"


def test_files_named_by_class(tmp_path):
    for name in ("bell_pepper_001", "bell_pepper_002", "bell pepper", "ant (2)", "cat.17", "mp3"):
        photo(tmp_path / f"{name}.jpg")
    data = open_folder(tmp_path)
    assert found(data) == {
        "bell_pepper_001.jpg": "bell_pepper",
        "bell_pepper_002.jpg": "bell_pepper",
        "bell pepper.jpg": "bell pepper",
        "ant (2).jpg": "ant",
        "cat.17.jpg": "cat",
        "mp3.jpg": "mp3",
    }
    assert any("read from the names of the files" in note for note in data.warnings)


def test_files_of_imagenet_are_named_by_wordnet_id(tmp_path):
    for name in ("n01440764_10026", "n01440764_10027", "n02012849_7"):
        photo(tmp_path / f"{name}.jpg")
    assert set(found(open_folder(tmp_path)).values()) == {"n01440764", "n02012849"}


def test_numbers_without_a_gap_count_if_several_files_agree(tmp_path):
    for name in ("cat1", "cat2", "boeing747"):
        photo(tmp_path / f"{name}.png")
    assert set(found(open_folder(tmp_path)).values()) == {"cat", "boeing747"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "file,label\na.png,ant\nb.png,bee\n"),
        ("any.csv", "label;filename\nant;a.png\nbee;b.png\n"),
        ("list.tsv", "a.png\tant\nb.png\tbee\n"),
        ("list.txt", "a.png ant\nb.png bee\n"),
        ("list.txt", "a.png, ant\nb.png, bee\n"),
        ("train.csv", "id,breed\na,ant\nb,bee\n"),
        ("truth.txt", "ant\nbee\n"),
        ("labels.csv", "\ufefffile,label\r\n./a.png,ant\r\nsomewhere\\b.png,bee\r\n"),
    ],
)
@pytest.mark.parametrize("below", ["", "images"])
def test_a_list_of_files_and_labels(tmp_path, name, text, below):
    photo(tmp_path / below / "a.png")
    photo(tmp_path / below / "b.png")
    (tmp_path / name).write_text(text, encoding="utf-8")
    place = f"{below}/" if below else ""
    wanted = {f"{place}a.png": "ant", f"{place}b.png": "bee"}
    assert found(open_folder(tmp_path)) == wanted
    assert found(open_dataset(f"folder:{tmp_path / name}")) == wanted


def test_a_list_may_say_the_splits(tmp_path):
    for number in range(4):
        photo(tmp_path / f"{number}.png")
    (tmp_path / "all.csv").write_text(
        "image,class,split\n0.png,a,train\n1.png,b,train\n2.png,a,val\n3.png,b,Test\n"
    )
    data = open_folder(tmp_path)
    assert found(data, "test") == {"3.png": "b"} and found(data, "validation") == {"2.png": "a"}
    assert data.cut == ()


def test_a_folder_around_everything_does_not_matter(tmp_path):
    for label in ("ant", "bee"):
        photo(tmp_path / "download" / "images" / label / "1.png")
    names = {f"download/images/{label}/1.png": label for label in ("ant", "bee")}
    assert found(open_folder(tmp_path)) == names
    photo(tmp_path / "other" / "x.png")
    assert set(found(open_folder(tmp_path / "other")).values()) == {"x"}


def test_a_list_may_name_files_in_deep_folders(tmp_path):
    photo(tmp_path / "photos" / "may" / "1st" / "a.png")
    photo(tmp_path / "photos" / "june" / "1st" / "a.png")
    (tmp_path / "labels.csv").write_text(
        "path,label\nphotos/may/1st/a.png,ant\nphotos/june/1st/a.png,bee\na.png,cat\n"
    )
    assert found(open_dataset(f"folder:{tmp_path / 'labels.csv'}")) == {
        "photos/may/1st/a.png": "ant",
        "photos/june/1st/a.png": "bee",
    }


def test_a_list_opens_no_path_of_its_own(tmp_path):
    photo(tmp_path / "secret" / "x.png")
    photo(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "l.csv").write_text("file,label\n../secret/x.png,ant\na.png,bee\n")
    data = open_folder(tmp_path / "set")
    assert found(data) == {"a.png": "bee"}
    assert any("1 of 2 listed images is not here" in note for note in data.warnings)


IMAGENET = {
    "val.txt": "ILSVRC2012_val_00000001.JPEG 0\nILSVRC2012_val_00000002.JPEG 134\n",
    "LOC_val_solution.csv": "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2 3 4 \n"
    "ILSVRC2012_val_00000002,n02012849 1 2 3 4 n02012849 5 6 7 8\n",
    "ILSVRC2012_validation_ground_truth.txt": "n01440764\nn02012849\n",
}


@pytest.mark.parametrize("name", IMAGENET)
def test_the_validation_folder_of_imagenet_with_its_list(tmp_path, name):
    for number in (1, 2):
        photo(tmp_path / "val" / f"ILSVRC2012_val_0000000{number}.JPEG".replace("JPEG", "jpeg"))
    (tmp_path / name).write_text(IMAGENET[name])
    (tmp_path / "train_labels.csv").write_text("file,label\nx.png,y\n")
    data = open_folder(tmp_path)
    classes = [label.split()[0] for label in found(data, "validation").values()]
    assert classes == ["n01440764", "n02012849"]
    assert data.split_to_judge("hf:x")[0] == "validation"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("truth.txt", "490\n361\n", "development kit"),
        ("val.txt", "ILSVRC2012_val_00000001.jpeg 490\nILSVRC2012_val_00000002.jpeg 361\n", "kit"),
        ("l.csv", "file,label\nILSVRC2012_val_00000001,a\nILSVRC2012_val_00000001,b\n", "and as"),
    ],
)
def test_numbers_that_may_mean_two_things_are_refused(tmp_path, refused, name, text, words):
    for number in (1, 2):
        photo(tmp_path / f"ILSVRC2012_val_0000000{number}.jpeg")
    (tmp_path / name).write_text(text)
    assert words in str(refused("D21", DataError, open_folder, tmp_path))


def test_numbers_get_the_names_of_a_list_beside(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("a.png 1\nb.png 0\n")
    (tmp_path / "classes.txt").write_text("bee\nant\n")
    data = open_folder(tmp_path)
    assert found(data) == {"a.png": "ant", "b.png": "bee"}
    assert any("lines of classes.txt, counted from 0" in note for note in data.warnings)


def test_two_lists_that_disagree_are_refused(tmp_path, refused):
    photo(tmp_path / "a.png")
    (tmp_path / "x.csv").write_text("file,label\na.png,ant\n")
    (tmp_path / "y.csv").write_text("file,label\na.png,bee\n")
    error = refused("D21", DataError, open_folder, tmp_path)
    assert "x.csv and y.csv" in str(error) and "--data folder:" in str(error)
    assert found(open_folder(tmp_path / "y.csv")) == {"a.png": "bee"}


@pytest.mark.parametrize(
    "text", ["\x00\x01,\x02\n", "a" * 200_000 + ",b\n", '"file,label\na', "\n"]
)
def test_a_damaged_list_is_refused_or_passed_over(tmp_path, text):
    photo(tmp_path / "ant.png")
    (tmp_path / "l.csv").write_text(text)
    try:
        assert found(open_folder(tmp_path)) == {"ant.png": "ant"}
    except DataError as error:
        assert error.code == "D21"


def test_a_readme_is_no_list(tmp_path):
    for name in ("ant", "bee"):
        photo(tmp_path / f"{name}.png")
    (tmp_path / "README.txt").write_text("Photos of mine\nthat I took in May\n")
    (tmp_path / "notes.csv").write_text("when,what\nMay,ants\n")
    assert found(open_folder(tmp_path)) == {"ant.png": "ant", "bee.png": "bee"}


def test_two_folders_of_one_split_are_refused(tmp_path, refused):
    for name in ("val", "valid"):
        photo(tmp_path / name / "ant" / "1.png")
    assert "both validation" in str(refused("D21", DataError, open_folder, tmp_path))


def test_folders_without_images_do_not_hide_split_folders(tmp_path):
    photo(tmp_path / "test" / "ant" / "1.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "x.xml").write_text("<x/>")
    assert found(open_folder(tmp_path), "test") == {"test/ant/1.png": "ant"}


def test_a_class_called_test_is_a_class(tmp_path):
    for label in ("test", "car"):
        for number in range(3):
            photo(tmp_path / label / f"{number}.png")
    assert open_folder(tmp_path).class_names == ("car", "test")


@pytest.mark.parametrize("stem", ["crane_bird", "suit", "n01440764", "2", "four-poster"])
def test_names_without_a_number_are_the_class(stem):
    assert class_in_name(stem) == stem


def test_all_images_are_one_block_of_memory(image_folder):
    data = open_folder(image_folder)
    everything = data.split("all")
    assert len(everything) == 18 and everything.images.data_ptr() == data.train.images.data_ptr()
    for split, first in ((data.train, 0), (data.validation, 12), (data.test, 15)):
        assert torch.equal(everything.images[first : first + len(split)], split.images)
        assert everything.names[first : first + len(split)] == split.names


TRAINED = "mnist-conv1 trained on folder:x (preset fast, seed 0)"


@pytest.mark.parametrize(
    ("folders", "source", "split"),
    [
        (("",), "hf:x", "all"),
        (("",), TRAINED, "test"),
        (("",), "trained with NumPy (convscope scratch train), seed 0, on folder:x", "test"),
        (("",), "mnist-conv1 trained on digits (preset fast, seed 0)", "all"),
        (("train", "val"), "hf:x", "validation"),
        (("train", "val"), TRAINED, "test"),
        (("train", "val", "test"), "hf:x", "test"),
        (("train", "test"), TRAINED, "test"),
        (("val",), "hf:x", "validation"),
        (("train",), "hf:x", "all"),
    ],
)
def test_what_is_judged_unless_somebody_says_otherwise(tmp_path, folders, source, split):
    for folder in folders:
        for label in ("ant", "bee"):
            for number in range(5):
                photo(tmp_path / folder / label / f"{number}.png")
    assert open_folder(tmp_path).split_to_judge(source)[0] == split


def test_nothing_is_said_of_a_training_that_nobody_knows(tmp_path):
    for label in ("ant", "bee"):
        for number in range(5):
            photo(tmp_path / label / f"{number}.png")
    data, known = open_folder(tmp_path), "mnist-conv1 trained on digits (preset fast, seed 0)"
    for source in ("", "hf:x", "mnist-conv1, weights (m/pretrained on x, sha256 0)"):
        note = data.split_to_judge(source)[1]
        assert "not trained" not in note
        assert "if the network was trained on some of them, --split test is the honest" in note
    assert "since the network was not trained on this folder" in data.split_to_judge(known)[1]
    whole = replace(data, test=data.test.subset(torch.zeros(0, dtype=torch.long)))
    assert whole.split_to_judge("hf:x")[1].endswith("some of them, the number is too good")


def test_an_empty_split_says_what_there_is(tmp_path, refused):
    photo(tmp_path / "test" / "ant" / "1.png")
    data = open_folder(tmp_path)
    error = refused("D11", DataError, data.split, "train")
    assert "test 1" in str(error) and "--split all" in str(error)
    refused("D11", DataError, data.check_trainable)


def test_numbers_from_one_are_counted_from_one(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("a.png 1\nb.png 2\n")
    (tmp_path / "classes.txt").write_text("bee\nant\n")
    data = open_folder(tmp_path)
    assert found(data) == {"a.png": "bee", "b.png": "ant"}
    assert any("lines of classes.txt, counted from 1" in note for note in data.warnings)


def test_numbers_of_ten_digits_are_names_not_lines(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text("a.png 0000000001\nb.png 0000000000\n")
    (tmp_path / "classes.txt").write_text("bee\nant\n")
    assert found(open_folder(tmp_path)) == {"a.png": "0000000001", "b.png": "0000000000"}


def test_as_many_images_as_are_allowed_are_taken(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(_layouts, "MOST_FILES", 3)
    for number in range(3):
        photo(tmp_path / "ant" / f"{number}.png")
    assert len(found(open_folder(tmp_path))) == 3
    photo(tmp_path / "ant" / "3.png")
    assert "more than 3 files" in str(refused("D21", DataError, open_folder, tmp_path))
