"""Whole data sets judged from the command line: any layout, matched by name, in fair samples."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.cli import main
from convscope.models import build, save_model

NAMES = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of four classes that was trained on nothing here."""
    folder = tmp_path_factory.mktemp("model")
    net = build("mnist-conv1", num_classes=4, input_shape=(1, 28, 28),
                generator=torch.Generator().manual_seed(0))  # fmt: skip
    save_model(folder, module=net, architecture="mnist-conv1", input_shape=(1, 28, 28),
               class_names=NAMES, source="a test")  # fmt: skip
    return str(folder)


def photo(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Eight photos of each class, in folders, sorted by class as folders are."""
    for label, name in enumerate(NAMES):
        for number in range(8):
            photo(tmp_path / "set" / name / f"{number}.png", 10 * label + number)
    return tmp_path / "set"


def run(capsys, *words, code=0):
    found = main([*words])
    said = capsys.readouterr()
    assert found == code, said.err
    return said.out, said.err


def judged(capsys, model, folder, *words, code=0):
    out, err = run(capsys, "eval", model, "--data", f"folder:{folder}", "--json", *words, code=code)
    return json.loads(out), err


def test_a_foreign_network_is_judged_on_the_whole_folder(model, folder, capsys):
    found, err = judged(capsys, model, folder)
    assert (found["split"], found["n"]) == ("all", 32) and "all 32 images" in err
    assert judged(capsys, model, folder, "--split", "test")[0]["n"] == 8
    assert judged(capsys, model, folder, "--split", "all")[0]["n"] == 32


def test_a_limit_judges_every_class(model, folder, capsys):
    """The first 8 of a folder were all ants."""
    found, _err = judged(capsys, model, folder, "--limit", "8")
    assert np.array(found["confusion"]).sum(axis=1).tolist() == [2, 2, 2, 2]
    assert found["absent_classes"] == [] and (found["images"], found["of"]) == (8, 32)
    other = judged(capsys, model, folder, "--limit", "8", "--seed", "1")[0]
    assert [m["row"] for m in other["mistakes"]] != [m["row"] for m in found["mistakes"]]
    again = judged(capsys, model, folder, "--limit", "8")[0]
    assert again["mistakes"] == found["mistakes"]


def test_rows_of_mistakes_are_places_in_the_split(model, folder, capsys):
    found, _ = judged(capsys, model, folder, "--limit", "12")
    whole, _ = judged(capsys, model, folder)
    names = {m["row"]: (m["image"], m["predicted"]) for m in whole["mistakes"]}
    assert names.keys() & {mistake["row"] for mistake in found["mistakes"]}
    for mistake in found["mistakes"]:
        if mistake["row"] in names:
            assert names[mistake["row"]] == (mistake["image"], mistake["predicted"])
        assert mistake["image"].startswith(mistake["true"])


def test_absent_classes_are_said_and_never_nan(model, folder, capsys):
    found, err = judged(capsys, model, folder, "--limit", "2")
    assert len(found["absent_classes"]) == 2 and "2 classes of the data have no image" in err
    out, err = run(capsys, "eval", model, "--data", f"folder:{folder}", "--limit", "2")
    assert "nan" not in out and "2 classes of the data have no image" in err


@pytest.mark.parametrize("gate", ["worst-class=0", "mean-per-class=0"])
def test_a_gate_over_classes_needs_every_class(model, folder, capsys, gate):
    words = ("eval", model, "--data", f"folder:{folder}", "--fail-under", gate)
    run(capsys, *words)
    _, err = run(capsys, *words, "--limit", "2", code=1)
    assert "cannot be judged: 2 classes have no image" in err


def test_an_unknown_class_is_left_out_and_moves_no_other(model, folder, capsys):
    """One unknown name used to make b be scored as a, without a word on the exit code."""
    (folder / "ant").rename(folder / "unicorn")
    found, err = judged(capsys, model, folder)
    rows = np.array(found["confusion"]).sum(axis=1).tolist()
    assert rows == [0, 8, 8, 8] and found["matching"]["left_out"] == {"unicorn": "no such class"}
    assert "left out: 'unicorn'" in err and "8 images are of classes left out" in err


def test_no_common_class_is_refused(model, tmp_path, capsys, monkeypatch):
    for name in ("x", "y", "z", "w"):
        photo(tmp_path / "set" / name / "1.png", 1)
    monkeypatch.setattr("convscope.data._survey.each_read", None)  # before an image is decoded
    _, err = run(capsys, "eval", model, "--data", f"folder:{tmp_path / 'set'}", code=3)
    assert "error[M21]" in err and "none of the 4 classes" in err


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "MODEL"),
        ("attack", "evaluate", "MODEL", "--effort", "quick", "--count", "4"),
        ("attack", "certify", "MODEL", "--sigma", "0.1", "--images", "2", "--draws", "100"),
        ("inspect", "MODEL", "--trust", "--show", "saliency", "--count", "2"),
        ("audit", "MODEL", "--only", "limits", "--out", "OUT"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_unreadable_files_are_skipped_where_the_error_says_so(
    model, folder, tmp_path, capsys, words
):
    (folder / "bee" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = [{"MODEL": model, "OUT": str(tmp_path / "r.html")}.get(word, word) for word in words]
    line = [*words, "--data", f"folder:{folder}"]
    _, err = run(capsys, *line, code=3)
    assert "--skip-bad" in err
    _, err = run(capsys, *line, "--skip-bad", code=8)
    assert "bee/3.png: I05" in err and "left out" in err


@pytest.mark.parametrize("command", ["attack fgsm", "inspect"])
def test_chosen_images_skip_unreadable_files_too(model, folder, capsys, command):
    (folder / "bee" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    line = [*command.split(), model, f"folder:{folder}:all/0-1"]
    line += ["--epsilon", "0.1"] if "attack" in command else ["--show", "saliency"]
    _, err = run(capsys, *line, code=3)
    assert "--skip-bad" in err
    _, err = run(capsys, *line[:3], *line[3:], "--skip-bad", code=8)
    assert "bee/3.png: I05" in err


def test_attacks_are_judged_on_every_class(model, folder, capsys):
    words = ["attack", "evaluate", model, "--data", f"folder:{folder}", "--count", "4"]
    out, _ = run(capsys, *words, "--effort", "quick", "--epsilon", "0.01", "--json")
    found = json.loads(out)
    assert (found["images"], found["of"], found["absent_classes"]) == (4, 32, [])


def test_the_target_is_always_said(model, folder, capsys):
    words = ["attack", "fgsm", model, f"folder:{folder}:all/0-1", "--epsilon", "0.1"]
    out, _ = run(capsys, *words, "--target", "3")
    assert "3 'dog'" in out
    found = json.loads(run(capsys, *words, "--target", "Dog", "--json")[0])
    assert found["target"] == {"number": 3, "name": "dog"}
    _, err = run(capsys, "inspect", model, f"folder:{folder}:all/0", "--show", "saliency",
                 "--targets", "Cat")  # fmt: skip
    assert "target: 2 'cat'" in err
    out, _ = run(capsys, "inspect", model, f"folder:{folder}:all/0", "--show", "saliency",
                 "--targets", "2", "--json")  # fmt: skip
    assert json.loads(out)["target"] == {"number": 2, "name": "cat"}


def test_target_all_is_every_class_but_the_image_s_own(model, folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["attack", "fgsm", model, f"folder:{folder}:all?class=bee/0-1"]
    found = json.loads(
        run(capsys, *words, "--epsilon=0.1", "--target=all", "--json", "--out", str(out))[0]
    )
    assert found["images"] == 6
    lines = (out / "images.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1:3] for line in lines] == [
        ["bee", name] for _ in range(2) for name in ("ant", "cat", "dog")
    ]


def test_universal_noise_takes_all_targets(model, folder, capsys):
    words = ["attack", "uap", model, f"folder:{folder}:all", "--epsilon", "0.1"]
    found = json.loads(run(capsys, *words, "--steps=2", "--target=all", "--json")[0])
    assert list(found["rates"]) == list(NAMES)


def test_labels_of_chosen_images_are_the_network_s(model, folder, capsys):
    """Folder numbers used to stand for the network's: zebra, class 4 of the folder, for none."""
    (folder / "cat").rename(folder / "aardvark")
    out, err = run(capsys, "inspect", model, f"folder:{folder}:all", "--show", "saliency", "--json")
    images = json.loads(out)["images"]
    assert [sum(row["true"] == name for row in images) for name in NAMES] == [8, 8, 0, 8]
    assert "8 images of classes that the network lacks left out" in err


def test_a_split_without_images_says_what_there_is(model, folder, tmp_path, capsys):
    only = tmp_path / "only"
    (only / "test").mkdir(parents=True)
    (folder / "ant").rename(only / "test" / "ant")
    (folder / "bee").rename(only / "test" / "bee")
    found, _ = judged(capsys, model, only)
    assert (found["split"], found["n"]) == ("test", 16)
    line = ["eval", model, "--data", f"folder:{only}", "--split", "train"]
    _, err = run(capsys, *line, code=3)
    assert "train 0, validation 0, test 16" in err
    _, err = run(capsys, "train", "mnist-conv1", "--data", f"folder:{only}", "--out",
                 str(tmp_path / "run"), code=3)  # fmt: skip
    assert "no train images to train with" in err


def test_an_imagenet_network_on_photos_named_by_class(shared, capsys):
    pytest.importorskip("transformers")
    network = shared / "weights" / "mobilenet_v2_1.0_224"
    found, err = judged(capsys, f"hf:{network}", shared / "data" / "photos", "--limit", "12")
    assert found["matching"]["left_out"] == {"peppers": "no such class"}
    assert found["n"] == 12 and found["accuracy"] > 0.5
    assert "its class 0 is 'background'" in err
