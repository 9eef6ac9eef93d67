"""Predicting from the command line: any number of images, none lost because of another."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import results
from convscope.classifier import Classifier, Predictions
from convscope.cli import main
from convscope.errors import UsageError
from convscope.pages import joined_predictions

HOSTILE = "a\x1b[31m\t\u202egnp$x$\udcff.png"


def photo(path, seed=0):
    levels = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype(np.uint8)
    Image.fromarray(levels).save(path)
    return str(path)


def run(capsys, *words, code=0):
    found = main(["predict", *map(str, words)])
    said = capsys.readouterr()
    assert found == code, said.err
    return said.out, said.err


def test_the_most_probable_classes_of_each_image(tmp_path, capsys):
    files = [photo(tmp_path / f"{number}.png", number) for number in range(3)]
    out, err = run(capsys, "mnist-conv1", *files, "--top", 2, "--json")
    found = json.loads(out)
    assert [image["image"] for image in found["images"]] == files and found["refused"] == []
    import convscope

    classifier = convscope.load("mnist-conv1")
    images = torch.stack([convscope.read_image(file, channels=1, size=(28, 28)) for file in files])
    right = classifier.predict(images, top=2)
    for row, image in enumerate(found["images"]):
        assert [entry["class"] for entry in image["classes"]] == list(right.names(row))
        shares = [entry["probability"] for entry in image["classes"]]
        assert shares == pytest.approx(right.probabilities[row].tolist(), abs=1e-6)
    assert "next: convscope inspect" in err


def test_rows_in_a_pipe(tmp_path, capsys):
    out, _ = run(capsys, "mnist-conv1", "digits:test/0-39", "--top", 1)
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[0] == ["image", "rank", "number", "class", "probability"]
    assert [line[0] for line in lines[1:]] == [f"digits:test/{row}" for row in range(40)]


def test_blocks_with_bars_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    out, err = run(capsys, "mnist-conv1", "digits:test/0-19")
    assert out.count("digits:test/") == 16 and "█" in out
    assert "the first 16 of 20 images" in err


def test_unreadable_images_are_refused_one_by_one(tmp_path, capsys):
    files = [photo(tmp_path / "a.png"), str(tmp_path / "bad.png"), photo(tmp_path / "c.png")]
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out, err = run(capsys, "mnist-conv1", *files, "--json", code=8)
    found = json.loads(out)
    assert [image["image"] for image in found["images"]] == [files[0], files[2]]
    assert "bad.png: I05" in found["refused"][0] and "bad.png: I05" in err
    out, err = run(capsys, "mnist-conv1", files[1], code=3)
    assert "cannot be read" in err and "I05" in err


def test_names_of_files_cannot_move_the_cursor(tmp_path, capsys):
    file = photo(tmp_path / HOSTILE)
    out, _ = run(capsys, "mnist-conv1", file, "--top", 1, "--out", tmp_path / "out.html")
    assert "\x1b" not in out and len(out.splitlines()) == 2
    assert len(out.splitlines()[1].split("\t")) == 5
    assert "\x1b" not in (tmp_path / "out.html").read_text(encoding="utf-8")
    assert json.loads(run(capsys, "mnist-conv1", file, "--json")[0])["images"][0]["image"] == file


def test_a_folder_has_figure_table_and_result(tmp_path, capsys):
    run(capsys, "mnist-conv1", "digits:test/0-69", "--out", tmp_path / "out", "--format", "png,svg")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "figure.png", "figure.svg", "predictions.csv", "result",
    }  # fmt: skip
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 210 and rows[3]["image"] == "digits:test/1" and rows[3]["rank"] == "1"
    found = results.load(Predictions, tmp_path / "out" / "result")
    assert len(found) == 70 and len(found.images) == 64


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("mnist-conv1",), 2),
        (("mnist-conv1", "nowhere.png"), 3),
        (("mnist-conv1", "digits:test/0", "--top", "0"), 2),
        (("mnist-conv9", "digits:test/0"), 4),
        (("mnist-conv1", "digits:test/0", "--out", "x.png"), 2),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(capsys, words, code):
    run(capsys, *words, code=code)


def test_each_batch_is_predicted_as_alone():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
    images = torch.rand(7, 1, 2, 2)
    whole = classifier.predict(images, top=2)
    parts = list(classifier.predict_each(images.split(3), top=2))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
    assert "labels 7 x 2" in repr(whole) and "images 1 x 1 x 2 x 2" in repr(parts[2])
    joined = joined_predictions(iter(parts))
    assert torch.equal(joined.labels, whole.labels) and torch.equal(joined.images, images)
    assert list(classifier.predict_each([])) == []
    with pytest.raises(UsageError, match="no predictions"):
        joined_predictions([])


def test_peppers_are_a_bell_pepper(shared, capsys):
    pytest.importorskip("transformers")
    network = f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}"
    out, _ = run(capsys, network, shared / "data" / "photos" / "peppers.png", "--json")
    (image,) = json.loads(out)["images"]
    found = [(entry["class"].partition(",")[0], entry["probability"]) for entry in image["classes"]]
    assert [name for name, _ in found] == ["bell pepper", "Granny Smith", "cucumber"]
    assert [share for _, share in found] == pytest.approx([0.944, 0.008, 0.008], abs=5e-4)
