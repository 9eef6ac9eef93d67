"""``convscope models`` and ``convscope eval`` as typed."""

import json
import re

import pytest
import torch

from convscope.cli import main
from convscope.models import MODELS, build, save_model, shipped


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Conv1 with fresh weights for the built-in digits: about as good as chance."""
    folder = tmp_path_factory.mktemp("runs") / "fresh"
    save_model(
        folder,
        module=build("mnist-conv1", generator=torch.Generator().manual_seed(0)),
        architecture="mnist-conv1",
        class_names=tuple("0123456789"),
        input_shape=(1, 28, 28),
        mean=[0.1],
        std=[0.3],
    )
    return str(folder)


def test_models_list_names_every_network(capsys):
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in MODELS)
    assert "799,078" in out


def test_models_list_takes_a_pattern_and_gives_json(capsys):
    assert main(["models", "list", "mnist*fc", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "mnist-conv2-fc"
    assert row["parameters"] == 799_078
    assert row["shipped"] is ("mnist-conv2-fc" in shipped())


def test_models_list_of_nothing_is_a_usage_error(capsys):
    assert main(["models", "list", "alex*"]) == 2
    assert "mnist-conv1" in capsys.readouterr().err


def test_models_show_a_name(capsys):
    assert main(["models", "show", "mnist-conv2-fc", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parameters"] == 799_078
    assert shown["neurons"] == 31_870 and shown["document_neurons"] == 2_654
    assert [row["name"] for row in shown["rows"]][:3] == ["conv1", "relu1", "pool1"]
    assert shown["rows"][0]["receptive_field"] == [3, 3]


def test_models_show_a_run(run, capsys):
    assert main(["models", "show", run]) == 0
    out = capsys.readouterr().out
    assert "63,050 parameters" in out and "10 classes" in out and "minus 0.1 divided by 0.3" in out


def test_models_show_a_misspelled_name(capsys):
    assert main(["models", "show", "mnist-conv2-cf"]) == 4
    error = capsys.readouterr().err
    assert "did you mean mnist-conv2-fc" in error and len(error.splitlines()) <= 4


def test_eval_gives_every_number_as_json(run, capsys):
    assert main(["eval", run, "--data", "digits", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["n"] > 100 and len(shown["per_class"]) == len(shown["confusion"]) == 10
    assert shown["interval"][0] < shown["accuracy"] < shown["interval"][1]
    assert sum(map(sum, shown["confusion"])) == shown["n"]
    assert {"mean_per_class", "calibration_error", "loss", "top", "mistakes"} <= set(shown)


def test_eval_with_test_time_augmentation_says_both_accuracies(run, capsys):
    command = ["eval", run, "--data", "digits", "--limit", "50"]
    assert main([*command, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*command, "--json", "--tta", "mirror"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["tta"], shown["accuracy_without_tta"]) == ("mirror", plain["accuracy"])
    assert main([*command, "--tta", "mirror-shift"]) == 0
    assert "mirror-shift; accuracy without it" in capsys.readouterr().out
    assert main([*command, "--tta", "flip"]) == 2


def test_eval_for_people(run, capsys):
    assert main(["eval", run, "--data", "digits", "--split", "validation", "--limit", "50"]) == 0
    captured = capsys.readouterr()
    assert "95 % interval" in captured.out and "mistaken for" in captured.out
    assert "accuracy on 50 validation images" in captured.out
    assert f"next: convscope audit {run}" in captured.err


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ("accuracy=0", 0),
        ("acc=0.98", 1),
        ("mean-per-class=0,top3=0.999", 1),
        ("ece=1", 0),
        ("loss=0.001", 1),
        ("worst-class=0", 0),
        ("speed=3", 2),
        ("accuracy", 2),
        ("accuracy=high", 2),
    ],
)
def test_eval_gates(gate, code, run, capsys):
    assert main(["eval", run, "--data", "digits", "--limit", "40", "--fail-under", gate]) == code
    captured = capsys.readouterr()
    if code == 1:
        assert re.search(r"is \d+(\.\d+)?, (under|above) 0\.\d+", captured.err)
        assert "accuracy on 40" in captured.out, "the numbers are printed also when a gate fails"


def test_eval_of_an_unknown_split_or_data_set(run, capsys):
    assert main(["eval", run, "--data", "digits", "--split", "exam"]) == 2
    assert main(["eval", run, "--data", "digit"]) == 2
    assert main(["eval", run + "x", "--data", "digits"]) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_eval_on_images_of_another_shape(tmp_path, capsys):
    save_model(
        tmp_path,
        module=build("cifar-resnet20"),
        architecture="cifar-resnet20",
        class_names=tuple("0123456789"),
        input_shape=(3, 32, 32),
    )
    assert main(["eval", str(tmp_path), "--data", "digits"]) == 4
    assert "1x28x28" in capsys.readouterr().err


def named_run(folder, names):
    save_model(
        folder,
        module=build("mnist-conv1", num_classes=len(names)),
        architecture="mnist-conv1",
        class_names=names,
        input_shape=(1, 28, 28),
    )
    return str(folder)


def test_eval_matches_classes_by_name(tmp_path, capsys):
    """The same network with its outputs in another order is as good as before."""
    run = named_run(tmp_path / "a", tuple("0123456789"))
    from convscope.models import load

    net = load(run).module
    order = [3, 1, 4, 5, 9, 2, 6, 8, 7, 0]
    with torch.no_grad():
        net.fc1.weight.copy_(net.fc1.weight[order].clone())
        net.fc1.bias.copy_(net.fc1.bias[order].clone())
    save_model(
        tmp_path / "b",
        module=net,
        architecture="mnist-conv1",
        class_names=tuple(str(digit) for digit in order),
        input_shape=(1, 28, 28),
    )
    found = []
    for folder in ("a", "b"):
        assert main(["eval", str(tmp_path / folder), "--data", "digits", "--json"]) == 0
        captured = capsys.readouterr()
        found.append(json.loads(captured.out)["accuracy"])
        assert ("matched by name" in captured.err) == (folder == "b")
    assert found[0] == found[1]


@pytest.mark.parametrize("names", [tuple("abcdefghij"), ("a", "b")])
def test_eval_with_other_names_is_refused_and_never_matched_by_number(tmp_path, capsys, names):
    assert main(["eval", named_run(tmp_path, names), "--data", "digits"]) == 3
    said = capsys.readouterr()
    assert "error[M21]" in said.err and "none of the 10 classes" in said.err and not said.out


def test_eval_with_two_of_ten_classes_judges_these_two(tmp_path, capsys):
    words = ["eval", named_run(tmp_path, ("7", "2")), "--data", "digits", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["matching"]["left_out"]) == 8
    assert found["n"] == sum(map(sum, found["confusion"])) < 359
