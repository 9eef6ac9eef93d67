"""``convscope inspect``: the commands of the documentation, on a small network of our own."""

import csv
import json

import pytest
import torch

from convscope.cli import main
from convscope.models import build, save_model

QUIET = ["--quiet"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "net"
    module = build("mnist-conv1", generator=torch.Generator().manual_seed(0))
    save_model(
        folder,
        module=module,
        architecture="mnist-conv1",
        class_names=tuple("0123456789"),
        input_shape=(1, 28, 28),
        mean=(0.13,),
        std=(0.31,),
        source="fresh weights",
        extra={},
    )
    return str(folder)


def run(*words):
    return main([*words, *QUIET])


def test_images_to_a_folder_with_the_documents_table(run_folder, tmp_path):
    out = tmp_path / "look"
    code = run(
        "inspect", run_folder, "digits:test/7", "--show",
        "filters,feature-maps,saliency,occlusion", "--preset", "14/7", "--out", str(out),
    )  # fmt: skip
    assert code == 0
    names = {path.name for path in out.iterdir()}
    assert {"filters.png", "feature-maps-0.png", "saliency.png", "occlusion.png"} <= names
    with (out / "occlusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and {"class", "probability", "predicted"} <= set(rows[0])
    assert run("inspect", run_folder, "digits:test/7", "--out", str(out)) == 2


def test_all_targets_to_one_page(run_folder, tmp_path):
    page = tmp_path / "look.html"
    words = ["inspect", run_folder, "digits:test/0-1", "--targets", "all", "--out", str(page)]
    assert run(*words, "--show", "grad-cam,saliency") == 0
    text = page.read_text()
    assert "grad-cam" in text and "http-equiv" in text
    assert [path.name for path in tmp_path.iterdir()] == ["look.html"]


def test_json_has_predictions_and_the_table(run_folder, capsys):
    words = ["inspect", run_folder, "digits:test/3", "--show", "occlusion", "--json"]
    assert run(*words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"][0]["image"] == "digits:test/3"
    assert found["tables"]["occlusion"][0]["top"] == 0


def test_units_at_the_center_and_logits(run_folder, tmp_path, capsys):
    out = tmp_path / "units"
    words = ["inspect", run_folder, "--units", "pool1:0-2", "--at", "center", "--steps", "5"]
    assert run(*words, "--out", str(out)) == 0
    assert (out / "units.png").is_file() and (out / "effect.csv").is_file()
    capsys.readouterr()
    words = ["inspect", run_folder, "--units", "logits", "--recipe", "gaussian-gradient"]
    assert run(*words, "--steps", "3", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["units"]) == 10


def test_trust_needs_data_and_gives_a_table(run_folder, capsys):
    assert run("inspect", run_folder, "--trust") == 2
    capsys.readouterr()
    words = ["inspect", run_folder, "--trust", "--data", "digits", "--count", "6", "--json"]
    assert run(*words, "--show", "saliency,grad-cam") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["methods"]][-1] == "random map"
    assert run(*words[:-1], "--show", "saliency") == 0
    shown = capsys.readouterr().out
    assert "insertion" in shown and "None" not in shown and "completeness" not in shown


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "specify exactly one of"),
        (["digits:test/0", "--trust"], "specify exactly one of"),
        (["digits:test/0", "--show", "grad-cma"], "grad-cam"),
        (["digits:test/0", "--targets", "eleven"], "unknown target"),
        (["--units", "pool9"], "pool1"),
        (["--units", "logits", "--recipe", "pcs"], "pca"),
        (["--units", "logits", "--recipe", "pca"], "--data"),
        (["--units", "logits", "--steps", "0"], "at least 1"),
        (["--units", "pool1:3-1"], "1-3"),
        (["--units", "pool1:0-99"], "0 to"),
        (["digits:test/0", "--targets", "12"], "0 to 9"),
        (["digits:test/0", "--show", "grad-cam", "--layer", "pool9"], "pool1"),
        (["shapes:test/0"], "1x28x28"),
        (["--trust", "--data", "digits", "--count", "0"], "at least 1"),
    ],
)
def test_mistakes_are_named(run_folder, capsys, words, text):
    assert run("inspect", run_folder, *words) in (2, 3, 4)
    assert text in capsys.readouterr().err


def test_a_setting_goes_to_every_method_that_has_it(run_folder, capsys):
    words = ["inspect", run_folder, "digits:test/3", "--show", "occlusion,saliency", "--json"]
    assert run(*words, "--window", "7,14", "--stride=7") == 0
    windows = json.loads(capsys.readouterr().out)["tables"]["occlusion"]
    first = windows[0]
    assert (first["bottom"] - first["top"], first["right"] - first["left"]) == (7, 14)


def test_a_setting_is_not_taken_twice(run_folder, capsys):
    words = ["inspect", run_folder, "digits:test/3", "--show", "occlusion"]
    assert run(*words, "--window", "4", "--window", "5") == 2
    assert "twice" in capsys.readouterr().err


def test_settings_of_a_recipe_are_those_of_its_function(run_folder, capsys):
    words = ["inspect", run_folder, "--units", "logits:3", "--recipe", "l2-blur", "--json"]
    assert run(*words, "--steps", "2", "--step-size", "0.5") == 0
    capsys.readouterr()
    assert run(*words, "--windw", "2") == 2
    assert "unknown setting of l2-blur" in capsys.readouterr().err


def test_figures_have_the_format_that_was_asked_for(run_folder, tmp_path, capsys):
    words = ["inspect", run_folder, "digits:test/7", "--show", "saliency"]
    out = tmp_path / "look"
    assert run(*words, "--out", str(out), "--format", "svg,pdf") == 0
    assert {path.suffix for path in out.glob("saliency.*")} == {".svg", ".pdf"}
    assert run(*words, "--out", str(tmp_path / "p.html"), "--format", "svg") == 2
    assert "FOLDER" in capsys.readouterr().err
    assert run(*words, "--out", str(tmp_path / "b"), "--format", "bmp") == 2


def test_a_gpu_that_is_not_there_is_refused(run_folder, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["inspect", run_folder, "digits:test/7", "--show", "saliency", "--device"]
    assert run(*words, "auto") == 0
    assert run(*words, "cuda") == 6
    assert "--device cpu" in capsys.readouterr().err


def test_methods_explain_their_settings(capsys):
    assert main(["inspect", "settings", "GradCAM"]) == 0
    assert "--layer" in capsys.readouterr().out
    assert main(["inspect", "list", "--json"]) == 0
    names = {row["method"] for row in json.loads(capsys.readouterr().out)}
    assert {"filters", "saliency", "rise"} <= names
    assert main(["inspect", "occlusion", "--help"]) == 0
    page = capsys.readouterr().out
    assert "--window" in page and "mean, blur or" in " ".join(page.split()) and "`" not in page
    assert main(["inspect", "--help"]) == 0
    assert "--seen-map" in capsys.readouterr().out
