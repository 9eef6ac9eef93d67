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
